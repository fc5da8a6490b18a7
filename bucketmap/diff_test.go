package bucketmap

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestDiffSaysWhatChanged(t *testing.T) {
	until := time.UnixMilli(1_700_000_000_123)
	d := twoShards(t)
	must(t, d.PutShard(Shard{Name: "old", Datacenter: "legacy"}))
	d.Whitelist = map[string]Datacenter{"emp-1": "cloud", "emp-2": "cloud", "emp-3": "cloud"}
	d.Holds = []Hold{{First: 1, Last: 3, Move: "m-1", Until: until}, {Shard: "beta", Move: "m-2", Until: until}}
	d.Epochs = map[BucketID]Epoch{9: 2}
	from := mustSnapshot(t, d)

	d = from.Edit()
	must(t, d.DropShard("old"))
	must(t, d.PutShard(Shard{Name: "gamma", Datacenter: "edge"}))
	must(t, d.PutShard(Shard{Name: "beta", Datacenter: "legacy", Epoch: 2}))
	must(t, d.SetHome(1, 3, "beta"))
	must(t, d.SetHome(5, 5, ""))
	must(t, d.SetHome(7, 8, "gamma"))
	d.Default = Default{Datacenter: "cloud"}
	d.Whitelist = map[string]Datacenter{"emp-1": "legacy", "emp-2": "cloud", "\xff": "cloud"}
	d.Holds = []Hold{{First: 4, Last: 4, Move: "m-3", Until: until}, {Shard: "beta", Move: "m-2", Until: until.Add(time.Second)}}
	d.Epochs = map[BucketID]Epoch{1: 2, 2: 2, 3: 3, 9: 2}
	to := mustSnapshot(t, d)

	const want = `~ default: legacy (auto, legacy to cloud) -> cloud (pinned)
+ datacenter: edge
~ shard beta: cloud -> legacy, epoch 2
+ shard gamma: edge
- shard old: legacy
~ home 1-3: alpha -> beta
- home 5: alpha
~ home 7-8: alpha -> gamma
~ epoch 1-2: 1 -> 2
~ epoch 3: 1 -> 3
- hold 1-3: m-1 until 2023-11-14T22:13:20.123Z
+ hold 4: m-3 until 2023-11-14T22:13:20.123Z
- hold shard beta: m-2 until 2023-11-14T22:13:20.123Z
+ hold shard beta: m-2 until 2023-11-14T22:13:21.123Z
~ whitelist emp-1: cloud -> legacy
- whitelist emp-3: cloud
+ whitelist hex:ff: cloud
`
	diff := Diff(from, to)
	if diff.String() != want || diff.Empty() {
		t.Errorf("got:\n%s\nwant:\n%s", diff, want)
	}
	if diff.FromVersion != 1 || diff.ToVersion != 2 {
		t.Errorf("versions %d, %d", diff.FromVersion, diff.ToVersion)
	}
	text, err := json.Marshal(diff)
	must(t, err)
	for _, part := range []string{`"homes":[{"first":1,"last":3,"from":"alpha","to":"beta"}`, `"user":"hex:ff"`, `"from_version":1`,
		`"to":{"datacenter":"cloud","auto":false}`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	var back Difference
	must(t, json.Unmarshal(text, &back))
	if back.String() != want {
		t.Errorf("JSON gives:\n%s", back.String())
	}
}

func TestDiffOfTheSameIsEmpty(t *testing.T) {
	for seed := range uint64(20) {
		s := randomMap(t, rand.New(rand.NewPCG(seed, 0)), 100, 10)
		if d := Diff(s, mustSnapshot(t, s.Edit())); !d.Empty() || d.String() != "" {
			t.Errorf("seed %d: %s", seed, d)
		}
	}
}

func TestDiffFromNothingAddsEverything(t *testing.T) {
	d := Diff(nil, mustSnapshot(t, twoShards(t)))
	const want = `+ buckets: 10
+ default: legacy (auto, legacy to cloud)
+ datacenter: cloud
+ datacenter: legacy
+ shard alpha: legacy
+ shard beta: cloud
+ home 0-9: alpha
`
	if d.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", d, want)
	}
}

// What differs says so to Equal and to Diff alike.
func TestDiffIsEmptyExactlyWhenTheMapsAreEqual(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		a := randomMap(t, rand.New(rand.NewPCG(r.Uint64N(3), 0)), 20, 3)
		b := randomMap(t, rand.New(rand.NewPCG(r.Uint64N(3), 0)), 20, 3)
		if Diff(a, b).Empty() != a.Equal(b) {
			t.Fatalf("seed %d: equal %v, but:\n%s", seed, a.Equal(b), Diff(a, b))
		}
	}
	var none *Snapshot
	if !none.Equal(nil) || none.Equal(mustSnapshot(t, twoShards(t))) || mustSnapshot(t, twoShards(t)).Equal(nil) {
		t.Error("nil is equal to nil alone")
	}
}
