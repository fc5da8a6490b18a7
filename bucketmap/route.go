package bucketmap

import "slices"

// sitesMax is how many datacenters with shards half a byte can number; 0 is no
// home.
const sitesMax = 15

// routes is the map as Decide needs it: to which datacenter each bucket goes,
// in half a byte. Homes of the largest map are 2 MiB, in pages that are found
// by a table of 32 KiB more; this is 512 KiB in one piece, which stays in a
// cache. A map with more than sitesMax datacenters goes without.
type routes struct {
	codes []uint8 // by home, as in Snapshot.homes; nil for a map without
	table []uint8 // bucket → code, the even ones in the low half
	sites [sitesMax + 1]Datacenter
}

// setRoutes makes the routes, from those of base where pages are shared.
func (s *Snapshot) setRoutes(base *Snapshot) {
	r := &s.routes
	r.sites[0] = s.dflt.Datacenter
	codes := make([]uint8, 1, len(s.shards)+1)
	used := 1
	for _, shard := range s.shards {
		code := slices.Index(r.sites[1:used], shard.Datacenter) + 1
		if code == 0 {
			if used > sitesMax {
				s.routes = routes{}
				return
			}
			code = used
			r.sites[code] = shard.Datacenter
			used++
		}
		codes = append(codes, uint8(code))
	}
	r.codes = codes
	// A page that is shared has only homes that base has, too.
	both := 0
	if base != nil {
		both = min(len(codes), len(base.routes.codes))
	}
	if both == 0 || base.buckets != s.buckets || !slices.Equal(codes[:both], base.routes.codes[:both]) {
		r.table = make([]uint8, len(s.homes)*pageLen/2)
		for p := range s.homes {
			s.setRoutePage(p)
		}
		return
	}
	r.table = base.routes.table
	copied := false
	for p := range s.homes {
		if s.homes[p] == base.homes[p] {
			continue
		}
		if !copied {
			r.table, copied = slices.Clone(r.table), true
		}
		s.setRoutePage(p)
	}
}

func (s *Snapshot) setRoutePage(p int) {
	codes := s.routes.codes
	table := s.routes.table[p*pageLen/2:][:pageLen/2]
	page := s.homes[p]
	for i := range table {
		table[i] = codes[page[2*i]] | codes[page[2*i+1]]<<4
	}
}

// place is the decision for a bucket of the map.
func (s *Snapshot) place(b BucketID) Decision {
	d := Decision{Reason: ReasonBucket, Bucket: b, HasBucket: true}
	if len(s.routes.table) == 0 {
		home := s.home(b)
		d.Datacenter = s.places[home]
		if home == 0 {
			d.Reason = ReasonUnmapped
		}
		return d
	}
	code := s.routes.table[b/2] >> (b % 2 * 4) % (sitesMax + 1)
	d.Datacenter = s.routes.sites[code]
	if code == 0 {
		d.Reason = ReasonUnmapped
	}
	return d
}
