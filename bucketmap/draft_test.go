package bucketmap

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// twoShards has the buckets 0 to 9 on alpha, in legacy; beta is in cloud.
func twoShards(t testing.TB) *Draft {
	t.Helper()
	d := NewDraft(10)
	d.Default = Default{Datacenter: "legacy", Auto: true, Source: "legacy", Target: "cloud"}
	must(t, d.PutShard(Shard{Name: "beta", Datacenter: "cloud"}))
	must(t, d.PutShard(Shard{Name: "alpha", Datacenter: "legacy"}))
	must(t, d.SetHome(0, 9, "alpha"))
	return d
}

func TestDefaultFollowsMoreThanHalfOfTheUsers(t *testing.T) {
	for _, c := range []struct {
		name   string
		moved  int // buckets 0 to moved-1 are in the target
		weight func(BucketID) uint64
		want   Datacenter
	}{
		{"none", 0, nil, "legacy"},
		{"half of the buckets", 5, nil, "legacy"},
		{"more than half", 6, nil, "cloud"},
		{"all", 10, nil, "cloud"},
		{"no users at all", 10, func(BucketID) uint64 { return 0 }, "legacy"},
		{"one heavy bucket", 1, func(b BucketID) uint64 { return map[BucketID]uint64{0: 100}[b] + 1 }, "cloud"},
		{"half of the users", 1, func(b BucketID) uint64 { return map[BucketID]uint64{0: 8}[b] + 1 }, "legacy"},
		{"half and one", 1, func(b BucketID) uint64 { return map[BucketID]uint64{0: 9}[b] + 1 }, "cloud"},
		{"sums over 64 bits, half", 5, func(BucketID) uint64 { return math.MaxUint64 }, "legacy"},
		{"sums over 64 bits, more", 6, func(BucketID) uint64 { return math.MaxUint64 }, "cloud"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := twoShards(t)
			if c.moved != 0 {
				must(t, d.SetHome(0, BucketID(c.moved-1), "beta"))
			}
			d.ResolveDefault(c.weight)
			if d.Default.Datacenter != c.want {
				t.Errorf("default %s, want %s", d.Default.Datacenter, c.want)
			}
			mustSnapshot(t, d)
		})
	}
}

func TestBucketsWithoutAHomeCountAgainstTheTarget(t *testing.T) {
	d := twoShards(t)
	must(t, d.SetHome(0, 4, "beta"))
	must(t, d.SetHome(5, 9, ""))
	if d.ResolveDefault(nil); d.Default.Datacenter != "legacy" {
		t.Error("half of the users is not more than half")
	}
}

func TestPinnedDefaultIsLeftAlone(t *testing.T) {
	d := twoShards(t)
	d.Default = Default{Datacenter: "legacy"}
	must(t, d.SetHome(0, 9, "beta"))
	if d.ResolveDefault(nil); d.Default != (Default{Datacenter: "legacy"}) {
		t.Errorf("default %+v", d.Default)
	}
}

func TestDefaultGoesBackWithTheUsers(t *testing.T) {
	d := twoShards(t)
	must(t, d.SetHome(0, 9, "beta"))
	d.ResolveDefault(nil)
	must(t, d.SetHome(0, 9, "alpha"))
	if d.ResolveDefault(nil); d.Default.Datacenter != "legacy" {
		t.Errorf("default %s after everybody went back", d.Default.Datacenter)
	}
}

// Against a model that keeps names instead of indexes.
func TestShardsComeAndGoAndHomesStay(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const buckets = 50
	d := NewDraft(buckets)
	d.Default.Datacenter = "legacy"
	d.Datacenters = []Datacenter{"legacy"}
	model := map[BucketID]ShardName{}
	shards := map[ShardName]bool{}
	for range 3000 {
		name := ShardName(fmt.Sprintf("s%02d", r.IntN(30)))
		first := BucketID(r.IntN(buckets))
		last := first + BucketID(r.IntN(buckets-int(first)))
		switch r.IntN(4) {
		case 0:
			must(t, d.PutShard(Shard{Name: name, Datacenter: "legacy"}))
			shards[name] = true
		case 1:
			used := false
			for _, home := range model {
				used = used || home == name
			}
			if err := d.DropShard(name); (err == nil) != (shards[name] && !used) {
				t.Fatalf("DropShard(%s): %v; there %v, used %v", name, err, shards[name], used)
			} else if err == nil {
				delete(shards, name)
			}
		case 2:
			if err := d.SetHome(first, last, name); (err == nil) != shards[name] {
				t.Fatalf("SetHome to %s: %v", name, err)
			} else if err == nil {
				for b := first; b <= last; b++ {
					model[b] = name
				}
			}
		default:
			must(t, d.SetHome(first, last, ""))
			for b := first; b <= last; b++ {
				delete(model, b)
			}
		}
		for b := range BucketID(buckets) {
			if home, ok := d.Home(b); home.Name != model[b] || ok != (model[b] != "") {
				t.Fatalf("bucket %d is on %q, want %q", b, home.Name, model[b])
			}
		}
	}
	s := mustSnapshot(t, d)
	next := BucketID(0)
	for run := range s.Runs() {
		if run.First != next {
			t.Fatalf("run %+v, want one from %d on", run, next)
		}
		for b := run.First; b <= run.Last; b++ {
			if run.Shard != model[b] {
				t.Fatalf("run %+v, but bucket %d is on %q", run, b, model[b])
			}
		}
		next = run.Last + 1
	}
	if next != buckets {
		t.Fatalf("runs end before %d", next)
	}
}

func TestSnapshotSharesNothing(t *testing.T) {
	d := twoShards(t)
	d.Whitelist["emp-1"] = "cloud"
	d.Epochs[3] = 2
	d.Holds = []Hold{{First: 1, Last: 2, Move: "m", Until: time.UnixMilli(1)}}
	s := mustSnapshot(t, d)
	same := mustSnapshot(t, d)
	edit := s.Edit()
	for _, draft := range []*Draft{d, edit} {
		must(t, draft.SetHome(0, 9, "beta"))
		must(t, draft.PutShard(Shard{Name: "aaa", Datacenter: "other"}))
		draft.Whitelist["emp-1"], draft.Epochs[3], draft.Holds[0].Move = "legacy", 9, "x"
		draft.Datacenters[0] = "changed"
	}
	s.Shards()[0].Name, s.Datacenters()[0], s.Holds()[0].Move = "x", "x", "x"
	if !s.Equal(same) {
		t.Errorf("the snapshot changed:\n%s", Diff(same, s))
	}
}

func TestEditOfAMapWithNothingCanBeWrittenTo(t *testing.T) {
	d := twoShards(t)
	d.Whitelist, d.Epochs = nil, nil
	edit := mustSnapshot(t, d).Edit()
	edit.Whitelist["emp-1"], edit.Epochs[1] = "cloud", 2
	if edit.Version != 2 {
		t.Errorf("version %d", edit.Version)
	}
	mustSnapshot(t, edit)
}

func TestHoldOfFindsTheHold(t *testing.T) {
	d := twoShards(t)
	must(t, d.PutShard(Shard{Name: "gamma", Datacenter: "cloud"}))
	must(t, d.SetHome(6, 7, "beta"))
	must(t, d.SetHome(8, 8, "gamma"))
	must(t, d.SetHome(9, 9, ""))
	until := time.UnixMilli(1_700_000_000_123)
	d.Holds = []Hold{
		{Shard: "gamma", Move: "of-gamma", Until: until},
		{First: 7, Last: 7, Move: "seven", Until: until},
		{Shard: "beta", Move: "of-beta", Until: until},
		{First: 1, Last: 3, Move: "one-to-three", Until: until},
	}
	s := mustSnapshot(t, d)
	for b, want := range []MoveID{"", "one-to-three", "one-to-three", "one-to-three", "", "", "of-beta", "seven", "of-gamma", "", ""} {
		h, ok := s.HoldOf(BucketID(b))
		if h.Move != want || ok != (want != "") {
			t.Errorf("bucket %d: hold %q, %v, want %q", b, h.Move, ok, want)
		}
		if ok && !h.Until.Equal(until) {
			t.Errorf("bucket %d: until %v", b, h.Until)
		}
	}
	if !d.DropHolds("of-beta") || d.DropHolds("of-beta") || len(d.Holds) != 3 {
		t.Error("DropHolds does not drop, or drops twice")
	}
}

func TestEveryProblemOfAMapIsReported(t *testing.T) {
	until := time.UnixMilli(1_700_000_000_000)
	for name, c := range map[string]struct {
		spoil func(*Draft)
		want  []string
	}{
		"version":          {func(d *Draft) { d.Version = 0 }, []string{"version: 0"}},
		"buckets":          {func(d *Draft) { d.Buckets = 11 }, []string{"buckets: 11: want 10"}},
		"no buckets":       {func(d *Draft) { d.Buckets = 0 }, []string{"buckets: 0: want 1 to 1048576"}},
		"datacenter name":  {func(d *Draft) { d.Datacenters = append(d.Datacenters, "a/b") }, []string{"datacenters: \"a/b\""}},
		"datacenter dots":  {func(d *Draft) { d.Datacenters = append(d.Datacenters, "..") }, []string{"datacenters: \"..\""}},
		"datacenter twice": {func(d *Draft) { d.Datacenters = append(d.Datacenters, "cloud") }, []string{"each name once"}},
		"default":          {func(d *Draft) { d.Default.Datacenter = "x" }, []string{"default.datacenter: \"x\": want one of"}},
		"default third":    {func(d *Draft) { d.Datacenters = append(d.Datacenters, "x"); d.Default.Datacenter = "x" }, []string{"the source or the target"}},
		"source is target": {func(d *Draft) { d.Default.Target = "legacy" }, []string{"default.target"}},
		"pinned":           {func(d *Draft) { d.Default.Auto = false }, []string{"pinned default"}},
		"shard name":       {func(d *Draft) { _ = d.PutShard(Shard{Name: "-x", Datacenter: "cloud"}) }, []string{"shards: \"-x\""}},
		"shard's datacenter": {func(d *Draft) { d.Datacenters = []Datacenter{"legacy"}; d.Default = Default{Datacenter: "legacy"} },
			[]string{"shards.beta: \"cloud\""}},
		"whitelist": {func(d *Draft) { d.Whitelist[""] = "cloud"; d.Whitelist[strings.Repeat("x", 257)] = "x" },
			[]string{"an id of 0 bytes", "an id of 257 bytes", "whitelist: \"x\""}},
		"epochs":        {func(d *Draft) { d.Epochs[10], d.Epochs[1] = 2, 0 }, []string{"bucket 10, epoch 2", "bucket 1, epoch 0"}},
		"hold's move":   {func(d *Draft) { d.Holds = []Hold{{Until: until}} }, []string{"holds.move"}},
		"hold's until":  {func(d *Draft) { d.Holds = []Hold{{Move: "m"}, {First: 1, Last: 1, Move: "m", Until: until.Add(1)}} }, []string{"0001-01-01", "22:13:20.000000001"}},
		"hold's year":   {func(d *Draft) { d.Holds = []Hold{{Move: "m", Until: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}} }, []string{"before 10000"}},
		"hold's shard":  {func(d *Draft) { d.Holds = []Hold{{Shard: "x", Move: "m", Until: until}} }, []string{"holds.shard: \"x\""}},
		"hold of both":  {func(d *Draft) { d.Holds = []Hold{{Shard: "beta", Last: 3, Move: "m", Until: until}} }, []string{"a shard or buckets"}},
		"shard twice":   {func(d *Draft) { d.Holds = slices.Repeat([]Hold{{Shard: "beta", Move: "m", Until: until}}, 2) }, []string{"one hold a shard"}},
		"hold's order":  {func(d *Draft) { d.Holds = []Hold{{First: 3, Last: 2, Move: "m", Until: until}} }, []string{"holds.buckets: 3-2"}},
		"hold's bounds": {func(d *Draft) { d.Holds = []Hold{{First: 3, Last: 10, Move: "m", Until: until}} }, []string{"holds.buckets: 3-10"}},
		"overlap": {func(d *Draft) {
			d.Holds = []Hold{{First: 5, Last: 6, Move: "a", Until: until}, {First: 0, Last: 5, Move: "b", Until: until}}
		}, []string{"holds that do not overlap"}},
		"several": {func(d *Draft) { d.Version = 0; d.Epochs[10] = 2; d.Default.Datacenter = "x" },
			[]string{"4 problem(s)", "version", "epochs", "default.datacenter"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := twoShards(t)
			c.spoil(d)
			s, err := d.Snapshot()
			var invalid *InvalidError
			if s != nil || !errors.As(err, &invalid) {
				t.Fatalf("got %v, %v", s, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if _, again := d.Snapshot(); again.Error() != err.Error() {
				t.Errorf("another order the second time: %v", again)
			}
		})
	}
	if _, err := NewDraft(BucketsMax + 1).Snapshot(); err == nil || !strings.Contains(err.Error(), "buckets: 1048577") {
		t.Errorf("too many buckets: %v", err)
	}
}

func TestHomesOutOfBoundsAreRefused(t *testing.T) {
	d := twoShards(t)
	for _, c := range []struct {
		first, last BucketID
		shard       ShardName
	}{{3, 2, "beta"}, {0, 10, "beta"}, {math.MaxUint32, math.MaxUint32, "beta"}, {0, 1, "gamma"}} {
		if err := d.SetHome(c.first, c.last, c.shard); err == nil {
			t.Errorf("accepted %+v", c)
		}
	}
}

func TestOnlyAHigherVersionOfTheSameBucketsSucceeds(t *testing.T) {
	d := twoShards(t)
	d.Version = 5
	current := mustSnapshot(t, d)
	for version, want := range map[Version]bool{4: false, 5: false, 6: true, 100: true} {
		d.Version = version
		err := CheckSuccessor(current, mustSnapshot(t, d))
		if (err == nil) != want || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("version %d after 5: %v", version, err)
		}
	}
	other := NewDraft(11)
	other.Version = 6
	other.Datacenters, other.Default.Datacenter = []Datacenter{"legacy"}, "legacy"
	if err := CheckSuccessor(current, mustSnapshot(t, other)); !errors.Is(err, ErrRefused) {
		t.Errorf("another bucket count: %v", err)
	}
	if err := CheckSuccessor(nil, current); err != nil {
		t.Errorf("the first map: %v", err)
	}
}

func TestUserIDTextKeepsEveryByte(t *testing.T) {
	for _, id := range []string{"a", "emp-1", " ", "\n", "\xff\x00", "hex:", "hex:ff", "é", "\u2028", strings.Repeat("x", 256)} {
		back, err := ParseUserID(UserID(id).String())
		if err != nil || string(back) != id {
			t.Errorf("%q becomes %q, %v", id, back, err)
		}
	}
	for _, text := range []string{"", "hex:", "hex:f", "hex:zz", strings.Repeat("x", 257)} {
		if id, err := ParseUserID(text); err == nil {
			t.Errorf("%q is taken for %q", text, id)
		}
	}
}
