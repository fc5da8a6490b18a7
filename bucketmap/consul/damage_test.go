package consul

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

func TestDeletedPointerIsNoEmptyMapAndIsNotOverwritten(t *testing.T) {
	s := open(t, options())
	now := publishTo(t, s, 3)
	calls := watching(t, s)
	awaitVersion(t, calls, 3)
	deleteRaw(t, s, s.pointerKey())
	c := next(t, calls)
	wantRule(t, c.err, bucketmap.RuleUnreadable)
	if c.snapshot != nil || !errors.Is(c.err, ErrPointerGone) || errors.Is(c.err, bucketmap.ErrNoMap) || !strings.Contains(c.err.Error(), "consul kv get") {
		t.Fatalf("%v, %v", c.snapshot, c.err)
	}
	_, err := s.Load(within(t))
	wantRule(t, err, bucketmap.RuleUnreadable)
	for _, m := range []*bucketmap.Snapshot{storetest.First(t), edit(t, now)} {
		if err := s.Publish(within(t), m, bucketmap.Change{}); !errors.Is(err, ErrPointerGone) {
			t.Fatalf("published over a history: %v", err)
		}
	}
	// The remedy works.
	putRaw(t, s, s.pointerKey(), getRaw(t, s, s.historyKey(3)))
	if got := awaitVersion(t, calls, 3); !got.Equal(now) {
		t.Fatal("another map")
	}
	publish(t, s, edit(t, now))
	awaitVersion(t, calls, 4)
}

func TestGarbageInThePointerIsSaidAndGotOver(t *testing.T) {
	s := open(t, options())
	publishTo(t, s, 2)
	good := getRaw(t, s, s.pointerKey())
	calls := watching(t, s)
	awaitVersion(t, calls, 2)
	change := func(edit func(map[string]any)) []byte {
		var fields map[string]any
		must(t, json.Unmarshal(good, &fields))
		edit(fields)
		text, err := json.Marshal(fields)
		must(t, err)
		return text
	}
	base := func(f map[string]any) map[string]any { return f["base"].(map[string]any) }
	for name, garbage := range map[string][]byte{
		"empty":           {},
		"binary":          bytes.Repeat([]byte{0xff, 0}, 1000),
		"cut":             good[:len(good)/2],
		"two":             append(slices.Clone(good), good...),
		"null":            []byte("null"),
		"array":           []byte("[1]"),
		"deep":            bytes.Repeat([]byte("["), 100_000),
		"no version":      change(func(f map[string]any) { delete(f, "version") }),
		"unknown key":     change(func(f map[string]any) { f["x"] = 1 }),
		"newer format":    change(func(f map[string]any) { f["format"] = 2 }),
		"huge size":       change(func(f map[string]any) { base(f)["size"] = 1 << 50 }),
		"negative size":   change(func(f map[string]any) { base(f)["size"] = -1 }),
		"chunk elsewhere": change(func(f map[string]any) { base(f)["chunks"] = []string{"../../x"} }),
		"no chunks":       change(func(f map[string]any) { base(f)["chunks"] = []string{} }),
		"base far away":   change(func(f map[string]any) { f["version"], f["deltas"] = 1<<40, 1<<40-1 }),
		"base later":      change(func(f map[string]any) { base(f)["version"] = 7 }),
		"delta cut":       change(func(f map[string]any) { f["delta"] = "AAAA" }),
		"no delta":        change(func(f map[string]any) { delete(f, "delta") }),
		"another digest":  change(func(f map[string]any) { f["digest"] = strings.Repeat("0", 64) }),
		"another version": change(func(f map[string]any) { f["version"], f["deltas"] = 3, 2 }),
	} {
		fresh := open(t, s.options)
		putRaw(t, s, s.pointerKey(), garbage)
		_, err := fresh.Load(within(t))
		if !errors.Is(err, bucketmap.ErrRefused) || errors.Is(err, bucketmap.ErrNoMap) {
			t.Errorf("%s: %v", name, err)
		}
		// The watcher has the map that is announced, and needs no delta.
		if c := next(t, calls); name != "delta cut" && !errors.Is(c.err, bucketmap.ErrRefused) {
			t.Errorf("%s: watched version %d, %v", name, c.snapshot.Version(), c.err)
		}
		if err := fresh.Publish(within(t), storetest.First(t), bucketmap.Change{}); err == nil {
			t.Errorf("%s: published over it", name)
		}
		putRaw(t, s, s.pointerKey(), good)
		awaitVersion(t, calls, 2)
	}
}

func TestDamagedChunkOrRecordIsNamedAndReadAgainOnceRepaired(t *testing.T) {
	s := open(t, options())
	publishTo(t, s, 3)
	chunk := s.chunkKey(pointerOf(t, s).Base.Chunks[0])
	for _, c := range []struct {
		key   string
		rule  bucketmap.Rule
		value func([]byte) []byte // nil deletes
	}{
		{chunk, bucketmap.RuleUnreadable, nil},
		{chunk, bucketmap.RuleHash, func(v []byte) []byte { return v[:len(v)-1] }},
		{chunk, bucketmap.RuleHash, func(v []byte) []byte { v[len(v)-1] ^= 1; return v }},
		{chunk, bucketmap.RuleHash, func([]byte) []byte { return nil }},
		{s.historyKey(2), bucketmap.RuleUnreadable, nil},
		{s.historyKey(2), bucketmap.RuleUnreadable, func(v []byte) []byte { return v[:len(v)-1] }},
		{s.historyKey(2), bucketmap.RuleUnreadable, func([]byte) []byte { return getRaw(t, s, s.historyKey(3)) }},
	} {
		good := getRaw(t, s, c.key)
		if c.value == nil {
			deleteRaw(t, s, c.key)
		} else {
			putRaw(t, s, c.key, c.value(slices.Clone(good)))
		}
		fresh := open(t, s.options)
		_, err := fresh.Load(within(t))
		wantRule(t, err, c.rule)
		if !strings.Contains(err.Error(), c.key) {
			t.Errorf("%v does not name %s", err, c.key)
		}
		putRaw(t, s, c.key, good)
		wantLoad(t, fresh, s.newest())
	}
}

func TestWatchSeesThatAChunkWasRepaired(t *testing.T) {
	t.Parallel()
	s := open(t, options())
	publishTo(t, s, 1)
	key := s.chunkKey(pointerOf(t, s).Base.Chunks[0])
	good := getRaw(t, s, key)
	deleteRaw(t, s, key)
	calls := watching(t, open(t, s.options))
	wantRule(t, next(t, calls).err, bucketmap.RuleUnreadable)
	putRaw(t, s, key, good)
	awaitVersion(t, calls, 1)
}

func TestPointerSetBackKeepsItsNewerVersionsFromBeingUsedTwice(t *testing.T) {
	s := open(t, options())
	publishTo(t, s, 3)
	putRaw(t, s, s.pointerKey(), getRaw(t, s, s.historyKey(2)))
	old, err := s.Load(within(t))
	must(t, err)
	if old.Version() != 2 {
		t.Fatalf("version %d", old.Version())
	}
	err = s.Publish(within(t), edit(t, old), bucketmap.Change{Who: "another"})
	if !errors.Is(err, ErrPointerOld) {
		t.Fatalf("%v", err)
	}
	if at, err := s.At(within(t), 3); err != nil || at.Version() != 3 {
		t.Fatalf("%v", err)
	}
}

// A restored snapshot of Consul has older indexes than a watcher waits for.
func TestWatchGoesOnAfterConsulWasRestoredFromASnapshot(t *testing.T) {
	t.Parallel()
	server := startConsul(t, "restored", nil)
	s := open(t, Options{Address: server.Addr(), Prefix: prefix()})
	now := publishTo(t, s, 2)
	saved, _, err := s.client.Snapshot().Save(nil)
	must(t, err)
	defer saved.Close()
	calls := watching(t, open(t, s.options))
	for range 40 {
		now = publish(t, s, edit(t, now))
	}
	awaitVersion(t, calls, now.Version())
	must(t, s.client.Snapshot().Restore(nil, saved))
	for {
		c := next(t, calls)
		if c.snapshot != nil && c.snapshot.Version() == 2 {
			break // the reader's guard refuses it, the store hides nothing
		}
	}
	now, err = s.Load(within(t))
	must(t, err)
	publish(t, s, edit(t, now))
	for {
		if c := next(t, calls); c.snapshot != nil && c.snapshot.Version() == 3 {
			break
		}
	}
}

func TestTwoPrefixesDoNotSeeEachOther(t *testing.T) {
	o := options()
	one := open(t, o)
	o.Prefix += "2" // begins like the other
	two := open(t, o)
	o.Prefix = one.options.Prefix + "/history" // lies within the other
	three := open(t, o)
	for i, s := range []*Store{one, two, three} {
		if _, err := s.Load(within(t)); !errors.Is(err, bucketmap.ErrNoMap) {
			t.Fatalf("store %d: %v", i, err)
		}
		publishTo(t, s, bucketmap.Version(i+1))
		must(t, s.Ack(within(t), bucketmap.Ack{Proxy: fmt.Sprint("p", i), Version: 1}))
	}
	for i, s := range []*Store{one, two, three} {
		records, err := s.History(within(t))
		must(t, err)
		acks, err := s.Acks(within(t))
		must(t, err)
		if len(records) != i+1 || len(acks) != 1 {
			t.Errorf("store %d: %v, %v", i, records, acks)
		}
	}
}

// large returns a map of 1,048,576 buckets on 200 shards in random order.
func large(t testing.TB) *bucketmap.Snapshot {
	t.Helper()
	const shards = 200
	random := rand.New(rand.NewPCG(1, 2))
	c := bucketmap.Content{
		Version: 1, Default: bucketmap.Default{Datacenter: "legacy"}, Datacenters: []bucketmap.Datacenter{"cloud", "legacy"},
		Homes: make([]uint16, bucketmap.BucketsMax),
	}
	for i := range shards {
		name := bucketmap.ShardName(fmt.Sprintf("shard-%03d", i))
		c.Shards = append(c.Shards, bucketmap.Shard{Name: name, Datacenter: c.Datacenters[1-i%2], Epoch: bucketmap.FirstEpoch})
	}
	for b := range c.Homes {
		c.Homes[b] = 1 + uint16(random.IntN(shards))
	}
	s, err := c.Snapshot()
	must(t, err)
	return s
}

func TestLargeMapTravelsInChunksAndItsChangesAlone(t *testing.T) {
	t.Parallel()
	s := open(t, options())
	first := publish(t, s, large(t))
	if chunks := len(pointerOf(t, s).Base.Chunks); chunks < 3 {
		t.Errorf("%d chunks", chunks)
	}
	reader := open(t, s.options)
	wantLoad(t, reader, first)
	// 100 buckets go: a small delta.
	d := first.Edit()
	must(t, d.SetHome(1000, 1099, "shard-007"))
	second, err := d.Snapshot()
	must(t, err)
	publish(t, s, second)
	if p := pointerOf(t, s); p.Base.Version != 1 || len(p.Delta) == 0 || len(p.Delta) > 4<<10 {
		t.Errorf("base %d, a delta of %d bytes", p.Base.Version, len(p.Delta))
	}
	wantLoad(t, reader, second)
	// A third of all go: a large one, so a new base, and no delta.
	c := second.Content()
	c.Version++
	for b := 0; b < len(c.Homes); b += 3 {
		c.Homes[b] = 1 + uint16(b*7%200)
	}
	third, err := c.Snapshot()
	must(t, err)
	publish(t, s, third)
	if p := pointerOf(t, s); p.Base.Version != 3 || len(p.Delta) != 0 {
		t.Errorf("base %d, a delta of %d bytes", p.Base.Version, len(p.Delta))
	}
	for _, want := range []*bucketmap.Snapshot{first, second, third} {
		got, err := open(t, s.options).At(within(t), want.Version())
		must(t, err)
		if !got.Equal(want) {
			t.Errorf("version %d is another", want.Version())
		}
	}
	wantLoad(t, reader, third)
}

func TestEvery64thVersionHasABaseAndOldOnesAreReachedFromTheirOwn(t *testing.T) {
	s := open(t, options())
	publishTo(t, s, 3)
	old := s.newest()
	last := bucketmap.Version(2*deltasMax + 2)
	now := old
	for now.Version() < last {
		now = publish(t, s, edit(t, now))
	}
	if p := pointerOf(t, s); p.Base.Version != 2*deltasMax+1 {
		t.Errorf("base %d of version %d", p.Base.Version, p.Version)
	}
	fresh := open(t, s.options)
	wantLoad(t, fresh, now)
	got, err := fresh.At(within(t), 3)
	must(t, err)
	if !got.Equal(old) {
		t.Error("version 3 is another")
	}
	records, err := fresh.History(within(t))
	must(t, err)
	for i, r := range records {
		if r.Version != last-bucketmap.Version(i) || r.Digest == (bucketmap.Digest{}) {
			t.Fatalf("record %d: %+v", i, r)
		}
	}
	if len(records) != int(last) {
		t.Errorf("%d records", len(records))
	}
}

// A reader that was away for some versions costs their deltas, not the map.
func TestReaderThatMissedVersionsNeedsNoBase(t *testing.T) {
	s := open(t, options())
	now := publishTo(t, s, 2)
	reader := open(t, s.options)
	wantLoad(t, reader, now)
	deleteRaw(t, s, s.chunkKey(pointerOf(t, s).Base.Chunks[0]))
	for range 10 {
		now = publish(t, s, edit(t, now))
	}
	wantLoad(t, reader, now)
}

func TestDeltaThatLeadsElsewhereIsNotApplied(t *testing.T) {
	s := open(t, options())
	now := publishTo(t, s, 2)
	reader := open(t, s.options)
	wantLoad(t, reader, now)
	publish(t, s, edit(t, now))
	// The delta of version 2 under the name of version 3.
	d := pointerOf(t, s)
	second, err := parseDocument("", getRaw(t, s, s.historyKey(2)))
	must(t, err)
	d.Delta = second.Delta
	text, err := d.encode()
	must(t, err)
	putRaw(t, s, s.pointerKey(), text)
	_, err = reader.Load(within(t))
	wantRule(t, err, bucketmap.RuleHash)
}
