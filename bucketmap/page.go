package bucketmap

import (
	"iter"
	"slices"
)

const (
	// A page is what a change copies and sums anew, 256 bytes of homes and
	// 1 KiB of epochs.
	pageBits = 7
	pageLen  = 1 << pageBits

	// A group is what a change copies of the table of pages, 256 bytes; the
	// table of all groups, copied at every change, is 4 KiB for the largest
	// map.
	groupPages = 16
	groupLen   = groupPages * pageLen // buckets in a group
)

// group is groupPages pages, in order. Versions share a group in which nothing
// changed, and in another one the pages in which nothing did.
type group struct {
	homes  [groupPages]*[pageLen]uint16 // nil past the map's last page
	epochs [groupPages]*[pageLen]Epoch  // nil where nothing ever moved
}

func homesOf(g *group) *[groupPages]*[pageLen]uint16 { return &g.homes }
func epochsOf(g *group) *[groupPages]*[pageLen]Epoch { return &g.epochs }

func pagesFor(buckets uint32) int  { return int((buckets + pageLen - 1) >> pageBits) }
func groupsFor(buckets uint32) int { return int((buckets + groupLen - 1) / groupLen) }

// pageLen returns how many buckets a page has: the last one may have fewer.
func (s *Snapshot) pageLen(p int) int { return min(pageLen, int(s.buckets)-p<<pageBits) }

// groupPages returns how many pages a group has: the last one may have fewer.
func (s *Snapshot) groupPages(g int) int { return min(groupPages, pagesFor(s.buckets)-g*groupPages) }

// home returns what is in homes, 0 for a bucket that the map does not have.
func (s *Snapshot) home(b BucketID) uint16 {
	if page := s.homePage(int(b >> pageBits)); page != nil {
		return page[b%pageLen]
	}
	return 0
}

func (s *Snapshot) homePage(p int) *[pageLen]uint16 {
	if g := p / groupPages; g < len(s.groups) {
		return s.groups[g].homes[p%groupPages]
	}
	return nil
}

func (s *Snapshot) epochPage(p int) *[pageLen]Epoch {
	if g := p / groupPages; g < len(s.groups) {
		return s.groups[g].epochs[p%groupPages]
	}
	return nil
}

// sharesGroup says whether a group is the same one in both. The last group of
// a map may be so and have another number of buckets.
func (s *Snapshot) sharesGroup(o *Snapshot, g int) bool {
	return g < len(s.groups) && g < len(o.groups) && s.groups[g] == o.groups[g] &&
		(s.buckets == o.buckets || (g+1)*groupLen <= int(min(s.buckets, o.buckets)))
}

// unshared iterates over the pages that two maps do not share, in order: those
// of homes, of epochs or both.
func unshared(a, b *Snapshot) iter.Seq[int] {
	return func(yield func(int) bool) {
		most := max(a.buckets, b.buckets)
		for g := range groupsFor(most) {
			if a.sharesGroup(b, g) {
				continue
			}
			x, y := a.group(g), b.group(g)
			for i := range min(groupPages, pagesFor(most)-g*groupPages) {
				p := g*groupPages + i
				same := x.homes[i] == y.homes[i] && x.epochs[i] == y.epochs[i] && a.pageLen(p) == b.pageLen(p)
				if !same && !yield(p) {
					return
				}
			}
		}
	}
}

// everyPage iterates over the pages of so many buckets, in order.
func everyPage(buckets uint32) iter.Seq[int] {
	return func(yield func(int) bool) {
		for p := range pagesFor(buckets) {
			if !yield(p) {
				return
			}
		}
	}
}

// group returns a group, an empty one where the map has none.
func (s *Snapshot) group(g int) *group {
	if g < len(s.groups) {
		return s.groups[g]
	}
	return new(group)
}

// flatHomes returns a copy of the homes in one piece.
func (s *Snapshot) flatHomes() []uint16 {
	flat := make([]uint16, 0, s.buckets)
	for p := range pagesFor(s.buckets) {
		flat = append(flat, s.homePage(p)[:s.pageLen(p)]...)
	}
	return flat
}

// setPages cuts homes, one a bucket, and epochs into pages. It copies what it
// takes, and shares with base, which may be nil, what is the same.
func (s *Snapshot) setPages(homes []uint16, epochs iter.Seq2[BucketID, Epoch], base *Snapshot) {
	if base == nil {
		homes = slices.Clone(homes)
	}
	s.cutHomes(homes, base)
	for b, e := range epochs {
		s.setEpoch(b, e)
	}
	if base == nil {
		return
	}
	for g, own := range s.groups {
		if g == len(base.groups) {
			break
		}
		old := base.groups[g]
		for i, page := range own.epochs {
			if page != nil && old.epochs[i] != nil && *old.epochs[i] == *page {
				own.epochs[i] = old.epochs[i]
			}
		}
		if *own == *old {
			s.groups[g] = old
		}
	}
}

// cutHomes makes pages of homes, which it takes over when there is no base.
func (s *Snapshot) cutHomes(homes []uint16, base *Snapshot) {
	s.groups = make([]*group, groupsFor(s.buckets))
	for g := range s.groups {
		s.groups[g] = new(group)
	}
	for p := range pagesFor(s.buckets) {
		page := &s.groups[p/groupPages].homes[p%groupPages]
		chunk := homes[p<<pageBits : min(len(homes), (p+1)<<pageBits)]
		if base != nil {
			if old := base.homePage(p); old != nil && base.pageLen(p) == len(chunk) && slices.Equal(old[:len(chunk)], chunk) {
				*page = old
				continue
			}
		}
		if base == nil && len(chunk) == pageLen {
			*page = (*[pageLen]uint16)(chunk)
			continue
		}
		*page = new([pageLen]uint16)
		copy((*page)[:], chunk)
	}
}

// setEpoch writes an epoch into pages that nobody else has.
func (s *Snapshot) setEpoch(b BucketID, e Epoch) {
	if e == FirstEpoch {
		return
	}
	page := &s.groups[b/groupLen].epochs[b>>pageBits%groupPages]
	if *page == nil {
		*page = new([pageLen]Epoch)
	}
	(*page)[b%pageLen] = e
}

// resizeFrom gives a map under construction the pages of base, and empty ones
// up to a number of buckets that is not lower.
func (s *Snapshot) resizeFrom(base *Snapshot, buckets uint32) {
	s.groups = make([]*group, groupsFor(buckets))
	for g := copy(s.groups, base.groups); g < len(s.groups); g++ {
		s.groups[g] = new(group)
	}
	for p := pagesFor(base.buckets); p < pagesFor(buckets); p++ {
		s.own(base, p/groupPages).homes[p%groupPages] = new([pageLen]uint16)
	}
}

// cutFrom takes away the pages that base has, and a map of fewer buckets does
// not.
func (s *Snapshot) cutFrom(base *Snapshot) {
	s.groups = s.groups[:groupsFor(s.buckets)]
	for p := pagesFor(s.buckets); p < min(pagesFor(base.buckets), len(s.groups)*groupPages); p++ {
		last := s.own(base, p/groupPages)
		last.homes[p%groupPages], last.epochs[p%groupPages] = nil, nil
	}
}

// own returns a group of a map under construction that may be written to: one
// that is still base's is copied before.
func (s *Snapshot) own(base *Snapshot, g int) *group {
	if g < len(base.groups) && s.groups[g] == base.groups[g] {
		fresh := *s.groups[g]
		s.groups[g] = &fresh
	}
	return s.groups[g]
}

// writeRun writes one value into the pages of first to last, of homes or of
// epochs. A page that is still base's is copied before; a nil one is made.
func writeRun[T any](s, base *Snapshot, part func(*group) *[groupPages]*[pageLen]T, first, last BucketID, value T) {
	for b := first; b <= last; {
		g, i := int(b/groupLen), int(b>>pageBits%groupPages)
		var old *[pageLen]T
		if g < len(base.groups) {
			old = part(base.groups[g])[i]
		}
		pages := part(s.own(base, g))
		switch pages[i] {
		case nil:
			pages[i] = new([pageLen]T)
		case old:
			fresh := *old
			pages[i] = &fresh
		}
		for end := min(last, b|(pageLen-1)); b <= end; b++ {
			pages[i][b%pageLen] = value
		}
	}
}

// arrange completes a snapshot: what follows from the rest of it. base is what
// it was made from, nil for nothing.
func (s *Snapshot) arrange(base *Snapshot) {
	if s.counts == nil {
		s.counts = make([]uint32, len(s.shards)+1)
		for p := range pagesFor(s.buckets) {
			for _, home := range s.homePage(p)[:s.pageLen(p)] {
				s.counts[home]++
			}
		}
	}
	s.setRoutes(base)
	slices.SortFunc(s.holds, compareHolds)
	s.rangeHolds = 0
	for i := range s.holds {
		s.holds[i].Until = s.holds[i].Until.UTC().Round(0)
		if s.holds[i].Shard == "" {
			s.rangeHolds++
		}
	}
}

func (s *Snapshot) equalPages(o *Snapshot) bool {
	for p := range unshared(s, o) {
		if a, b := s.homePage(p), o.homePage(p); a != b && *a != *b {
			return false
		}
		a, b := s.epochPage(p), o.epochPage(p)
		if a != b && (a == nil || b == nil || *a != *b) {
			return false
		}
	}
	return true
}

// emptyMap stands for no map, where a difference begins at nothing.
func emptyMap() *Snapshot {
	nobody := &Whitelist{}
	nobody.seal()
	return &Snapshot{whitelist: nobody, counts: []uint32{0}, places: []Datacenter{""}, sums: &digests{}}
}
