package binary

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
)

// small is a map with something of everything, in a few bytes.
func small(t testing.TB) *bucketmap.Snapshot {
	t.Helper()
	w, err := bucketmap.NewWhitelist(func(yield func(string, bucketmap.Datacenter) bool) {
		_ = yield("emp-1", "cloud") && yield("emp-12", "legacy") && yield("emp-\xff", "cloud") && yield(strings.Repeat("x", 200), "cloud")
	})
	if err != nil {
		t.Fatal(err)
	}
	until := time.UnixMilli(1_795_255_200_123).UTC()
	s, err := bucketmap.Content{
		Version: 300, Moved: 7,
		Default:     bucketmap.Default{Datacenter: "legacy", Auto: true, Source: "legacy", Target: "cloud"},
		Datacenters: []bucketmap.Datacenter{"cloud", "legacy"},
		Shards: []bucketmap.Shard{
			{Name: "alpha", Datacenter: "legacy", Epoch: 1}, {Name: "beta", Datacenter: "cloud", Epoch: 3}, {Name: "beta-2", Datacenter: "cloud", Epoch: 1},
		},
		Homes:        []uint16{1, 1, 1, 1, 1, 1, 2, 2, 2, 0, 3, 3, 3, 3, 3, 1},
		Whitelist:    w,
		EpochBuckets: []bucketmap.BucketID{6, 7, 8, 10}, Epochs: []bucketmap.Epoch{2, 2, 2, 5},
		Holds: []bucketmap.Hold{
			{First: 2, Last: 4, Move: "m-1", Until: until}, {First: 9, Last: 9, Move: "m-1", Until: until.Add(-time.Second)},
			{Shard: "beta", Move: "m-2", Until: until},
		},
	}.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// changed is small, one version on, with something else of everything.
func changed(t testing.TB) *bucketmap.Snapshot {
	t.Helper()
	d := small(t).Edit()
	err := errors.Join(
		d.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "moon", Epoch: 1}),
		d.PutShard(bucketmap.Shard{Name: "beta-2", Datacenter: "legacy", Epoch: 2}),
		d.SetHome(3, 5, "gamma"), d.SetHome(9, 9, "beta"), d.SetHome(15, 15, ""),
	)
	if err != nil {
		t.Fatal(err)
	}
	d.Moved += 4
	d.Epochs[3], d.Epochs[4], d.Epochs[5], d.Epochs[9] = 2, 2, 2, 2
	d.Default = bucketmap.Default{Datacenter: "cloud"}
	d.DropHolds("m-1")
	d.Holds = append(d.Holds, bucketmap.Hold{Shard: "gamma", Move: "m-3", Until: time.UnixMilli(1_795_255_300_000)})
	delete(d.Whitelist, "emp-12")
	d.Whitelist["emp-1"], d.Whitelist["emp-2"] = "moon", "moon"
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// scattered is a map whose homes and epochs are entropy coded.
func scattered(t testing.TB) *bucketmap.Snapshot {
	t.Helper()
	c := small(t).Content()
	rng := rand.New(rand.NewPCG(2, 2))
	c.Homes, c.EpochBuckets, c.Epochs = make([]uint16, 301), nil, nil
	for b := range c.Homes {
		c.Homes[b] = uint16(rng.IntN(4))
		if rng.IntN(3) != 0 {
			c.EpochBuckets, c.Epochs = append(c.EpochBuckets, bucketmap.BucketID(b)), append(c.Epochs, bucketmap.Epoch(2+rng.IntN(2)))
		}
	}
	s, err := c.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testKey() (ed25519.PublicKey, ed25519.PrivateKey) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	return private.Public().(ed25519.PublicKey), private
}

// seal puts a header around a content, whatever it is.
func seal(kind byte, content []byte) []byte {
	return appendEnvelope(nil, kind, nil, func(dst []byte) []byte { return append(dst, content...) })
}

// forms are the two decoders, each with what it reads and what it makes of it.
var forms = []struct {
	name  string
	kind  byte
	data  func(t testing.TB) []byte
	again func(data []byte, keys []ed25519.PublicKey) ([]byte, error)
}{
	{"map", kindMap, func(t testing.TB) []byte { return Append(nil, small(t), nil) }, againMap},
	{"scattered map", kindMap, func(t testing.TB) []byte { return Append(nil, scattered(t), nil) }, againMap},
	{"delta", kindDelta, func(t testing.TB) []byte { return AppendDelta(nil, MakeDelta(small(t), changed(t)), nil) }, againDelta},
}

func againMap(data []byte, keys []ed25519.PublicKey) ([]byte, error) {
	s, err := Decode(data, keys)
	if err != nil {
		return nil, err
	}
	return Append(nil, s, nil), nil
}

func againDelta(data []byte, keys []ed25519.PublicKey) ([]byte, error) {
	d, err := DecodeDelta(data, keys)
	if err != nil {
		return nil, err
	}
	return AppendDelta(nil, d, nil), nil
}

// classed says whether err is one that a caller can tell.
func classed(err error) bool {
	for _, class := range []error{ErrCorrupt, ErrChecksum, ErrUnsigned, ErrSignature, ErrFormat} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

func TestEverySingleFlippedBitIsRefused(t *testing.T) {
	for _, form := range forms {
		data := form.data(t)
		for i := range len(data) * 8 {
			bad := bytes.Clone(data)
			bad[i/8] ^= 1 << (i % 8)
			if _, err := form.again(bad, nil); !classed(err) {
				t.Errorf("%s: bit %d of byte %d: %v", form.name, i%8, i/8, err)
			}
		}
	}
}

func TestWhatIsCutOffOrHasMoreIsRefused(t *testing.T) {
	for _, form := range forms {
		data := form.data(t)
		content := data[headerSize:]
		for n := range data {
			if _, err := form.again(data[:n], nil); !classed(err) {
				t.Errorf("%s: %d bytes of %d: %v", form.name, n, len(data), err)
			}
		}
		for n := range content {
			if _, err := form.again(seal(form.kind, content[:n]), nil); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %d bytes of content of %d: %v", form.name, n, len(content), err)
			}
		}
		for _, more := range []string{"\x00", "\x01", "\xff", string(data), strings.Repeat("\x00", signatureSize)} {
			if _, err := form.again(append(bytes.Clone(data), more...), nil); !classed(err) {
				t.Errorf("%s: %d bytes after the end: %v", form.name, len(more), err)
			}
			if _, err := form.again(seal(form.kind, append(bytes.Clone(content), more...)), nil); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %d bytes after the content: %v", form.name, len(more), err)
			}
		}
	}
}

// Here the checksum is right, so that every check behind it is asked.
// 1,500 contents are changed at random, and 10,000 with DROVER_SOAK=1.
func TestWhatIsAcceptedEncodesToTheSameBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, form := range forms {
		content := form.data(t)[headerSize:]
		accepted, refused := 0, 0
		try := func(content []byte) {
			data := seal(form.kind, content)
			again, err := form.again(data, nil)
			switch {
			case err != nil && !errors.Is(err, ErrCorrupt):
				t.Fatalf("%s: %x: %v", form.name, content, err)
			case err != nil:
				refused++
			case !bytes.Equal(again, data):
				t.Fatalf("%s: accepted\n%x, which encodes to\n%x", form.name, data, again)
			default:
				accepted++
			}
		}
		for i := range content {
			for _, b := range []byte{0, 1, 0x7f, 0x80, 0xff, content[i] + 1, content[i] - 1, content[i] ^ 0x10, content[i] ^ 0x80} {
				bad := bytes.Clone(content)
				bad[i] = b
				try(bad)
			}
		}
		for range Rounds(1500, 10_000) {
			bad := bytes.Clone(content)
			for range 1 + rng.IntN(4) {
				at := rng.IntN(len(bad))
				switch rng.IntN(3) {
				case 0:
					bad[at] = byte(rng.Uint32())
				case 1:
					bad = append(bad[:at], bad[at+1:]...)
				default:
					bad = append(bad[:at], append([]byte{byte(rng.Uint32())}, bad[at:]...)...)
				}
			}
			try(bad)
		}
		t.Logf("%s: %d accepted, %d refused", form.name, accepted, refused)
		if accepted == 0 || refused == 0 {
			t.Errorf("%s: %d accepted and %d refused: want some of both", form.name, accepted, refused)
		}
	}
}

// memoryConstant and memoryTimes bound what a decoder allocates, all of it
// counted, also what it gives back at once: 2^20 homes, slots, and the epochs
// four times over, as symbols, numbers, pages and a copy that is sorted.
const (
	memoryConstant = 48 << 20
	memoryTimes    = 256
	memoryDelta    = 1 << 20 // a delta has nothing that has a place for each bucket
)

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestAFewBytesCannotClaimMuchMemory(t *testing.T) {
	number := func(vs ...uint64) []byte {
		var out []byte
		for _, v := range vs {
			out = binary.AppendUvarint(out, v)
		}
		return out
	}
	const huge = 1 << 62
	names := "\x00c\x00l" // two datacenters
	pinned := "\x02" + names + "\x00\x00"
	start := string(number(1, 0, bucketmap.BucketsMax))
	shard := "\x01\x00a\x00\x00"
	oneRun := string(number(0, bucketmap.BucketsMax-1, 1))
	cases := map[string]string{
		"datacenters":      start + string(number(huge)),
		"shards":           start + pinned + string(number(huge)),
		"whitelist bytes":  start + pinned + shard + string(number(huge)),
		"users":            start + pinned + shard + string(number(9, huge)),
		"counts":           start + pinned + shard + "\x01\x00" + "\x01",
		"words":            start + pinned + shard + "\x01\x00" + "\x01" + string(number(1, bucketmap.BucketsMax-1, huge)),
		"epochs":           start + pinned + shard + "\x01\x00" + oneRun + string(number(huge)),
		"holds":            start + pinned + shard + "\x01\x00" + oneRun + "\x00" + string(number(huge)),
		"holds of shards":  start + pinned + shard + "\x01\x00" + oneRun + "\x00\x00" + string(number(huge)),
		"a million epochs": start + pinned + shard + "\x01\x00" + oneRun + "\x01\x00" + oneRun + "\x00\x00",
		"a legal one":      start + pinned + shard + "\x01\x00" + oneRun + "\x00\x00\x00",
	}
	for name, content := range cases {
		data := seal(kindMap, []byte(content))
		var err error
		bytes := allocated(func() { _, err = Decode(data, nil) })
		legal := name == "a legal one" || name == "a million epochs"
		if legal != (err == nil) || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s: %d bytes of input, %d allocated: %v", name, len(data), bytes, err)
		limit := uint64(4 << 20)
		if name == "a million epochs" {
			limit = memoryConstant
		}
		if bytes > limit {
			t.Errorf("%s: %d bytes allocated: want at most %d", name, bytes, limit)
		}
	}
}

func TestAWhitelistCannotClaimMuchMoreThanItsLength(t *testing.T) {
	const users, times = 50_000, 128
	// Ids of 67 bytes that take 7 each.
	var list []byte
	prev := ""
	list = binary.AppendUvarint(list, users)
	for i := range users {
		id := strings.Repeat("x", sharedMax) + string([]byte{byte(i >> 16), byte(i >> 8), byte(i)})
		list = append(appendKey(list, prev, id), 0)
		prev = id
	}
	content := []byte("\x01\x00\x01\x02\x00c\x00l\x00\x00\x00")
	content = append(binary.AppendUvarint(content, uint64(len(list))), list...)
	content = append(content, 0, 0, 0, 0, 0, 0)
	data := seal(kindMap, content)
	var s *bucketmap.Snapshot
	var err error
	n := allocated(func() { s, err = Decode(data, nil) })
	if err != nil || s.WhitelistLen() != users {
		t.Fatal(err)
	}
	t.Logf("%d bytes of input, %d allocated, %.1f times", len(data), n, float64(n)/float64(len(data)))
	if n > uint64(times*len(data)) {
		t.Errorf("%d bytes allocated for %d: want at most %d times", n, len(data), times)
	}
}
