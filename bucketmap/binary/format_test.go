package binary_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

// The examples of docs/format.md.

func exampleMap(t testing.TB) *bucketmap.Snapshot {
	return build(t, bucketmap.Content{
		Version: 300, Moved: 2,
		Default:     bucketmap.Default{Datacenter: "legacy", Auto: true, Source: "legacy", Target: "cloud"},
		Datacenters: []bucketmap.Datacenter{"cloud", "legacy"},
		Shards:      []bucketmap.Shard{{Name: "shard-1", Datacenter: "legacy", Epoch: 1}, {Name: "shard-2", Datacenter: "cloud", Epoch: 3}},
		Homes:       []uint16{1, 1, 1, 1, 1, 1, 2, 2, 2, 0},
		Whitelist: whitelist(t, func(yield func(string, bucketmap.Datacenter) bool) {
			_ = yield("emp-1", "cloud") && yield("emp-20", "legacy")
		}),
		EpochBuckets: []bucketmap.BucketID{7, 8}, Epochs: []bucketmap.Epoch{2, 2},
		Holds: []bucketmap.Hold{
			{First: 4, Last: 5, Move: "m-1", Until: time.UnixMilli(1_795_255_200_123).UTC()},
			{Shard: "shard-2", Move: "m-1", Until: time.UnixMilli(1_795_255_200_000).UTC()},
		},
	})
}

func exampleEntropy(t testing.TB) *bucketmap.Snapshot {
	c := exampleMap(t).Content()
	c.Version, c.Homes, c.EpochBuckets, c.Epochs, c.Holds = 1, make([]uint16, 64), nil, nil, nil
	for b := range c.Homes {
		c.Homes[b] = uint16(1 + bits.OnesCount(uint(b))%2)
	}
	return build(t, c)
}

func exampleDelta(t testing.TB) (from, to *bucketmap.Snapshot) {
	from = exampleMap(t)
	c := from.Content()
	c.Version, c.Moved = 301, 4
	c.Homes[4], c.Homes[5] = 2, 2
	c.EpochBuckets, c.Epochs = append([]bucketmap.BucketID{4, 5}, c.EpochBuckets...), append([]bucketmap.Epoch{2, 2}, c.Epochs...)
	c.Holds = c.Holds[1:]
	return from, build(t, c)
}

func exampleKey() (ed25519.PublicKey, ed25519.PrivateKey) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x42}, ed25519.SeedSize))
	return private.Public().(ed25519.PublicKey), private
}

var hexLine = regexp.MustCompile(`^([0-9a-f]{4})  ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  .*)?$`)

// documented returns the bytes of the block of that name in the document.
func documented(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "```"+name+"\n")
	if !ok {
		t.Fatalf("docs/format.md has no block %q", name)
	}
	block, _, _ = strings.Cut(block, "```")
	var data []byte
	for line := range strings.Lines(block) {
		m := hexLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			t.Fatalf("%s: line %q: want an offset, bytes and what they are", name, line)
		}
		if offset, err := strconv.ParseUint(m[1], 16, 32); err != nil || offset != uint64(len(data)) {
			t.Errorf("%s: offset %s: want %04x", name, m[1], len(data))
		}
		more, err := hex.DecodeString(strings.ReplaceAll(m[2], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, more...)
	}
	return data
}

func TestTheDocumentShowsWhatTheEncoderWrites(t *testing.T) {
	_, private := exampleKey()
	from, to := exampleDelta(t)
	for name, data := range map[string][]byte{
		"map":     binary.Append(nil, from, nil),
		"entropy": binary.Append(nil, exampleEntropy(t), nil),
		"delta":   binary.AppendDelta(nil, binary.MakeDelta(from, to), private),
	} {
		if got := documented(t, name); !bytes.Equal(got, data) {
			t.Errorf("%s: docs/format.md says\n%x\nand the encoder writes\n%s", name, got, hex.Dump(data))
		}
	}
}

func TestTheDocumentsExamplesAreRead(t *testing.T) {
	public, _ := exampleKey()
	keys := []ed25519.PublicKey{public}
	from, to := exampleDelta(t)
	if got, err := binary.Decode(documented(t, "map"), nil); err != nil || !got.Equal(from) {
		t.Errorf("map: %v", err)
	}
	if got, err := binary.Decode(documented(t, "entropy"), nil); err != nil || !got.Equal(exampleEntropy(t)) {
		t.Errorf("entropy: %v", err)
	}
	if _, err := binary.Decode(documented(t, "map"), keys); !errors.Is(err, binary.ErrUnsigned) {
		t.Errorf("map, with a key: %v: want ErrUnsigned", err)
	}
	delta, err := binary.DecodeDelta(documented(t, "delta"), keys)
	if err != nil {
		t.Fatal(err)
	}
	next, err := delta.Apply(from)
	if err != nil || !next.Equal(to) {
		t.Errorf("delta: %v", err)
	}
}

func TestTheDocumentShowsTheDecodersBounds(t *testing.T) {
	text, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	for what, value := range map[string]int{"buckets": bucketmap.BucketsMax, "shards": bucketmap.ShardsMax, "a user id": bucketmap.UserIDMax, "a name": bucketmap.NameMax, "users": bucketmap.WhitelistMax} {
		if line := fmt.Sprintf("| %s | %d |", what, value); !strings.Contains(string(text), line) {
			t.Errorf("docs/format.md does not say %q", line)
		}
	}
}
