package binary_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

// reach sends the delta from one map to another, and wants to arrive there.
func reach(t testing.TB, from, to *bucketmap.Snapshot) []byte {
	t.Helper()
	delta := binary.MakeDelta(from, to)
	data := binary.AppendDelta(nil, delta, nil)
	if binary.Is(data) || !binary.IsDelta(data) {
		t.Fatal("the delta does not begin like one")
	}
	got, err := binary.DecodeDelta(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, delta) {
		t.Fatalf("another delta came back:\n%+v\n%+v", got.Difference, delta.Difference)
	}
	if !bytes.Equal(binary.AppendDelta(nil, got, nil), data) {
		t.Fatal("what was decoded encodes to other bytes")
	}
	next, err := got.Apply(from)
	if err != nil {
		t.Fatal(err)
	}
	if !next.Equal(to) || next.Digest() != to.Digest() {
		t.Fatal("it leads to another map")
	}
	return data
}

// 75 pairs of maps, and 300 with DROVER_SOAK=1.
func TestADeltaLeadsFromAnyMapToAnyOther(t *testing.T) {
	for seed := range uint64(binary.Rounds(75, 300)) {
		m := newMaps(seed)
		buckets := 1 << m.IntN(11)
		from, to := m.any(t, buckets), m.any(t, buckets)
		reach(t, from, to)
		reach(t, from, from)
		reach(t, nil, to)
	}
}

// move takes so many buckets that do not stand together to other shards, as a
// campaign does.
func move(t testing.TB, from *bucketmap.Snapshot, count int) *bucketmap.Snapshot {
	t.Helper()
	m := newMaps(6)
	c := from.Content()
	c.Version++
	c.Moved += uint64(count)
	for i := range count {
		b := i*len(c.Homes)/count + m.IntN(len(c.Homes)/count-1)
		c.Homes[b] = 1 + (c.Homes[b]+uint16(m.IntN(len(c.Shards)-1)))%uint16(len(c.Shards))
		c.EpochBuckets, c.Epochs = append(c.EpochBuckets, bucketmap.BucketID(b)), append(c.Epochs, 2)
	}
	return build(t, c)
}

func TestADeltaOfAHundredBucketsIsAboutAKilobyte(t *testing.T) {
	for _, size := range []struct{ shards, limit int }{{2, 700}, {200, 1400}} {
		from := build(t, large(t, size.shards, 0))
		data := reach(t, from, move(t, from, 100))
		t.Logf("%d shards: %d bytes", size.shards, len(data))
		if len(data) > size.limit {
			t.Errorf("%d shards: %d bytes: want at most %d", size.shards, len(data), size.limit)
		}
	}
}

func TestADeltaIsAppliedOnlyToTheMapItBeginsAt(t *testing.T) {
	m := newMaps(13)
	from := build(t, plain(t, 1000, 5, func(b int) int { return 1 + b%5 }, m.users(9)...))
	to := move(t, from, 10)
	delta := binary.MakeDelta(from, to)
	// The same version with other content is another map.
	other := from.Content()
	other.Homes[999] = 1
	for name, s := range map[string]*bucketmap.Snapshot{"the map after": to, "no map": nil, "a map of the same version": build(t, other)} {
		if _, err := delta.Apply(s); !errors.Is(err, bucketmap.ErrMismatch) {
			t.Errorf("%s: %v: want ErrMismatch", name, err)
		}
	}
	// A delta that says another end than it leads to.
	wrong := *delta
	wrong.To[5]++
	if _, err := wrong.Apply(from); !errors.Is(err, binary.ErrCorrupt) {
		t.Errorf("another end: %v: want ErrCorrupt", err)
	}
	// One that does not fit what it says that it begins at.
	difference := *delta.Difference
	difference.Homes = append([]bucketmap.HomeChange(nil), difference.Homes...)
	difference.Homes[0].From = "shard-00009"
	wrong = binary.Delta{Difference: &difference, From: delta.From, To: delta.To}
	if _, err := wrong.Apply(from); !errors.Is(err, bucketmap.ErrMismatch) {
		t.Errorf("another home before: %v: want ErrMismatch", err)
	}
}

func TestADifferenceOutOfOrderIsRefusedByTheReader(t *testing.T) {
	hold := &bucketmap.Hold{First: 1, Last: 2, Move: "m-1"}
	for name, d := range map[string]*bucketmap.Difference{
		"homes":           {Homes: []bucketmap.HomeChange{{First: 5, Last: 6, To: "a"}, {First: 3, Last: 4, To: "a"}}},
		"homes, inverted": {Homes: []bucketmap.HomeChange{{First: 5, Last: 4, To: "a"}}},
		"homes, too high": {Homes: []bucketmap.HomeChange{{First: 5, Last: bucketmap.BucketsMax, To: "a"}}},
		"epochs":          {Epochs: []bucketmap.EpochChange{{First: 5, Last: 6, To: 2}, {First: 5, Last: 6, To: 3}}},
		"users":           {Whitelist: []bucketmap.UserChange{{User: "b", To: "c"}, {User: "a", To: "c"}}},
		"a user twice":    {Whitelist: []bucketmap.UserChange{{User: "b", To: "c"}, {User: "b", To: "d"}}},
		"no user":         {Whitelist: []bucketmap.UserChange{{User: "", To: "c"}}},
		"a hold twice":    {Holds: []bucketmap.HoldChange{{From: hold, To: hold}}},
		"no hold":         {Holds: []bucketmap.HoldChange{{}}},
		"a name":          {Datacenters: []bucketmap.DatacenterChange{{To: "no/name"}}},
		"buckets":         {FromBuckets: 1, ToBuckets: bucketmap.BucketsMax + 1},
	} {
		data := binary.AppendDelta(nil, &binary.Delta{Difference: d}, nil)
		if _, err := binary.DecodeDelta(data, nil); !errors.Is(err, binary.ErrCorrupt) {
			t.Errorf("%s: %v: want ErrCorrupt", name, err)
		}
	}
}
