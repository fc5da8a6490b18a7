// Package storetest is what every store of the map must do, as tests. A store
// runs it from its own tests:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) bucketmap.Store { … })
//	}
//
// newStore is called once a test, must return a store in which nothing was
// ever published, and cleans up by t.Cleanup. A store that several processes
// share gives RunShared a way to open the same place again, as another
// process would; it then runs everything with two stores on one place.
//
// The suite waits for what must happen, and never for time to pass: waitMax
// only bounds a failure. It may be run by several tests concurrently.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
)

// waitMax is when a test gives up. No test that passes comes near it.
const waitMax = 20 * time.Second

// publishers is how many publish at once, and rounds how often each.
const (
	publishers = 16
	rounds     = 3
)

// place is one place of maps, and the two stores that look at it.
type place struct {
	one, two bucketmap.Store // the same one, but for RunShared
}

// Run runs the suite. newStore returns a store in which nothing was ever
// published.
func Run(t *testing.T, newStore func(t *testing.T) bucketmap.Store) {
	run(t, func(t *testing.T) place {
		s := newStore(t)
		return place{one: s, two: s}
	})
}

// RunShared runs the suite with two stores on the same place. reopen returns
// another store on the place of the first.
func RunShared(t *testing.T, newStore func(t *testing.T) bucketmap.Store, reopen func(t *testing.T, first bucketmap.Store) bucketmap.Store) {
	run(t, func(t *testing.T) place {
		s := newStore(t)
		return place{one: s, two: reopen(t, s)}
	})
}

func run(t *testing.T, newPlace func(t *testing.T) place) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, context.Context, place)
	}{
		{"NothingPublishedIsErrNoMap", nothingPublished},
		{"EveryPublishedMapLoadsBackEqual", roundTrip},
		{"OnlyTheNextVersionIsPublished", compareAndSwap},
		{"TheBucketCountNeverChanges", bucketCount},
		{"OnePublisherOfOneVersionWins", oneWinner},
		{"NoUpdateOfConcurrentPublishersIsLost", concurrentUpdates},
		{"HistoryHasEveryVersion", history},
		{"AnOldContentComesBackAsANewVersion", rollback},
		{"WatchSeesTheNewestMap", watch},
		{"WatchOfNothingSeesTheFirstMap", watchFirst},
		{"WatchVersionsNeverGoBack", watchOrder},
		{"WatchEndsWithItsContext", watchEnds},
		{"AcksAreThoseGiven", acks},
		{"WatchAcksSeesEachAck", watchAcks},
		{"WatchAcksEnds", watchAcksEnds},
		{"AContextThatEndedStopsEverything", endedContext},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), waitMax)
			defer cancel()
			test.run(t, ctx, newPlace(t))
		})
	}
	runStaged(t, newPlace)
}

// First returns a valid map of version 1 with two shards in two datacenters.
func First(t testing.TB) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(64)
	d.Default = bucketmap.Default{Datacenter: "legacy", Auto: true, Source: "legacy", Target: "cloud"}
	for name, dc := range map[bucketmap.ShardName]bucketmap.Datacenter{"alpha": "legacy", "beta": "cloud"} {
		must(t, d.PutShard(bucketmap.Shard{Name: name, Datacenter: dc}))
	}
	must(t, d.SetHome(0, 63, "alpha"))
	d.Whitelist["emp-1"] = "cloud"
	return snapshot(t, d)
}

// rich returns the next version, with everything in it that a map can have.
func rich(t testing.TB, from *bucketmap.Snapshot) *bucketmap.Snapshot {
	t.Helper()
	d := from.Edit()
	must(t, d.SetHome(3, 9, "beta"))
	must(t, d.SetHome(20, 20, ""))
	d.Declare(from)
	d.Whitelist["emp-2"] = "legacy"
	d.Whitelist["\xff\x00\n"] = "cloud"
	d.Whitelist["hex:00"] = "cloud"
	d.Whitelist[strings.Repeat("é", 128)] = "cloud"
	until := time.Date(2126, 11, 21, 10, 0, 0, 123e6, time.UTC)
	d.Holds = []bucketmap.Hold{{First: 3, Last: 9, Move: "m-1", Until: until}, {Shard: "beta", Move: "m-2", Until: until}}
	for b := range bucketmap.BucketID(7) {
		d.Epochs[3+b] = 2
	}
	d.Epochs[63] = 1 << 63
	return snapshot(t, d)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func snapshot(t testing.TB, d *bucketmap.Draft) *bucketmap.Snapshot {
	t.Helper()
	s, err := d.Snapshot()
	must(t, err)
	return s
}

// publish publishes and returns the map.
func publish(t testing.TB, ctx context.Context, store bucketmap.Publisher, next *bucketmap.Snapshot, why string) *bucketmap.Snapshot {
	t.Helper()
	must(t, store.Publish(ctx, next, bucketmap.Change{Who: "storetest", Why: why}))
	return next
}

func wantMap(t testing.TB, got *bucketmap.Snapshot, err error, want *bucketmap.Snapshot) {
	t.Helper()
	must(t, err)
	if !got.Equal(want) || got.Digest() != want.Digest() {
		t.Fatalf("another map, version %d for %d:\n%s", got.Version(), want.Version(), bucketmap.Diff(want, got))
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func nothingPublished(t *testing.T, ctx context.Context, p place) {
	_, err := p.one.Load(ctx)
	wantError(t, err, bucketmap.ErrNoMap)
	_, err = p.one.At(ctx, 1)
	wantError(t, err, bucketmap.ErrNoMap)
	records, err := p.one.History(ctx)
	must(t, err)
	if len(records) != 0 {
		t.Fatalf("history %v of nothing", records)
	}
	_, err = bucketmap.Update(ctx, p.one, bucketmap.Change{}, func(*bucketmap.Draft) error { return nil })
	wantError(t, err, bucketmap.ErrNoMap)
}

func roundTrip(t *testing.T, ctx context.Context, p place) {
	first := publish(t, ctx, p.one, First(t), "first")
	got, err := p.two.Load(ctx)
	wantMap(t, got, err, first)
	second := publish(t, ctx, p.two, rich(t, got), "second")
	got, err = p.one.Load(ctx)
	wantMap(t, got, err, second)
}

func compareAndSwap(t *testing.T, ctx context.Context, p place) {
	first := First(t)
	d := first.Edit() // version 2 without a version 1
	wantError(t, p.one.Publish(ctx, snapshot(t, d), bucketmap.Change{}), bucketmap.ErrConflict)
	publish(t, ctx, p.one, first, "first")
	second := publish(t, ctx, p.two, rich(t, first), "second")
	for _, version := range []bucketmap.Version{1, 2, 4, bucketmap.VersionMax} {
		d := first.Edit()
		d.Version = version
		wantError(t, p.one.Publish(ctx, snapshot(t, d), bucketmap.Change{}), bucketmap.ErrConflict)
	}
	got, err := p.one.Load(ctx)
	wantMap(t, got, err, second)
	records, err := p.one.History(ctx)
	must(t, err)
	if len(records) != 2 {
		t.Fatalf("refused versions are in the history: %v", records)
	}
}

func bucketCount(t *testing.T, ctx context.Context, p place) {
	first := publish(t, ctx, p.one, First(t), "first")
	d := bucketmap.NewDraft(128)
	d.Version = 2
	must(t, d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	d.Default.Datacenter = "legacy"
	wantError(t, p.one.Publish(ctx, snapshot(t, d), bucketmap.Change{}), bucketmap.ErrRefused)
	got, err := p.two.Load(ctx)
	wantMap(t, got, err, first)
}

func oneWinner(t *testing.T, ctx context.Context, p place) {
	first := publish(t, ctx, p.one, First(t), "first")
	var group sync.WaitGroup
	errs := make([]error, publishers)
	for i := range publishers {
		d := first.Edit()
		d.Whitelist[fmt.Sprintf("publisher-%d", i)] = "cloud"
		next := snapshot(t, d)
		store := []bucketmap.Store{p.one, p.two}[i%2]
		group.Go(func() { errs[i] = store.Publish(ctx, next, bucketmap.Change{Who: fmt.Sprint(i)}) })
	}
	group.Wait()
	winner := slices.Index(errs, nil)
	if winner < 0 {
		t.Fatalf("nobody won: %v", errs)
	}
	for i, err := range errs {
		if i != winner {
			wantError(t, err, bucketmap.ErrConflict)
		}
	}
	got, err := p.one.Load(ctx)
	must(t, err)
	if d := got.Decide([]byte(fmt.Sprintf("publisher-%d", winner))); d.Reason != bucketmap.ReasonWhitelist {
		t.Fatalf("publisher %d won, but its map is not in force", winner)
	}
}

func concurrentUpdates(t *testing.T, ctx context.Context, p place) {
	publish(t, ctx, p.one, First(t), "first")
	var group sync.WaitGroup
	errs := make(chan error, publishers)
	for i := range publishers {
		store := []bucketmap.Store{p.one, p.two}[i%2]
		group.Go(func() { errs <- updates(ctx, store, i) })
	}
	group.Wait()
	close(errs)
	for err := range errs {
		must(t, err)
	}
	got, err := p.two.Load(ctx)
	must(t, err)
	if want := bucketmap.Version(1 + publishers*rounds); got.Version() != want {
		t.Errorf("version %d after %d publications, want %d", got.Version(), publishers*rounds, want)
	}
	if want := 1 + publishers*rounds; got.WhitelistLen() != want {
		t.Errorf("%d users on the whitelist, want %d: an update is lost", got.WhitelistLen(), want)
	}
	records, err := p.two.History(ctx)
	must(t, err)
	for i, r := range records {
		if want := bucketmap.Version(len(records) - i); r.Version != want {
			t.Fatalf("record %d is of version %d, want %d: %v", i, r.Version, want, records)
		}
	}
	if len(records) != 1+publishers*rounds {
		t.Errorf("%d records, want %d", len(records), 1+publishers*rounds)
	}
}

// updates adds rounds users to the whitelist, one publication each. Update
// gives up after many losses in a row; a publisher with as many rivals goes
// on.
func updates(ctx context.Context, store bucketmap.Store, publisher int) error {
	for round := range rounds {
		user := fmt.Sprintf("user-%d-%d", publisher, round)
		for {
			_, err := bucketmap.Update(ctx, store, bucketmap.Change{Who: fmt.Sprint(publisher), Why: user}, func(d *bucketmap.Draft) error {
				d.Whitelist[user] = "cloud"
				return nil
			})
			if err == nil {
				break
			}
			if !errors.Is(err, bucketmap.ErrConflict) {
				return err
			}
		}
	}
	return nil
}

func history(t *testing.T, ctx context.Context, p place) {
	before := time.Now().Add(-time.Minute) // stores may keep coarse times
	maps := []*bucketmap.Snapshot{publish(t, ctx, p.one, First(t), "why 1")}
	maps = append(maps, publish(t, ctx, p.two, rich(t, maps[0]), "why 2"))
	for v := 3; v <= 6; v++ {
		d := maps[len(maps)-1].Edit()
		d.Whitelist[fmt.Sprintf("emp-%d", v)] = "cloud"
		maps = append(maps, publish(t, ctx, p.one, snapshot(t, d), fmt.Sprintf("why %d\n\"quoted\" é", v)))
	}
	records, err := p.two.History(ctx)
	must(t, err)
	if len(records) != len(maps) {
		t.Fatalf("%d records, want %d", len(records), len(maps))
	}
	for i, r := range records {
		want := bucketmap.Version(len(maps) - i)
		if r.Version != want || r.Who != "storetest" || !strings.HasPrefix(r.Why, fmt.Sprintf("why %d", want)) ||
			r.When.Before(before) || r.When.Location() != time.UTC {
			t.Errorf("record %d is %+v, want version %d", i, r, want)
		}
		if digest := maps[want-1].Digest(); r.Digest != digest && r.Digest != (bucketmap.Digest{}) {
			t.Errorf("record %d has digest %s, want %s, or none", i, r.Digest, digest)
		}
	}
	for _, want := range maps {
		for _, store := range []bucketmap.Store{p.one, p.two} {
			got, err := store.At(ctx, want.Version())
			wantMap(t, got, err, want)
		}
	}
	for _, version := range []bucketmap.Version{0, 7, 1 << 40} {
		_, err = p.one.At(ctx, version)
		wantError(t, err, bucketmap.ErrNoMap)
	}
}

func rollback(t *testing.T, ctx context.Context, p place) {
	first := publish(t, ctx, p.one, First(t), "first")
	publish(t, ctx, p.one, rich(t, first), "second")
	old, err := p.one.At(ctx, 1)
	must(t, err)
	d := old.Edit()
	d.Version = 3
	third := publish(t, ctx, p.one, snapshot(t, d), "back to 1")
	got, err := p.two.Load(ctx)
	wantMap(t, got, err, third)
	if diff := bucketmap.Diff(first, got); !diff.Empty() {
		t.Fatalf("not the old content:\n%s", diff)
	}
}

// seen is one call of a watcher.
type seen struct {
	snapshot *bucketmap.Snapshot
	err      error
}

// watching starts Watch and returns its calls. The watcher ends with the test.
func watching(t *testing.T, ctx context.Context, source bucketmap.Source) <-chan seen {
	ctx, cancel := context.WithCancel(ctx)
	calls := make(chan seen)
	ended := make(chan error, 1)
	go func() {
		ended <- source.Watch(ctx, func(s *bucketmap.Snapshot, err error) {
			select {
			case calls <- seen{s, err}:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v, want the context's error", err)
		}
	})
	return calls
}

// awaitVersion reads calls up to that of a version.
func awaitVersion(t *testing.T, ctx context.Context, calls <-chan seen, version bucketmap.Version) *bucketmap.Snapshot {
	t.Helper()
	for {
		select {
		case c := <-calls:
			must(t, c.err)
			if c.snapshot.Version() == version {
				return c.snapshot
			}
			if c.snapshot.Version() > version {
				t.Fatalf("version %d, want %d", c.snapshot.Version(), version)
			}
		case <-ctx.Done():
			t.Fatalf("version %d was never seen", version)
		}
	}
}

func watch(t *testing.T, ctx context.Context, p place) {
	current := publish(t, ctx, p.one, First(t), "first")
	calls := []<-chan seen{watching(t, ctx, p.one), watching(t, ctx, p.two)}
	for _, c := range calls {
		wantMap(t, awaitVersion(t, ctx, c, 1), nil, current) // at once
	}
	for v := bucketmap.Version(2); v <= 5; v++ {
		d := current.Edit()
		d.Whitelist[fmt.Sprintf("emp-%d", v)] = "cloud"
		current = publish(t, ctx, p.one, snapshot(t, d), "more")
		for _, c := range calls {
			wantMap(t, awaitVersion(t, ctx, c, v), nil, current)
		}
	}
}

func watchFirst(t *testing.T, ctx context.Context, p place) {
	calls := watching(t, ctx, p.two)
	select {
	case c := <-calls:
		if c.snapshot != nil {
			t.Fatal("a map where there is none")
		}
		wantError(t, c.err, bucketmap.ErrNoMap)
	case <-ctx.Done():
		t.Fatal("no call at once")
	}
	first := publish(t, ctx, p.one, First(t), "first")
	wantMap(t, awaitVersion(t, ctx, calls, 1), nil, first)
}

func watchOrder(t *testing.T, ctx context.Context, p place) {
	const last = 30
	current := publish(t, ctx, p.one, First(t), "first")
	calls := watching(t, ctx, p.two)
	published := make(chan error, 1)
	go func() {
		for current.Version() < last {
			next, err := bucketmap.Update(ctx, p.one, bucketmap.Change{}, func(d *bucketmap.Draft) error {
				d.Whitelist["emp-1"] = []bucketmap.Datacenter{"cloud", "legacy"}[d.Version%2]
				return nil
			})
			if err != nil {
				published <- err
				return
			}
			current = next
		}
		published <- nil
	}()
	for version := bucketmap.Version(0); version != last; {
		select {
		case c := <-calls:
			must(t, c.err)
			if c.snapshot.Version() <= version {
				t.Fatalf("version %d after %d", c.snapshot.Version(), version)
			}
			version = c.snapshot.Version()
		case <-ctx.Done():
			t.Fatalf("the last version was never seen, %d was", version)
		}
	}
	must(t, <-published)
}

func watchEnds(t *testing.T, ctx context.Context, p place) {
	publish(t, ctx, p.one, First(t), "first")
	watched, cancel := context.WithCancel(ctx)
	err := p.one.Watch(watched, func(*bucketmap.Snapshot, error) { cancel() })
	wantError(t, err, context.Canceled)
}

func acks(t *testing.T, ctx context.Context, p place) {
	got, err := p.one.Acks(ctx)
	must(t, err)
	if len(got) != 0 {
		t.Fatalf("acknowledgements %v of nobody", got)
	}
	since := time.Now().Truncate(time.Millisecond)
	want := []bucketmap.Ack{
		{Proxy: "p-1", Version: 7, Digest: First(t).Digest(), Since: since},
		{Proxy: "p1", Version: 6, Since: since, Refused: 8, Reason: "another \"bucket\" count\n"},
		{Proxy: "p1.b_c", Version: 0},
	}
	for _, i := range []int{2, 0, 1} {
		must(t, p.two.Ack(ctx, want[i]))
	}
	wantAcks(t, ctx, p.one, want)
	wantAcks(t, ctx, p.two, want)
	want[0].Version, want[1].Refused, want[1].Reason = 8, 0, ""
	must(t, p.two.Ack(ctx, want[0]))
	must(t, p.two.Ack(ctx, want[1]))
	wantAcks(t, ctx, p.one, want)
	for _, id := range []string{"", "a/b", "..", "a b", "é", strings.Repeat("x", bucketmap.NameMax+1)} {
		if err := p.two.Ack(ctx, bucketmap.Ack{Proxy: id, Version: 1}); err == nil {
			t.Errorf("proxy id %q was accepted", id)
		}
	}
	wantAcks(t, ctx, p.one, want)
}

// wantAcks waits until the acknowledgements are these: a store may need a
// moment to spread them.
func wantAcks(t *testing.T, ctx context.Context, fleet bucketmap.Fleet, want []bucketmap.Ack) {
	t.Helper()
	var last []bucketmap.Ack
	watched, cancel := context.WithTimeout(ctx, waitMax/2)
	defer cancel()
	err := fleet.WatchAcks(watched, func(got []bucketmap.Ack) bool {
		last = got
		return !slices.EqualFunc(got, want, sameAck)
	})
	if err != nil {
		t.Fatalf("%v; acknowledgements %+v, want %+v", err, last, want)
	}
	got, err := fleet.Acks(ctx)
	must(t, err)
	if !slices.EqualFunc(got, want, sameAck) {
		t.Fatalf("Acks gives %+v, want %+v", got, want)
	}
}

func sameAck(a, b bucketmap.Ack) bool {
	same := a.Since.Equal(b.Since)
	a.Since, b.Since = time.Time{}, time.Time{}
	return same && a == b
}

func watchAcks(t *testing.T, ctx context.Context, p place) {
	calls := make(chan []bucketmap.Ack)
	ended := make(chan error, 1)
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		ended <- p.one.WatchAcks(watched, func(acks []bucketmap.Ack) bool {
			select {
			case calls <- acks:
				return true
			case <-watched.Done():
				return false
			}
		})
	}()
	await := func(version bucketmap.Version, proxies int) {
		t.Helper()
		for {
			select {
			case acks := <-calls:
				reached := len(acks) == proxies
				for _, a := range acks {
					reached = reached && a.Version == version
				}
				if reached {
					return
				}
			case err := <-ended:
				t.Fatalf("WatchAcks ended: %v", err)
			case <-ctx.Done():
				t.Fatalf("version %d of %d proxies was never seen", version, proxies)
			}
		}
	}
	await(0, 0) // at once
	for version := bucketmap.Version(1); version <= 5; version++ {
		for _, proxy := range []string{"p1", "p2"} {
			must(t, p.two.Ack(ctx, bucketmap.Ack{Proxy: proxy, Version: version, Since: time.Now()}))
		}
		await(version, 2)
	}
	cancel()
	if err := <-ended; err != nil {
		wantError(t, err, context.Canceled)
	}
}

func watchAcksEnds(t *testing.T, ctx context.Context, p place) {
	must(t, p.one.WatchAcks(ctx, func([]bucketmap.Ack) bool { return false }))
	watched, cancel := context.WithCancel(ctx)
	err := p.one.WatchAcks(watched, func([]bucketmap.Ack) bool { cancel(); return true })
	wantError(t, err, context.Canceled)
}

func endedContext(t *testing.T, ctx context.Context, p place) {
	first := publish(t, ctx, p.one, First(t), "first")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err := p.one.Load(ended)
	wantError(t, err, context.Canceled)
	_, err = p.one.At(ended, 1)
	wantError(t, err, context.Canceled)
	_, err = p.one.History(ended)
	wantError(t, err, context.Canceled)
	_, err = p.one.Acks(ended)
	wantError(t, err, context.Canceled)
	wantError(t, p.one.Publish(ended, rich(t, first), bucketmap.Change{}), context.Canceled)
	wantError(t, p.one.Ack(ended, bucketmap.Ack{Proxy: "p1", Version: 1}), context.Canceled)
	wantError(t, p.one.Watch(ended, func(*bucketmap.Snapshot, error) {}), context.Canceled)
	wantError(t, p.one.WatchAcks(ended, func([]bucketmap.Ack) bool { return true }), context.Canceled)
	got, err := p.two.Load(ctx)
	wantMap(t, got, err, first)
}
