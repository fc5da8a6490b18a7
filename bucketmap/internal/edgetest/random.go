package edgetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/internal/export"
)

// Random compares an edge with the map on maps of every size, and on users of
// every kind. The seed is printed. The long form asks for more users, and has the
// largest map too, which is otherwise Large's.
func Random(t *testing.T, edge Edge, long bool) {
	usersAMap, sizes := 100, []uint32{1, 2, 3, 38, 39, 40, 1000, 4096, 65_537}
	if long {
		usersAMap, sizes = 300, append(sizes, bucketmap.BucketsMax)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, buckets := range sizes {
		s := RandomMap(t, r, Shape{
			Buckets: buckets, Datacenters: 1 + r.IntN(6), Shards: 1 + r.IntN(30), Users: r.IntN(200), Runs: r.IntN(400),
			Holds: r.IntN(2) * r.IntN(10_000),
		})
		client := Dial(t, edge(t, s, Upstreams(t, s)).Addr)
		listed := listed(s)
		sent := 0
		for range usersAMap {
			user := randomUser(r, listed)
			if !export.Carries(string(user)) {
				continue
			}
			sent++
			if differs := client.Compare(t, s, user); differs != "" {
				t.Errorf("seed %d, %d buckets: %s", seed, buckets, differs)
			}
		}
		if sent < usersAMap/2 {
			t.Errorf("only %d users sent", sent)
		}
	}
}

// Large compares an edge with a map as large as one may be: every bucket on
// one of 200 shards by itself, 20,000 users whitelisted. The long form has
// 100,000, and asks for more of them.
func Large(t *testing.T, edge Edge, long bool) {
	users, whitelisted := 400, 20_000
	if long {
		users, whitelisted = 1000, 100_000
	}
	r := rand.New(rand.NewPCG(7, 7))
	shape := Shape{Buckets: bucketmap.BucketsMax, Datacenters: 2, Shards: 200, Users: whitelisted, Runs: bucketmap.BucketsMax}
	s := RandomMap(t, r, shape)
	p := edge(t, s, Upstreams(t, s))
	atRest := p.MemoryMiB()
	client := Dial(t, p.Addr)
	listed := listed(s)
	reasons := map[bucketmap.Reason]int{}
	for range users {
		user := randomUser(r, listed)
		for !export.Carries(string(user)) {
			user = randomUser(r, listed)
		}
		reasons[s.Decide(user).Reason]++
		if differs := client.Compare(t, s, user); differs != "" {
			t.Error(differs)
		}
	}
	t.Logf("%d buckets, %d shards, %d users whitelisted: up after %v, %d MiB at rest, %d MiB after %d users, %v",
		shape.Buckets, shape.Shards, shape.Users, p.Ready, atRest, p.MemoryMiB(), users, reasons)
}

// Shape is what a random map is like.
type Shape struct {
	Buckets                                 uint32
	Datacenters, Shards, Users, Runs, Holds int
}

// RandomMap makes a map with gaps, and with whitelisted users who are hard to
// write down.
func RandomMap(t testing.TB, r *rand.Rand, shape Shape) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(shape.Buckets)
	d.Version = bucketmap.Version(1 + r.Uint64N(1<<39))
	for i := range shape.Datacenters {
		d.Datacenters = append(d.Datacenters, bucketmap.Datacenter(fmt.Sprintf("dc-%d", i)))
	}
	datacenter := func() bucketmap.Datacenter { return d.Datacenters[r.IntN(shape.Datacenters)] }
	d.Default.Datacenter = datacenter()
	names := make([]bucketmap.ShardName, shape.Shards)
	for i := range names {
		names[i] = bucketmap.ShardName(fmt.Sprintf("s%03d", i))
		Must(t, d.PutShard(bucketmap.Shard{Name: names[i], Datacenter: datacenter()}))
	}
	for i := range shape.Runs {
		first, length := uint32(i)%shape.Buckets, uint32(1)
		if shape.Runs < int(shape.Buckets) {
			first = r.Uint32N(shape.Buckets)
			length = 1 + r.Uint32N(min(shape.Buckets-first, 1+shape.Buckets/16))
		}
		name := bucketmap.ShardName("")
		if r.IntN(8) != 0 {
			name = names[r.IntN(shape.Shards)]
		}
		Must(t, d.SetHome(bucketmap.BucketID(first), bucketmap.BucketID(first+length-1), name))
	}
	// Holds that are over: as many codes as holds, and no decision changes.
	for b := range min(shape.Holds, int(shape.Buckets)) {
		until := time.UnixMilli(1_600_000_000_000 + int64(b)).UTC()
		d.Holds = append(d.Holds, bucketmap.Hold{First: bucketmap.BucketID(b), Last: bucketmap.BucketID(b), Move: "m-1", Until: until})
	}
	for range shape.Users {
		d.Whitelist[string(anyUser(r))] = datacenter()
	}
	s, err := d.Snapshot()
	Must(t, err)
	return s
}

func listed(s *bucketmap.Snapshot) (ids []string) {
	for id := range s.Whitelist() {
		ids = append(ids, id)
	}
	return ids
}

// randomUser returns a whitelisted user, a stranger, one too long, or none.
func randomUser(r *rand.Rand, listed []string) []byte {
	switch n := r.IntN(20); {
	case n == 0:
		return nil
	case n == 1:
		return bytesOf(r, bucketmap.UserIDMax+1+r.IntN(500), 0x21, 0x7e)
	case n == 2:
		return bytesOf(r, bucketmap.UserIDMax, 0x21, 0x7e)
	case n < 8 && len(listed) != 0:
		return mistake(r, []byte(listed[r.IntN(len(listed))]))
	}
	return anyUser(r)
}

// mistake leaves a user as it is, mostly, or makes a similar one of it.
func mistake(r *rand.Rand, user []byte) []byte {
	user = slices.Clone(user)
	switch r.IntN(8) {
	case 0:
		user[r.IntN(len(user))] ^= 0x20 // another case
	case 1:
		user = user[:len(user)-1]
	case 2:
		user = append(user, '0')
	}
	return user
}

// anyUser returns a user of one byte or more, of digits, of punctuation that
// configurations give a meaning to, or of any bytes.
func anyUser(r *rand.Rand) []byte {
	switch r.IntN(4) {
	case 0:
		return fmt.Appendf(nil, "%d", r.Uint64N(1<<40))
	case 1:
		return fmt.Appendf(nil, "user-%08x", r.Uint32())
	case 2:
		const marks = "#$%{}()[]\"'\\;:, =~*/?&<>|^!@`\t0aZ\u00e9"
		user := make([]byte, 1+r.IntN(12))
		for i := range user {
			user[i] = marks[r.IntN(len(marks))]
		}
		return user
	default:
		return bytesOf(r, 1+r.IntN(40), 0x01, 0xff)
	}
}

func bytesOf(r *rand.Rand, length int, low, high byte) []byte {
	b := make([]byte, length)
	for i := range b {
		b[i] = low + byte(r.IntN(int(high-low)+1))
	}
	return b
}
