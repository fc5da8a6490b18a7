package tracer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"drover/bucketmap"
	"drover/internal/pause"
)

// seen is one version, and since when it is published.
type seen struct {
	version bucketmap.Version
	digest  bucketmap.Digest // zero: not known
	at      time.Time
}

// view is the published map as this process knows it.
type view struct {
	source   Map
	prefix   string
	perShard int
	fresh    bool          // nobody has written on this run's date before
	keep     time.Duration // for how long a place that is over matters

	refreshing chan struct{} // has one token: who reads the map because of an answer
	refreshed  time.Time     // when that began last; needs the token

	mu struct {
		sync.Mutex
		snap     *bucketmap.Snapshot
		versions []seen // ascending
		users    []*user
		counts   map[string]*count // of every id that was a tracer in this run
		short    []bucketmap.ShardName
		read     time.Time // when the newest map was last known to be the newest
		failed   error     // why the newest cannot be read
	}
}

func newView(o *Options) *view {
	v := &view{source: o.Map, prefix: o.Prefix + "-", perShard: o.PerShard, fresh: o.Write.dated() && o.Read.dated(), keep: o.Timeout + o.Grace, refreshing: make(chan struct{}, 1)}
	v.refreshing <- struct{}{}
	return v
}

// start reads the map in force, and when it and those before were published.
func (v *view) start(ctx context.Context) error {
	snap, err := v.source.Load(ctx)
	if err != nil {
		return err
	}
	history, err := v.source.History(ctx)
	if err != nil {
		return fmt.Errorf("read the map's history: %w", err)
	}
	now := time.Now()
	v.mu.Lock()
	for _, r := range history[:min(len(history), versionsMax)] {
		at := r.When
		if at.After(now) { // the publisher's clock is ahead
			at = now
		}
		if r.Version <= snap.Version() {
			v.mu.versions = append(v.mu.versions, seen{r.Version, r.Digest, at})
		}
	}
	slices.Reverse(v.mu.versions)
	v.mu.Unlock()
	v.changed(snap, nil)
	return nil
}

// changed takes what a store tells. One that is older than what is known says
// nothing.
func (v *view) changed(snap *bucketmap.Snapshot, err error) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.failed = err
	if err != nil {
		return
	}
	if v.mu.snap != nil && snap.Version() < v.mu.snap.Version() {
		return
	}
	v.mu.read = now
	if v.mu.snap != nil && snap.Version() == v.mu.snap.Version() {
		return
	}
	v.mu.snap = snap
	if n := len(v.mu.versions); n == 0 || v.mu.versions[n-1].version < snap.Version() {
		v.mu.versions = append(v.mu.versions, seen{snap.Version(), snap.Digest(), now})
		v.mu.versions = v.mu.versions[max(0, len(v.mu.versions)-versionsMax):]
	}
	for _, u := range v.mu.users {
		v.follow(u, now)
	}
	v.mu.users, v.mu.short = choose(snap, v.mu.users, v.prefix, v.perShard, now)
	v.keepCounts()
}

// keepCounts gives an id that is a tracer again the count that it had. The view's
// lock is held.
func (v *view) keepCounts() {
	if len(v.mu.counts) > countsMax {
		v.mu.counts = nil
		v.fresh = false // for who may have been forgotten
	}
	if v.mu.counts == nil {
		v.mu.counts = map[string]*count{}
	}
	for _, u := range v.mu.users {
		switch c := v.mu.counts[u.id]; {
		case c == nil:
			v.mu.counts[u.id] = u.count
			u.count.begins(v.fresh)
		case c != u.count:
			u.count = c
		}
	}
}

// follow notes where a tracer is by a new map. The view's lock is held.
func (v *view) follow(u *user, now time.Time) {
	snap := v.mu.snap
	next, last := placeOf(snap, u.id, now), u.places[len(u.places)-1]
	if next.Datacenter != last.Datacenter || next.Shard != last.Shard {
		for len(u.places) > 1 && now.Sub(u.places[1].From) > v.keep { // the first was over then
			u.places = u.places[1:]
		}
		u.places = append(u.places[max(0, len(u.places)-placesMax+1):], next)
	}
	hold, held := snap.HoldOf(u.bucket)
	switch {
	case held && (u.held.from.IsZero() || !u.held.to.IsZero()):
		u.held = span{from: now, lasting: max(0, hold.Until.Sub(now))}
	case held:
		u.held.lasting = max(u.held.lasting, hold.Until.Sub(u.held.from))
	case !u.held.from.IsZero() && u.held.to.IsZero():
		u.held.to = now
	}
}

// list returns the tracers.
func (v *view) list() []*user {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.users // choose makes a new list for every map
}

// population is how many tracers each datacenter has; every one of the map's is
// in it.
func (v *view) population() map[bucketmap.Datacenter]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := map[bucketmap.Datacenter]int{}
	for _, dc := range v.mu.snap.Datacenters() {
		n[dc] = 0
	}
	for _, u := range v.mu.users {
		n[u.places[len(u.places)-1].Datacenter]++
	}
	return n
}

// newest is the version in force.
func (v *view) newest() bucketmap.Version {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.snap.Version()
}

// behind says since when a version newer than this is published; false when
// there is none.
func (v *view) behind(version bucketmap.Version) (time.Time, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i, _ := slices.BinarySearchFunc(v.mu.versions, version+1, func(s seen, want bucketmap.Version) int {
		return int(int64(s.version) - int64(want))
	})
	if i == len(v.mu.versions) {
		return time.Time{}, false
	}
	return v.mu.versions[i].at, true
}

// differs says whether a map with this version and digest is another than the one
// that was published.
func (v *view) differs(version bucketmap.Version, digest bucketmap.Digest) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.mu.versions {
		if s.version == version {
			return s.digest != bucketmap.Digest{} && digest != bucketmap.Digest{} && s.digest != digest
		}
	}
	return false
}

// expected is what a tracer's answer is compared with.
type expected struct {
	now     place   // by the newest map
	places  []place // all that were in force at some moment since from
	changed bool    // more than one was, or it was held
	hold    time.Duration
}

// expect returns where a tracer may have landed by the maps in force since from.
func (v *view) expect(u *user, from time.Time) expected {
	v.mu.Lock()
	defer v.mu.Unlock()
	last := len(u.places) - 1
	e := expected{now: u.places[last]}
	e.now.Version = v.mu.snap.Version()
	first := last
	for first > 0 && u.places[first].From.After(from) {
		first--
	}
	e.places = slices.Clone(u.places[first:])
	e.changed = len(e.places) > 1
	if !u.held.from.IsZero() && (u.held.to.IsZero() || u.held.to.After(from)) {
		e.changed, e.hold = true, u.held.lasting
	}
	return e
}

// refresh reads the newest map, not before the answer that made it necessary:
// once in refreshEvery, one at a time.
func (v *view) refresh(ctx context.Context, answered time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, refreshMax)
	defer cancel()
	select {
	case <-v.refreshing:
		defer func() { v.refreshing <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("the newest map was not read in time: %w", context.Cause(ctx))
	}
	if v.refreshed.After(answered) { // by somebody who waited before
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.mu.failed
	}
	if pause.For(ctx, refreshEvery-time.Since(v.refreshed)) != nil {
		return fmt.Errorf("the newest map was not read in time: %w", context.Cause(ctx))
	}
	v.refreshed = time.Now()
	snap, err := v.source.Load(ctx)
	v.changed(snap, err)
	return err
}
