package cohort

import (
	"maps"
	"slices"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/passport"
)

const buckets = 64

// rig is a set with a clock, and the map in force.
type rig struct {
	t    testing.TB
	set  *Set
	at   time.Duration // since the program began
	wall time.Time
	now  *bucketmap.Snapshot
	list *bucketmap.Whitelist
}

func newRig(t testing.TB, window time.Duration) *rig {
	r := &rig{t: t, wall: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	r.set = r.another(window)
	d := bucketmap.NewDraft(buckets)
	d.Version, d.Default = 1, bucketmap.Default{Datacenter: "legacy"}
	for name, dc := range map[bucketmap.ShardName]bucketmap.Datacenter{"a": "legacy", "b": "legacy", "c": "cloud"} {
		if err := d.PutShard(bucketmap.Shard{Name: name, Datacenter: dc}); err != nil {
			t.Fatal(err)
		}
	}
	r.home(d, 0, 31, "a")
	r.home(d, 32, 62, "b") // 63 has none
	r.now = r.snapshot(d)
	r.set.Change(nil, r.now, nil)
	return r
}

// another is a set with the same clocks: another process's.
func (r *rig) another(window time.Duration) *Set {
	return New(Options{Window: window, Now: func() passport.Instant { return passport.Instant(r.at) }, Wall: func() time.Time { return r.wall }})
}

func (r *rig) home(d *bucketmap.Draft, first, last bucketmap.BucketID, shard bucketmap.ShardName) {
	r.t.Helper()
	if err := d.SetHome(first, last, shard); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) snapshot(d *bucketmap.Draft) *bucketmap.Snapshot {
	r.t.Helper()
	s, err := d.Snapshot()
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) pass(d time.Duration) {
	r.at += d
	r.wall = r.wall.Add(d)
}

// publish puts a changed map in force.
func (r *rig) publish(edit func(*bucketmap.Draft)) {
	r.t.Helper()
	d := r.now.Edit()
	edit(d)
	r.swap(r.snapshot(d))
}

func (r *rig) swap(next *bucketmap.Snapshot) {
	r.set.Change(r.now, next, r.list)
	r.now = next
}

func (r *rig) file(users map[string]bucketmap.Datacenter) {
	r.t.Helper()
	list, err := bucketmap.NewWhitelist(maps.All(users))
	if err != nil {
		r.t.Fatal(err)
	}
	r.set.List(r.now, r.set.Compare(r.list, list))
	r.list = list
}

func (r *rig) ofBucket(b bucketmap.BucketID) passport.Cohort {
	return r.set.Of(r.now, r.now.WithUsers(r.list).DecideBucket(b), nil, passport.Instant(r.at))
}

func (r *rig) ofUser(user string) passport.Cohort {
	return r.set.Of(r.now, r.now.WithUsers(r.list).Decide([]byte(user)), []byte(user), passport.Instant(r.at))
}

// wantMoved compares the buckets that are moved.
func (r *rig) wantMoved(want ...bucketmap.BucketID) {
	r.t.Helper()
	var got []bucketmap.BucketID
	for b := range bucketmap.BucketID(buckets) {
		if r.ofBucket(b) == passport.CohortMoved {
			got = append(got, b)
		}
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("moved: %v, want %v", got, want)
	}
}

func (r *rig) wantUser(user string, want passport.Cohort) {
	r.t.Helper()
	if got := r.ofUser(user); got != want {
		r.t.Errorf("%s %s, want %s", user, got, want)
	}
}
