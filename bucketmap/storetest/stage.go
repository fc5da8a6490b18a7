package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"drover/bucketmap"
)

// runStaged is for stores that are a bucketmap.Stager. Of others it asks nothing;
// a store says in its own code that it is one.
func runStaged(t *testing.T, newPlace func(t *testing.T) place) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, context.Context, stagers)
	}{
		{"WhatIsStagedIsInForceOnceCommitted", stageAndCommit},
		{"TheFirstMapCanBeStaged", stageFirst},
		{"NobodySeesWhatIsStaged", stageUnseen},
		{"AnotherVersionInBetweenIsAConflict", stageConflict},
		{"WhatIsDiscardedIsInNobodysWay", stageDiscard},
		{"AStagingWhosePublisherDiedIsInNobodysWay", stageDeath},
		{"TwoStagingsOfOneVersionDoNotHarmEachOther", stageTwice},
		{"TheSameMapStagedTwiceIsTheOneThatWasCommitted", stageSameTwice},
		{"OneStagerOfOneVersionWins", stageOneWinner},
		{"OnlyWhatMayBePublishedIsStaged", stageRefused},
		{"AContextThatEndedCommitsNothing", stageEnded},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), waitMax)
			defer cancel()
			if p, ok := stagersOf(newPlace(t)); ok {
				test.run(t, ctx, p)
			}
		})
	}
}

// stagers are the two stores of a place.
type stagers struct {
	place
	first, second bucketmap.Stager
}

func stagersOf(p place) (stagers, bool) {
	one, ok := p.one.(bucketmap.Stager)
	if !ok {
		return stagers{}, false
	}
	two, ok := p.two.(bucketmap.Stager)
	return stagers{p, one, two}, ok
}

func stage(t testing.TB, ctx context.Context, store bucketmap.Stager, next *bucketmap.Snapshot, why string) bucketmap.Staged {
	t.Helper()
	staged, err := store.Stage(ctx, next, bucketmap.Change{Who: "stager", Why: why})
	must(t, err)
	return staged
}

// with returns the next version, with one user more on the whitelist.
func with(t testing.TB, from *bucketmap.Snapshot, user string) *bucketmap.Snapshot {
	t.Helper()
	d := from.Edit()
	d.Whitelist[user] = "cloud"
	return snapshot(t, d)
}

// wantHistory checks what the records of all versions say, the oldest first, and
// that each version is the map given.
func wantHistory(t *testing.T, ctx context.Context, p stagers, maps []*bucketmap.Snapshot, whys ...string) {
	t.Helper()
	for _, store := range []bucketmap.Store{p.one, p.two} {
		records, err := store.History(ctx)
		must(t, err)
		slices.Reverse(records)
		if len(records) != len(whys) {
			t.Fatalf("history %+v, want %v", records, whys)
		}
		for i, r := range records {
			who := "stager"
			if r.Why == "published" {
				who = "storetest"
			}
			if r.Version != maps[i].Version() || r.Why != whys[i] || r.Who != who || r.When.IsZero() {
				t.Errorf("record %+v, want %s by %s", r, whys[i], who)
			}
			got, err := store.At(ctx, r.Version)
			wantMap(t, got, err, maps[i])
		}
		got, err := store.Load(ctx)
		wantMap(t, got, err, maps[len(maps)-1])
	}
}

func stageAndCommit(t *testing.T, ctx context.Context, p stagers) {
	maps := []*bucketmap.Snapshot{publish(t, ctx, p.one, First(t), "published")}
	whys := []string{"published"}
	calls := watching(t, ctx, p.two)
	awaitVersion(t, ctx, calls, 1)
	for i := range 4 {
		store := []bucketmap.Stager{p.first, p.second}[i/2]
		next := rich(t, maps[i])
		if i != 0 {
			next = with(t, maps[i], fmt.Sprintf("emp-%d", 10+i))
		}
		staged := stage(t, ctx, store, next, fmt.Sprint("staged ", i))
		wantHistory(t, ctx, p, maps, whys...)
		_, err := p.one.At(ctx, next.Version())
		wantError(t, err, bucketmap.ErrNoMap)
		must(t, staged.Commit(ctx))
		maps, whys = append(maps, next), append(whys, fmt.Sprint("staged ", i))
		wantHistory(t, ctx, p, maps, whys...)
		wantMap(t, awaitVersion(t, ctx, calls, next.Version()), nil, next)
		wantError(t, staged.Commit(ctx), bucketmap.ErrConflict)
		must(t, staged.Discard(ctx))
	}
	maps = append(maps, publish(t, ctx, p.two, with(t, maps[4], "emp-20"), "published"))
	wantHistory(t, ctx, p, maps, append(whys, "published")...)
}

func stageFirst(t *testing.T, ctx context.Context, p stagers) {
	first := First(t)
	staged := stage(t, ctx, p.first, first, "staged")
	_, err := p.two.Load(ctx)
	wantError(t, err, bucketmap.ErrNoMap)
	must(t, staged.Commit(ctx))
	wantHistory(t, ctx, p, []*bucketmap.Snapshot{first}, "staged")
	wantError(t, p.one.Publish(ctx, first, bucketmap.Change{}), bucketmap.ErrConflict)
}

// What a watcher sees of versions that were staged and never committed would come
// before the versions that were published upon the same map.
func stageUnseen(t *testing.T, ctx context.Context, p stagers) {
	now := publish(t, ctx, p.one, First(t), "published")
	calls := []<-chan seen{watching(t, ctx, p.one), watching(t, ctx, p.two)}
	for _, c := range calls {
		awaitVersion(t, ctx, c, 1)
	}
	for v := bucketmap.Version(2); v <= 5; v++ {
		staged := stage(t, ctx, p.second, with(t, now, "never"), "staged")
		now = publish(t, ctx, p.one, with(t, now, fmt.Sprintf("emp-%d", v)), "published")
		for _, c := range calls {
			wantMap(t, awaitVersion(t, ctx, c, v), nil, now)
		}
		wantError(t, staged.Commit(ctx), bucketmap.ErrConflict)
	}
	now = publish(t, ctx, p.one, with(t, now, "emp-6"), "published")
	for _, c := range calls {
		wantMap(t, awaitVersion(t, ctx, c, 6), nil, now)
	}
}

func stageConflict(t *testing.T, ctx context.Context, p stagers) {
	first := publish(t, ctx, p.one, First(t), "published")
	second := with(t, first, "emp-2")
	same, another := stage(t, ctx, p.first, second, "staged"), stage(t, ctx, p.first, with(t, first, "never"), "staged")
	publish(t, ctx, p.two, second, "published")
	wantError(t, another.Commit(ctx), bucketmap.ErrConflict)
	maps := []*bucketmap.Snapshot{first, second}
	wantHistory(t, ctx, p, maps, "published", "published")
	maps = append(maps, publish(t, ctx, p.one, with(t, second, "emp-3"), "published"))
	wantError(t, same.Commit(ctx), bucketmap.ErrConflict) // though version 2 is just what it is
	wantHistory(t, ctx, p, maps, "published", "published", "published")
}

func stageDiscard(t *testing.T, ctx context.Context, p stagers) {
	first := publish(t, ctx, p.one, First(t), "published")
	staged := stage(t, ctx, p.first, with(t, first, "never"), "staged")
	for range 2 {
		must(t, staged.Discard(ctx))
	}
	wantError(t, staged.Commit(ctx), bucketmap.ErrConflict)
	wantHistory(t, ctx, p, []*bucketmap.Snapshot{first}, "published")
	second := publish(t, ctx, p.one, with(t, first, "emp-2"), "published")
	wantHistory(t, ctx, p, []*bucketmap.Snapshot{first, second}, "published", "published")
}

func stageDeath(t *testing.T, ctx context.Context, p stagers) {
	maps := []*bucketmap.Snapshot{publish(t, ctx, p.one, First(t), "published")}
	whys := []string{"published"}
	for i := range 3 {
		for range 3 {
			stage(t, ctx, p.first, with(t, maps[i], "never"), "staged") // and nothing ever again
		}
		maps, whys = append(maps, publish(t, ctx, p.two, with(t, maps[i], fmt.Sprint(i)), "published")), append(whys, "published")
		wantHistory(t, ctx, p, maps, whys...)
	}
}

func stageTwice(t *testing.T, ctx context.Context, p stagers) {
	now := publish(t, ctx, p.one, First(t), "published")
	maps, whys := []*bucketmap.Snapshot{now}, []string{"published"}
	for i, firstWins := range []bool{true, false} {
		one, two := with(t, now, fmt.Sprint("one-", i)), with(t, now, fmt.Sprint("two-", i))
		a, b := stage(t, ctx, p.first, one, "one"), stage(t, ctx, p.second, two, "two")
		if now = one; !firstWins {
			a, b, now = b, a, two
		}
		must(t, a.Commit(ctx))
		wantError(t, b.Commit(ctx), bucketmap.ErrConflict)
		maps, whys = append(maps, now), append(whys, map[bool]string{true: "one", false: "two"}[firstWins])
		wantHistory(t, ctx, p, maps, whys...)
	}
}

func stageSameTwice(t *testing.T, ctx context.Context, p stagers) {
	first := publish(t, ctx, p.one, First(t), "published")
	second := with(t, first, "emp-2")
	one, two := stage(t, ctx, p.first, second, "one"), stage(t, ctx, p.second, second, "two")
	three := stage(t, ctx, p.first, second, "three")
	must(t, one.Discard(ctx))
	must(t, two.Commit(ctx))
	wantError(t, three.Commit(ctx), bucketmap.ErrConflict)
	wantHistory(t, ctx, p, []*bucketmap.Snapshot{first, second}, "published", "two")
	third := publish(t, ctx, p.one, with(t, second, "emp-3"), "published")
	wantHistory(t, ctx, p, []*bucketmap.Snapshot{first, second, third}, "published", "two", "published")
}

func stageOneWinner(t *testing.T, ctx context.Context, p stagers) {
	first := publish(t, ctx, p.one, First(t), "published")
	var group sync.WaitGroup
	errs, maps := make([]error, publishers), make([]*bucketmap.Snapshot, publishers)
	for i := range publishers {
		maps[i] = with(t, first, fmt.Sprintf("publisher-%d", i))
		group.Go(func() {
			change := bucketmap.Change{Who: "stager", Why: fmt.Sprint(i)}
			if i%4 == 3 { // some at once
				errs[i] = p.one.Publish(ctx, maps[i], change)
				return
			}
			staged, err := []bucketmap.Stager{p.first, p.second}[i%2].Stage(ctx, maps[i], change)
			if errs[i] = err; err == nil {
				errs[i] = staged.Commit(ctx)
			}
		})
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
	wantHistory(t, ctx, p, []*bucketmap.Snapshot{first, maps[winner]}, "published", fmt.Sprint(winner))
}

func stageRefused(t *testing.T, ctx context.Context, p stagers) {
	refused := func(next *bucketmap.Snapshot, want error) {
		t.Helper()
		if staged, err := p.first.Stage(ctx, next, bucketmap.Change{}); !errors.Is(err, want) || staged != nil {
			t.Errorf("staging version %d: %v, %v, want %v", next.Version(), staged, err, want)
		}
	}
	first := First(t)
	refused(with(t, first, "emp-2"), bucketmap.ErrConflict) // version 2 without a version 1
	publish(t, ctx, p.one, first, "published")
	for _, version := range []bucketmap.Version{1, 3, bucketmap.VersionMax} {
		d := first.Edit()
		d.Version = version
		refused(snapshot(t, d), bucketmap.ErrConflict)
	}
	d := bucketmap.NewDraft(128)
	d.Version = 2
	must(t, d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	d.Default.Datacenter = "legacy"
	refused(snapshot(t, d), bucketmap.ErrRefused)
	wantHistory(t, ctx, p, []*bucketmap.Snapshot{first}, "published")
}

func stageEnded(t *testing.T, ctx context.Context, p stagers) {
	first := publish(t, ctx, p.one, First(t), "published")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	second := with(t, first, "emp-2")
	_, err := p.first.Stage(ended, second, bucketmap.Change{})
	wantError(t, err, context.Canceled)
	staged := stage(t, ctx, p.first, second, "staged")
	wantError(t, staged.Commit(ended), context.Canceled)
	wantHistory(t, ctx, p, []*bucketmap.Snapshot{first}, "published")
	wantError(t, staged.Commit(ctx), bucketmap.ErrConflict) // it has ended
	publish(t, ctx, p.two, second, "published")
	wantHistory(t, ctx, p, []*bucketmap.Snapshot{first, second}, "published", "published")
}
