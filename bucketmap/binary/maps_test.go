package binary_test

import (
	"crypto/ed25519"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"drover/bucketmap"
)

// maps makes maps of every kind from a seed.
type maps struct{ *rand.Rand }

func newMaps(seed uint64) maps { return maps{rand.New(rand.NewPCG(seed, 1))} }

func build(t testing.TB, c bucketmap.Content) *bucketmap.Snapshot {
	t.Helper()
	s, err := c.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func whitelist(t testing.TB, ids iter.Seq2[string, bucketmap.Datacenter]) *bucketmap.Whitelist {
	t.Helper()
	w, err := bucketmap.NewWhitelist(ids)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// plain has so many shards in two datacenters, and homes by pick.
func plain(t testing.TB, buckets, shards int, pick func(bucket int) int, users ...string) bucketmap.Content {
	c := bucketmap.Content{
		Version: 12, Moved: 34,
		Default:     bucketmap.Default{Datacenter: "legacy", Auto: true, Source: "legacy", Target: "cloud"},
		Datacenters: []bucketmap.Datacenter{"cloud", "legacy"},
		Homes:       make([]uint16, buckets),
	}
	for i := range shards {
		c.Shards = append(c.Shards, bucketmap.Shard{
			Name: bucketmap.ShardName(fmt.Sprintf("shard-%05d", i)), Datacenter: c.Datacenters[i%2], Epoch: 1,
		})
	}
	for b := range c.Homes {
		c.Homes[b] = uint16(pick(b))
	}
	c.Whitelist = whitelist(t, func(yield func(string, bucketmap.Datacenter) bool) {
		for i, u := range users {
			if !yield(u, c.Datacenters[i%2]) {
				return
			}
		}
	})
	return c
}

// any returns a map with anything in it, of at most so many buckets.
func (m maps) any(t testing.TB, bucketsMax int) *bucketmap.Snapshot {
	buckets, shards := 1+m.IntN(bucketsMax), 1+m.IntN(40)
	spread := 1 + m.IntN(shards+1)
	stay := m.IntN(100) // of 100 buckets, how many have the home of the one before
	home := 0
	c := plain(t, buckets, shards, func(int) int {
		if m.IntN(100) >= stay {
			home = m.IntN(spread)
		}
		return home
	}, m.users(m.IntN(60))...)
	c.Version, c.Moved = 1+bucketmap.Version(m.Uint64()>>m.IntN(64))%bucketmap.VersionMax, m.Uint64()>>m.IntN(64)
	if m.IntN(3) == 0 {
		c.Default = bucketmap.Default{Datacenter: "cloud"}
	} else if m.IntN(2) == 0 {
		c.Default.Datacenter = "cloud"
	}
	for i := range c.Shards {
		if m.IntN(5) == 0 {
			c.Shards[i].Epoch = bucketmap.Epoch(1 + m.Uint64()>>m.IntN(64)>>1)
		}
	}
	kinds := m.IntN(6)
	for b := range buckets {
		if kinds != 0 && m.IntN(4) != 0 {
			c.EpochBuckets = append(c.EpochBuckets, bucketmap.BucketID(b))
			e := bucketmap.Epoch(2 + m.IntN(kinds))
			if m.IntN(100) == 0 {
				e = math.MaxUint64 - bucketmap.Epoch(m.IntN(2))
			}
			c.Epochs = append(c.Epochs, e)
		}
	}
	for first := m.IntN(20); first < buckets && m.IntN(8) != 0; {
		last := min(first+m.IntN(3), buckets-1)
		c.Holds = append(c.Holds, bucketmap.Hold{
			First: bucketmap.BucketID(first), Last: bucketmap.BucketID(last), Move: m.move(), Until: m.until(),
		})
		first = last + 1 + m.IntN(9)
	}
	for i := m.IntN(8); i < shards; i += 1 + m.IntN(30) {
		c.Holds = append(c.Holds, bucketmap.Hold{Shard: c.Shards[i].Name, Move: m.move(), Until: m.until()})
	}
	return build(t, c)
}

func (m maps) move() bucketmap.MoveID { return bucketmap.MoveID(fmt.Sprintf("m-%d", m.IntN(3))) }

func (m maps) until() time.Time {
	return time.UnixMilli(1 + m.Int64N(253_402_300_799_000)>>m.IntN(40)).UTC()
}

// users returns different ids of every length and any bytes, many of which
// begin alike.
func (m maps) users(n int) []string {
	known := map[string]bool{}
	prefix := ""
	for len(known) < n {
		if m.IntN(3) == 0 {
			prefix = string(m.bytes(m.IntN(100)))
		}
		known[prefix+string(m.bytes(1+m.IntN(1<<m.IntN(8))))] = true
	}
	return slices.Sorted(func(yield func(string) bool) {
		for id := range known {
			if !yield(id) {
				return
			}
		}
	})
}

func (m maps) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	return b
}

func (m maps) key() (ed25519.PublicKey, ed25519.PrivateKey) {
	private := ed25519.NewKeyFromSeed(m.bytes(ed25519.SeedSize))
	return private.Public().(ed25519.PublicKey), private
}

// information is what the assignment and the whitelist say, in bytes: n × the
// entropy of the shards' shares, and the ids with a byte each.
func information(c bucketmap.Content) float64 {
	counts := map[uint16]float64{}
	for _, h := range c.Homes {
		counts[h]++
	}
	bits := 0.0
	for _, n := range counts {
		bits += n * math.Log2(float64(len(c.Homes))/n)
	}
	bytes := bits / 8
	for id := range c.Whitelist.All() {
		bytes += float64(len(id)) + 1
	}
	return bytes
}
