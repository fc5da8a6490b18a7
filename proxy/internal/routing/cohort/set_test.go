package cohort

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/passport"
)

func TestABucketIsMovedFromTheMapThatMovesItUntilTheWindowHasPassed(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{time.Minute, time.Hour, WindowMax} {
		r := newRig(t, window)
		r.wantMoved()
		r.pass(time.Second)
		r.publish(func(d *bucketmap.Draft) { r.home(d, 3, 4, "c") })
		r.wantMoved(3, 4)
		r.pass(window / 2)
		r.publish(func(d *bucketmap.Draft) { r.home(d, 4, 5, "b") }) // within its datacenter, too
		r.pass(window/2 - tick)
		r.wantMoved(3, 4, 5)
		r.pass(tick)
		r.wantMoved(4, 5)
		r.pass(window / 2)
		r.wantMoved()
		r.publish(func(d *bucketmap.Draft) { d.Default.Datacenter = "cloud" }) // nobody's home
		r.wantMoved()
	}
}

func TestARequestThatBeganBeforeItsBucketMovedIsMovedToo(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	began := passport.Instant(r.at)
	r.pass(time.Hour)
	r.publish(func(d *bucketmap.Draft) { r.home(d, 3, 3, "c") })
	if got := r.set.Of(r.now, r.now.DecideBucket(3), nil, began); got != passport.CohortMoved {
		t.Error(got)
	}
}

func TestOnlyARequestThatItsUserDecidedHasACohort(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	for _, user := range [][]byte{nil, make([]byte, bucketmap.UserIDMax+1)} {
		if got := r.set.Of(r.now, r.now.Decide(user), user, 0); got != passport.CohortNone {
			t.Errorf("%d bytes: %s", len(user), got)
		}
	}
	for b, want := range map[bucketmap.BucketID]passport.Cohort{0: passport.CohortStayed, 63: passport.CohortNone, 64: passport.CohortNone} {
		if got := r.ofBucket(b); got != want {
			t.Errorf("bucket %d: %s, want %s", b, got, want)
		}
	}
	var none *Set
	if got := none.Of(r.now, r.now.DecideBucket(0), nil, 0); got != passport.CohortNone {
		t.Errorf("with no set: %s", got)
	}
}

func TestAllBucketsOfAPromotedShardAreMovedAtOnceAndAfterSettling(t *testing.T) {
	t.Parallel()
	for _, promoted := range []bucketmap.Shard{{Name: "b", Datacenter: "cloud", Epoch: 2}, {Name: "b", Datacenter: "legacy", Epoch: 2}} {
		r := newRig(t, time.Minute)
		r.publish(func(d *bucketmap.Draft) {
			if err := d.PutShard(promoted); err != nil {
				t.Error(err)
			}
		})
		var all []bucketmap.BucketID
		for b := range bucketmap.BucketID(31) {
			all = append(all, 32+b)
		}
		r.wantMoved(all...)
		r.pass(time.Second)
		r.set.Settle(r.now)
		r.wantMoved(all...)
		// Settling is no later move, and what comes to the shard later is not of it.
		r.publish(func(d *bucketmap.Draft) { r.home(d, 1, 1, "b") })
		r.pass(59 * time.Second)
		r.wantMoved(1)
	}
}

func TestABucketThatWentThereAndBackUnseenIsMoved(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	r.publish(func(d *bucketmap.Draft) { d.Epochs[9] = 3 })
	r.wantMoved(9)
}

func TestAShardMoreOrLessMovesNobodyElse(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	r.publish(func(d *bucketmap.Draft) {
		for _, name := range []bucketmap.ShardName{"0", "bb"} { // others are numbered anew
			if err := d.PutShard(bucketmap.Shard{Name: name, Datacenter: "cloud"}); err != nil {
				t.Error(err)
			}
		}
		r.home(d, 40, 40, "0")
		r.home(d, 63, 63, "bb") // the first home it has
	})
	r.wantMoved(40, 63)
}

func TestWhoComesToTheWhitelistLeavesItOrIsSentElsewhereByItIsMoved(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	moved, stayed := passport.CohortMoved, passport.CohortStayed
	r.publish(func(d *bucketmap.Draft) { d.Whitelist["ann"], d.Whitelist["bob"] = "cloud", "legacy" })
	r.wantUser("ann", moved)
	r.wantUser("bob", moved)
	r.wantUser("eve", stayed)
	r.wantMoved() // buckets are not
	r.pass(time.Minute)
	r.wantUser("ann", stayed)
	r.publish(func(d *bucketmap.Draft) { delete(d.Whitelist, "ann"); d.Whitelist["bob"] = "cloud" })
	r.wantUser("ann", moved)
	r.wantUser("bob", moved)
	r.pass(time.Minute)
	r.publish(func(d *bucketmap.Draft) { r.home(d, 0, 62, "c") }) // a listed user's bucket, too
	r.wantUser("bob", moved)
}

func TestAWhitelistFileCountsLikeTheMapAndTheMapsEntryWins(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	moved, stayed := passport.CohortMoved, passport.CohortStayed
	r.publish(func(d *bucketmap.Draft) { d.Whitelist["map"] = "cloud" })
	r.pass(time.Minute)
	r.file(map[string]bucketmap.Datacenter{"ann": "cloud", "bob": "cloud", "map": "legacy"})
	r.wantUser("ann", moved)
	r.wantUser("map", stayed)
	r.pass(time.Minute)
	r.file(map[string]bucketmap.Datacenter{"bob": "legacy", "map": "legacy"})
	r.wantUser("ann", moved)
	r.wantUser("bob", moved)
	r.pass(time.Minute)
	r.publish(func(d *bucketmap.Draft) { d.Whitelist["bob"] = "legacy"; delete(d.Whitelist, "map") })
	r.wantUser("bob", stayed) // as the file has it
	r.wantUser("map", moved)
	r.pass(time.Minute)
	r.publish(func(d *bucketmap.Draft) { delete(d.Whitelist, "bob"); d.Whitelist["map"] = "legacy" })
	r.wantUser("bob", stayed)
	r.wantUser("map", stayed)
	if got := r.set.Known(); !got.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("known since %s", got)
	}
}

func TestMoreUsersThanAreFollowedMakeWhatIsKnownBeginAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	const followed, compared = 100, 200
	r.set.usersMax, r.set.listMax = followed, compared
	crowd := func(n int) map[string]bucketmap.Datacenter {
		users := map[string]bucketmap.Datacenter{}
		for i := range n {
			users[fmt.Sprint("user-", i)] = "cloud"
		}
		return users
	}
	r.pass(time.Hour)
	begun := r.set.Known()
	r.file(crowd(followed - 1))
	r.wantUser("user-7", passport.CohortMoved)
	if !r.set.Known().Equal(begun) {
		t.Errorf("known since %s", r.set.Known())
	}
	r.file(map[string]bucketmap.Datacenter{"ann": "cloud"})
	r.wantUser("user-7", passport.CohortMoved)
	r.publish(func(d *bucketmap.Draft) { d.Whitelist["bob"] = "cloud" })
	r.wantUser("bob", passport.CohortMoved)
	r.wantUser("user-7", passport.CohortStayed)
	if !r.set.Known().Equal(r.wall) {
		t.Errorf("known since %s, want %s", r.set.Known(), r.wall)
	}
	r.pass(time.Hour)
	r.file(crowd(followed + 10)) // more than all
	r.wantUser("user-105", passport.CohortStayed)
	r.wantUser("bob", passport.CohortStayed)
	if !r.set.Known().Equal(r.wall) {
		t.Errorf("known since %s, want %s", r.set.Known(), r.wall)
	}
	r.pass(time.Hour)
	r.file(crowd(compared + 1)) // too many to be compared
	if !r.set.Known().Equal(r.wall) {
		t.Errorf("known since %s, want %s", r.set.Known(), r.wall)
	}
}

// The set against one that remembers each bucket's home and its time.
func TestTheSetSaysWhatAModelSays(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	const window = 10 * time.Minute
	r := newRig(t, window)
	shards := []bucketmap.ShardName{"a", "b", "c"}
	moved := map[bucketmap.BucketID]time.Duration{}
	for step := range 300 {
		r.pass(time.Duration(random.IntN(60)) * time.Second)
		before := r.now
		r.publish(func(d *bucketmap.Draft) {
			first := bucketmap.BucketID(random.IntN(buckets))
			r.home(d, first, min(first+bucketmap.BucketID(random.IntN(4)), buckets-1), shards[random.IntN(3)])
			if random.IntN(10) == 0 {
				was, _ := before.Shard(shards[random.IntN(3)])
				was.Epoch++
				if err := d.PutShard(was); err != nil {
					t.Error(err)
				}
			}
		})
		for b := range bucketmap.BucketID(buckets) {
			was, _ := before.Home(b)
			if now, _ := r.now.Home(b); now != was {
				moved[b] = r.at
			}
		}
		if random.IntN(2) == 0 {
			r.set.Settle(r.now)
		}
		var want []bucketmap.BucketID
		for b, at := range moved {
			if r.at-at < window {
				want = append(want, b)
			}
		}
		slices.Sort(want)
		r.wantMoved(want...)
		r.set.Settle(r.now)
		if t.Failed() {
			t.Fatalf("seed %d, step %d", seed, step)
		}
	}
}

func TestAskingAllocatesNothing(t *testing.T) {
	r := newRig(t, time.Minute)
	user := []byte("ann")
	r.publish(func(d *bucketmap.Draft) { d.Whitelist["ann"] = "cloud"; r.home(d, 3, 3, "c") })
	r.publish(func(d *bucketmap.Draft) {
		if err := d.PutShard(bucketmap.Shard{Name: "b", Datacenter: "cloud", Epoch: 2}); err != nil {
			t.Error(err)
		}
	})
	n := testing.AllocsPerRun(100, func() {
		r.set.Of(r.now, r.now.Decide(user), user, passport.Instant(r.at))
		r.set.Of(r.now, r.now.DecideBucket(5), []byte("somebody"), passport.Instant(r.at))
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestManyMayAskWhileMapsComeAndOneKeepsThem(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	first := r.now
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for b := range bucketmap.BucketID(buckets) {
					r.set.Of(first, first.DecideBucket(b), []byte("ann"), 0)
				}
				r.set.Append(nil)
				r.set.Known()
			}
		})
	}
	for i := range 200 {
		r.publish(func(d *bucketmap.Draft) {
			r.home(d, bucketmap.BucketID(i%32), bucketmap.BucketID(i%32), "c")
			d.Whitelist[fmt.Sprint(i%7)] = []bucketmap.Datacenter{"legacy", "cloud"}[i%2]
			if err := d.PutShard(bucketmap.Shard{Name: "b", Datacenter: "cloud", Epoch: bucketmap.Epoch(i + 2)}); err != nil {
				t.Error(err)
			}
		})
		r.set.Settle(r.now)
	}
	close(stop)
	group.Wait()
}
