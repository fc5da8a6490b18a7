package bucketmap

import "slices"

// sitesMax is how many datacenters with shards half a byte can number; 0 is no
// home.
const sitesMax = 15

// A page of routes is 512 bytes; the table of all is 8 KiB for the largest map,
// which stays in a first cache.
const (
	routePageBits  = 10
	routePageLen   = 1 << routePageBits
	routePagePages = routePageLen / pageLen // pages of homes
)

type routePage [routePageLen / 2]uint8

// routes is the map as Decide needs it: to which datacenter each bucket goes,
// in half a byte. Homes of the largest map are 2 MiB, this is 512 KiB, which
// stays in a cache. Versions share pages where nothing changed. A map with
// more than sitesMax datacenters goes without.
type routes struct {
	codes []uint8      // by home, as in Snapshot.groups; nil for a map without
	pages []*routePage // bucket → code, the even ones in the low half
	sites [sitesMax + 1]Datacenter
}

// setPlaces makes places, and codes and sites of the routes.
func (s *Snapshot) setPlaces() {
	s.places = make([]Datacenter, 0, len(s.shards)+1)
	s.places = append(s.places, s.dflt.Datacenter)
	for _, shard := range s.shards {
		s.places = append(s.places, shard.Datacenter)
	}
	r := &s.routes
	r.sites[0] = s.dflt.Datacenter
	codes := make([]uint8, 1, len(s.places))
	used := 1
	for _, dc := range s.places[1:] {
		code := slices.Index(r.sites[1:used], dc) + 1
		if code == 0 {
			if used > sitesMax {
				s.routes = routes{}
				return
			}
			code = used
			r.sites[code] = dc
			used++
		}
		codes = append(codes, uint8(code))
	}
	r.codes = codes
}

// sharesShards says whether the shards of both are one slice.
func (s *Snapshot) sharesShards(o *Snapshot) bool {
	return len(s.shards) == len(o.shards) && (len(s.shards) == 0 || &s.shards[0] == &o.shards[0])
}

// setRoutes makes places and routes, from those of base where they are shared.
func (s *Snapshot) setRoutes(base *Snapshot) {
	r := &s.routes
	if base != nil && s.sharesShards(base) && s.dflt.Datacenter == base.dflt.Datacenter {
		s.places, r.codes, r.sites = base.places, base.routes.codes, base.routes.sites
	} else {
		s.setPlaces()
	}
	if r.codes == nil {
		return
	}
	// A page that is shared has only homes that base has, too.
	both := 0
	if base != nil {
		both = min(len(r.codes), len(base.routes.codes))
	}
	if both == 0 || base.buckets != s.buckets || !slices.Equal(r.codes[:both], base.routes.codes[:both]) {
		base = &Snapshot{}
	}
	r.pages = make([]*routePage, (s.buckets+routePageLen-1)/routePageLen)
	copy(r.pages, base.routes.pages)
	for p := range unshared(s, base) {
		if page := s.homePage(p); page != base.homePage(p) {
			s.setRoutePage(base, p, page)
		}
	}
}

// setRoutePage writes the routes of a page of homes.
func (s *Snapshot) setRoutePage(base *Snapshot, p int, homes *[pageLen]uint16) {
	at := p / routePagePages
	switch page := s.routes.pages[at]; {
	case page == nil:
		s.routes.pages[at] = new(routePage)
	case len(base.routes.pages) != 0 && page == base.routes.pages[at]:
		fresh := *page
		s.routes.pages[at] = &fresh
	}
	codes := s.routes.codes
	out := s.routes.pages[at][p%routePagePages*pageLen/2:][:pageLen/2]
	for i := range out {
		out[i] = codes[homes[2*i]] | codes[homes[2*i+1]]<<4
	}
}

// place is the decision for a bucket of the map.
func (s *Snapshot) place(b BucketID) Decision {
	d := Decision{Reason: ReasonBucket, Bucket: b, HasBucket: true}
	if p := int(b >> routePageBits); p < len(s.routes.pages) {
		code := s.routes.pages[p][b%routePageLen/2] >> (b % 2 * 4) % (sitesMax + 1)
		d.Datacenter = s.routes.sites[code]
		if code == 0 {
			d.Reason = ReasonUnmapped
		}
		return d
	}
	home := s.home(b)
	d.Datacenter = s.places[home]
	if home == 0 {
		d.Reason = ReasonUnmapped
	}
	return d
}
