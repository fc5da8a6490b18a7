package export

import "drover/bucketmap"

// Code is everything that an edge has to know of a bucket.
type Code struct {
	Datacenter bucketmap.Datacenter // empty for a bucket with no home
	UntilMs    int64                // Unix time at which the bucket's hold ends; 0 for no hold
}

// Table is a map with one small number for each bucket. Only so are the
// tables of other edges small whatever the map is like: most of the
// 1,048,576 buckets a map may have share a handful of codes.
type Table struct {
	Codes []Code   // the first is that of a bucket with no home and no hold
	Of    []uint32 // bucket → index in Codes
	Held  uint32   // how many buckets are held
}

// NewTable makes the table of a map. Without holds, it has none.
func NewTable(s *bucketmap.Snapshot, holds bool) *Table {
	t := &Table{Codes: []Code{{}}, Of: make([]uint32, s.Buckets())}
	holds = holds && len(s.Holds()) != 0
	index := map[Code]uint32{{}: 0}
	for run := range s.Runs() {
		shard, _ := s.Home(run.First)
		for b := run.First; b <= run.Last; b++ {
			code := Code{Datacenter: shard.Datacenter}
			if holds {
				if hold, ok := s.HoldOf(b); ok {
					code.UntilMs = hold.Until.UnixMilli()
					t.Held++
				}
			}
			i, ok := index[code]
			if !ok {
				i = uint32(len(t.Codes))
				index[code] = i
				t.Codes = append(t.Codes, code)
			}
			t.Of[b] = i
		}
	}
	return t
}
