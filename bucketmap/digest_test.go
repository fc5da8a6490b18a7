package bucketmap

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// documented computes a digest by the words of Digest's comment, from what
// everybody can see of a snapshot.
func documented(s *Snapshot) Digest {
	sum := func(parts ...any) []byte {
		var all []byte
		for _, part := range parts {
			switch v := part.(type) {
			case []byte:
				all = append(all, v...)
			case rune:
				all = append(all, byte(v))
			case Datacenter, ShardName, MoveID:
				var text string
				switch v := v.(type) {
				case Datacenter:
					text = string(v)
				case ShardName:
					text = string(v)
				case MoveID:
					text = string(v)
				}
				all = append(append(all, byte(len(text))), text...)
			default:
				var err error
				if all, err = binary.Append(all, binary.LittleEndian, v); err != nil {
					panic(err)
				}
			}
		}
		d := sha256.Sum256(all)
		return d[:]
	}
	d := s.Default()
	header := sum('h', uint64(s.Version()), s.Buckets(), s.Moved(), d.Auto, d.Datacenter, d.Source, d.Target)
	dictionary := []any{'d', uint32(len(s.Datacenters()))}
	for _, dc := range s.Datacenters() {
		dictionary = append(dictionary, dc)
	}
	dictionary = append(dictionary, uint32(len(s.Shards())))
	number := map[ShardName]uint16{}
	for i, shard := range s.Shards() {
		dictionary = append(dictionary, shard.Name, shard.Datacenter, uint64(shard.Epoch))
		number[shard.Name] = uint16(i + 1)
	}
	buckets, group := []any{'b'}, []any{'g'}
	for first := BucketID(0); uint32(first) < s.Buckets(); first += 128 {
		page, epochs, moved := []any{'p'}, []any{}, false
		for b := first; b < first+128 && uint32(b) < s.Buckets(); b++ {
			home, _ := s.Home(b)
			page = append(page, number[home.Name])
			epoch := s.Epoch(b)
			if epoch == FirstEpoch {
				epoch = 0
			}
			moved = moved || epoch != 0
			epochs = append(epochs, binary.AppendUvarint(nil, uint64(epoch)))
		}
		if moved {
			page = append(page, epochs...)
		}
		group = append(group, sum(page...))
		if len(group) == 17 {
			buckets, group = append(buckets, sum(group...)), []any{'g'}
		}
	}
	if len(group) != 1 {
		buckets = append(buckets, sum(group...))
	}
	whitelist := []any{'w'}
	for i := range uint32(256) {
		users := []any{'u'}
		for id, dc := range s.Whitelist() {
			if crc32.ChecksumIEEE([]byte(id))>>24 == i {
				users = append(users, uint16(len(id)), []byte(id), dc)
			}
		}
		if len(users) == 1 {
			whitelist = append(whitelist, make([]byte, 32))
		} else {
			whitelist = append(whitelist, sum(users...))
		}
	}
	holds := []any{'o', uint32(len(s.Holds()))}
	for _, h := range s.Holds() {
		holds = append(holds, uint32(h.First), uint32(h.Last), h.Shard, h.Move, h.Until.UnixMilli())
	}
	return Digest(sum([]byte("drover map 1"), header, sum(dictionary...), sum(buckets...), sum(whitelist...), sum(holds...)))
}

// 8 maps, and 30 with DROVER_SOAK=1.
func TestDigestIsWhatItsCommentSays(t *testing.T) {
	for seed := range uint64(rounds(8, 30)) {
		r := rand.New(rand.NewPCG(seed, 5))
		s := randomMap(t, r, 1+r.Uint32N(40000), r.IntN(600))
		if got, want := s.Digest(), documented(s); got != want {
			t.Fatalf("seed %d: digest %s, documented is %s", seed, got, want)
		}
	}
}

// Other programs compute it too: it must never change.
func TestDigestOfOneMapIsFixed(t *testing.T) {
	_, to := pair(t)
	const want = "1a7bb9736782a2422c87c7144245df4bf1f4a55da4cdf12c36025e7c56449b83"
	if got := to.Digest().String(); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestDigestDiffersWhenAnythingDiffers(t *testing.T) {
	from, _ := pair(t)
	seen := map[Digest]string{}
	for name, change := range map[string]func(*Draft){
		"nothing":               func(*Draft) {},
		"version":               func(d *Draft) { d.Version++ },
		"moved":                 func(d *Draft) { d.Moved++ },
		"default":               func(d *Draft) { d.Default.Datacenter = "cloud" },
		"default pinned":        func(d *Draft) { d.Default = Default{Datacenter: "legacy"} },
		"default exchanged":     func(d *Draft) { d.Default.Source, d.Default.Target = "cloud", "legacy" },
		"datacenter":            func(d *Draft) { d.Datacenters = append(d.Datacenters, "edge") },
		"shard":                 func(d *Draft) { must(t, d.PutShard(Shard{Name: "new", Datacenter: "cloud"})) },
		"shard gone":            func(d *Draft) { must(t, d.DropShard("old")) },
		"shard's datacenter":    func(d *Draft) { must(t, d.PutShard(Shard{Name: "old", Datacenter: "cloud"})) },
		"shard's epoch":         func(d *Draft) { must(t, d.PutShard(Shard{Name: "old", Datacenter: "legacy", Epoch: 2})) },
		"home":                  func(d *Draft) { must(t, d.SetHome(9, 9, "beta")) },
		"other home":            func(d *Draft) { must(t, d.SetHome(8, 8, "beta")) },
		"no home":               func(d *Draft) { must(t, d.SetHome(9, 9, "")) },
		"epoch":                 func(d *Draft) { d.Epochs[9] = 3 },
		"other epoch":           func(d *Draft) { d.Epochs[8] = 3 },
		"no epochs":             func(d *Draft) { clear(d.Epochs) },
		"user":                  func(d *Draft) { d.Whitelist["x"] = "cloud" },
		"user gone":             func(d *Draft) { delete(d.Whitelist, "emp-1") },
		"user's datacenter":     func(d *Draft) { d.Whitelist["emp-1"] = "legacy" },
		"nobody":                func(d *Draft) { clear(d.Whitelist) },
		"no holds":              func(d *Draft) { d.Holds = nil },
		"hold's first":          func(d *Draft) { d.Holds[0].First++ },
		"hold's last":           func(d *Draft) { d.Holds[0].Last++ },
		"hold's move":           func(d *Draft) { d.Holds[0].Move = "x" },
		"hold's until":          func(d *Draft) { d.Holds[0].Until = d.Holds[0].Until.Add(time.Millisecond) },
		"hold's shard":          func(d *Draft) { d.Holds[1].Shard = "alpha" },
		"hold of shard and not": func(d *Draft) { d.Holds = d.Holds[:1] },
	} {
		d := from.Edit()
		change(d)
		s := mustSnapshot(t, d)
		if other, ok := seen[s.Digest()]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[s.Digest()] = name
		if s.Digest() != remake(t, s).Digest() {
			t.Errorf("%s: another digest from scratch", name)
		}
	}
	eleven := NewDraft(11)
	eleven.Datacenters, eleven.Default.Datacenter = []Datacenter{"a"}, "a"
	twelve := NewDraft(12)
	twelve.Datacenters, twelve.Default.Datacenter = []Datacenter{"a"}, "a"
	if mustSnapshot(t, eleven).Digest() == mustSnapshot(t, twelve).Digest() {
		t.Error("11 and 12 buckets have one digest")
	}
}

func TestDigestMayBeAskedForConcurrently(t *testing.T) {
	from, to := pair(t)
	d := Diff(from, to)
	want := documented(to)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			from.Digest()
			if s, err := from.Apply(d); err != nil || s.Digest() != want {
				t.Errorf("%v, %v", s, err)
			}
		})
	}
	group.Wait()
}

func TestDigestTextIsHexadecimalAndNothingElse(t *testing.T) {
	_, to := pair(t)
	d := to.Digest()
	back, err := ParseDigest(d.String())
	if err != nil || back != d || len(d.String()) != 64 {
		t.Errorf("%s becomes %s, %v", d, back, err)
	}
	for _, text := range []string{"", d.String()[:62], d.String()[:63], d.String() + "00", strings.ToUpper(d.String()), " " + d.String()[1:], strings.Repeat("x", 64)} {
		if got, err := ParseDigest(text); err == nil || got != (Digest{}) {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
	inJSON, err := json.Marshal(map[string]Digest{"d": d})
	must(t, err)
	var read map[string]Digest
	must(t, json.Unmarshal(inJSON, &read))
	if read["d"] != d || !strings.Contains(string(inJSON), d.String()) {
		t.Errorf("JSON %s", inJSON)
	}
}

func TestContentGivesTheSameMap(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 4))
		s := randomMap(t, r, 1+r.Uint32N(2000), r.IntN(50))
		again, err := s.Content().Snapshot()
		must(t, err)
		if !again.Equal(s) || again.Digest() != s.Digest() {
			t.Fatalf("seed %d: another map:\n%s", seed, Diff(s, again))
		}
		s.Content().Homes[0] ^= 1
		if !again.Equal(s) {
			t.Fatal("Content shares the homes")
		}
	}
}

func TestContentThatIsNoMapIsRefused(t *testing.T) {
	from, _ := pair(t)
	for name, spoil := range map[string]func(*Content){
		"version":             func(c *Content) { c.Version = 0 },
		"default":             func(c *Content) { c.Default.Datacenter = "x" },
		"datacenters' order":  func(c *Content) { slices.Reverse(c.Datacenters) },
		"datacenter twice":    func(c *Content) { c.Datacenters = append(c.Datacenters, "legacy") },
		"shards' order":       func(c *Content) { c.Shards[0], c.Shards[1] = c.Shards[1], c.Shards[0] },
		"shard twice":         func(c *Content) { c.Shards[1] = c.Shards[0] },
		"shards too many":     func(c *Content) { c.Shards = make([]Shard, ShardsMax+1) },
		"shard's datacenter":  func(c *Content) { c.Shards[0].Datacenter = "x" },
		"homes out of bounds": func(c *Content) { c.Homes[9] = 4 },
		"homes far out":       func(c *Content) { c.Homes[9] = 65535 },
		"no homes":            func(c *Content) { c.Homes = nil },
		"homes too many":      func(c *Content) { c.Homes = make([]uint16, BucketsMax+1) },
		"user's datacenter": func(c *Content) {
			c.Datacenters, c.Whitelist = []Datacenter{"cloud", "legacy"}, whitelistOf(t, "a", "x")
		},
		"holds' order":           func(c *Content) { slices.Reverse(c.Holds) },
		"hold twice":             func(c *Content) { c.Holds[1] = c.Holds[0] },
		"hold's until":           func(c *Content) { c.Holds[0].Until = time.Time{} },
		"epochs' order":          func(c *Content) { slices.Reverse(c.EpochBuckets) },
		"epoch twice":            func(c *Content) { c.EpochBuckets[1] = c.EpochBuckets[0] },
		"epoch out of bounds":    func(c *Content) { c.EpochBuckets[1] = 10 },
		"epoch of what is first": func(c *Content) { c.Epochs[0] = FirstEpoch },
		"epoch of zero":          func(c *Content) { c.Epochs[0] = 0 },
		"epochs without buckets": func(c *Content) { c.EpochBuckets = nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := from.Content()
			spoil(&c)
			if s, err := c.Snapshot(); s != nil || err == nil {
				t.Error("accepted")
			}
		})
	}
	c := from.Content()
	c.Whitelist = nil
	if s, err := c.Snapshot(); err != nil || s.WhitelistLen() != 0 || s.Whitelisted() == nil {
		t.Errorf("no whitelist: %v", err)
	}
}

func whitelistOf(t testing.TB, pairs ...string) *Whitelist {
	t.Helper()
	w, err := NewWhitelist(func(yield func(string, Datacenter) bool) {
		for i := 0; i < len(pairs); i += 2 {
			if !yield(pairs[i], Datacenter(pairs[i+1])) {
				return
			}
		}
	})
	must(t, err)
	return w
}
