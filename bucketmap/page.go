package bucketmap

import (
	"iter"
	"slices"
)

const (
	// A page is what a change copies and sums anew, 512 bytes of homes and
	// 2 KiB of epochs; the table of all pages, copied at every change, is
	// 32 KiB for the largest map.
	pageBits = 8
	pageLen  = 1 << pageBits
)

func pagesFor(buckets uint32) int { return int((buckets + pageLen - 1) >> pageBits) }

// pageLen returns how many buckets a page has: the last one may have fewer.
func (s *Snapshot) pageLen(p int) int { return min(pageLen, int(s.buckets)-p<<pageBits) }

// home returns what is in homes, 0 for a bucket that the map does not have.
func (s *Snapshot) home(b BucketID) uint16 {
	if p := b >> pageBits; uint64(p) < uint64(len(s.homes)) {
		return s.homes[p][b%pageLen]
	}
	return 0
}

func (s *Snapshot) homePage(p int) *[pageLen]uint16 {
	if p < len(s.homes) {
		return s.homes[p]
	}
	return nil
}

func (s *Snapshot) epochPage(p int) *[pageLen]Epoch {
	if p < len(s.epochs) {
		return s.epochs[p]
	}
	return nil
}

// flatHomes returns a copy of the homes in one piece.
func (s *Snapshot) flatHomes() []uint16 {
	flat := make([]uint16, 0, s.buckets)
	for p, page := range s.homes {
		flat = append(flat, page[:s.pageLen(p)]...)
	}
	return flat
}

// setPages cuts homes, one a bucket, and epochs into pages. It copies what it
// takes, and shares with base, which may be nil, the pages that are the same.
func (s *Snapshot) setPages(homes []uint16, epochs iter.Seq2[BucketID, Epoch], base *Snapshot) {
	if base == nil {
		homes = slices.Clone(homes)
	}
	s.cutHomes(homes, base)
	for b, e := range epochs {
		s.setEpoch(b, e)
	}
	for p, page := range s.epochs {
		if base == nil || page == nil {
			continue
		}
		if old := base.epochPage(p); old != nil && *old == *page {
			s.epochs[p] = old
		}
	}
}

// cutHomes makes pages of homes, which it takes over when there is no base.
func (s *Snapshot) cutHomes(homes []uint16, base *Snapshot) {
	s.homes = make([]*[pageLen]uint16, pagesFor(s.buckets))
	for p := range s.homes {
		chunk := homes[p<<pageBits : min(len(homes), (p+1)<<pageBits)]
		if base != nil {
			if old := base.homePage(p); old != nil && base.pageLen(p) == len(chunk) && slices.Equal(old[:len(chunk)], chunk) {
				s.homes[p] = old
				continue
			}
		}
		if base == nil && len(chunk) == pageLen {
			s.homes[p] = (*[pageLen]uint16)(chunk)
			continue
		}
		s.homes[p] = new([pageLen]uint16)
		copy(s.homes[p][:], chunk)
	}
}

// setEpoch writes an epoch into pages that nobody else has.
func (s *Snapshot) setEpoch(b BucketID, e Epoch) {
	if e == FirstEpoch {
		return
	}
	if s.epochs == nil {
		s.epochs = make([]*[pageLen]Epoch, len(s.homes))
	}
	if s.epochs[b>>pageBits] == nil {
		s.epochs[b>>pageBits] = new([pageLen]Epoch)
	}
	s.epochs[b>>pageBits][b%pageLen] = e
}

// arrange completes a snapshot: what follows from the rest of it. base is what
// it was made from, nil for nothing.
func (s *Snapshot) arrange(base *Snapshot) {
	if s.counts == nil {
		s.counts = make([]uint32, len(s.shards)+1)
		for p, page := range s.homes {
			for _, home := range page[:s.pageLen(p)] {
				s.counts[home]++
			}
		}
	}
	s.places = make([]Datacenter, 0, len(s.shards)+1)
	s.places = append(s.places, s.dflt.Datacenter)
	for _, shard := range s.shards {
		s.places = append(s.places, shard.Datacenter)
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
	for p := range s.homes {
		if a, b := s.homes[p], o.homes[p]; a != b && *a != *b {
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
