package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/tools/demo/internal/faults"
	"drover/tools/demo/internal/stage"
)

// foundMax is how long a fault may go unseen by tracers.
const foundMax = 10 * time.Second

// tracerPrefix begins the tracers' user ids.
const tracerPrefix = "tracer-"

// traced is a tracer's result, as much of it as matters here.
type traced struct {
	At       time.Time `json:"at"`
	Proxy    string    `json:"proxy"`
	User     string    `json:"user"`
	Kind     string    `json:"kind"`
	Outcome  string    `json:"outcome"`
	Why      string    `json:"why"`
	Expected struct {
		Datacenter bucketmap.Datacenter `json:"datacenter"`
	} `json:"expected"`
}

// tracing is a migrator trace --all --watch under way.
type tracing struct {
	feed    *faults.Feed[traced]
	process *stage.Program
}

func (w *tracing) end() { w.process.Stop() } // its exit code says that something was not right

// trace sends tracers through the edge, the stage's own and more, until end. It
// returns when each of them has been right.
func (t *trial) trace(ctx context.Context, more ...*stage.Edge) (*tracing, error) {
	if t.blinded != nil { // it would go on moving who is traced
		t.blinded.end()
	}
	if err := t.configure(t.options.minEvents, false, more...); err != nil {
		return nil, err
	}
	w := &tracing{feed: faults.NewFeed(func(line []byte) (r traced, ok bool) {
		return r, json.Unmarshal(line, &r) == nil && r.Outcome != ""
	})}
	var err error
	w.process, err = t.stage.Start("trace", w.feed, t.stage.MigratorCommand()[0], "trace", "--all", "--watch", "--output", "json", "--config", t.config)
	if err != nil {
		return nil, err
	}
	for _, id := range append([]string{t.edge.ID, "edge-1"}, ids(more)...) {
		if _, err := w.feed.Until(ctx, 0, "a tracer through "+id+" is right", func(r traced) bool { return r.Proxy == id && r.Outcome == "right" }); err != nil {
			w.end()
			return nil, err
		}
	}
	return w, nil
}

func ids(edges []*stage.Edge) (all []string) {
	for _, e := range edges {
		all = append(all, e.ID)
	}
	return all
}

// found waits for what the tracers say of a fault that began at a moment, and sees
// that they say nothing of other proxies.
func (w *tracing) found(ctx context.Context, row *faultRow, began time.Time, from int, is func(traced) bool) error {
	r, err := w.feed.Until(ctx, from, "the tracers find it", is)
	if err != nil {
		return err
	}
	row.hold, row.why = time.Since(began), fmt.Sprintf("%s through %s: %s", r.Outcome, r.Proxy, r.Why)
	if row.hold > foundMax {
		row.not("it took %v, more than %v", row.hold.Round(time.Millisecond), foundMax)
	}
	for _, other := range w.feed.Since(0) {
		if other.Outcome != "right" && other.Outcome != "late" && !is(other) && other.At.Before(began) {
			row.not("before it: %s of %s through %s: %s", other.Outcome, other.User, other.Proxy, other.Why)
			break
		}
	}
	return nil
}

// staleProxy starts a proxy whose store is cut off, and changes the map.
func (t *trial) staleProxy(ctx context.Context, row *faultRow) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, faultWaitMax, fmt.Errorf("not within %v", faultWaitMax))
	defer cancel()
	if err := os.CopyFS(filepath.Join(t.stage.Dir, "map-cut-off"), os.DirFS(filepath.Join(t.stage.Dir, "map"))); err != nil {
		return err
	}
	stale, err := t.stage.StartEdge(ctx, stage.EdgeOptions{ID: "edge-stale", Map: "map-cut-off", Target: t.stage.Applications[stage.Target], Cohort: cohortFor})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stale.Close()) }()
	w, err := t.trace(ctx, stale)
	if err != nil {
		return err
	}
	defer w.end()
	from := w.feed.Len()
	if _, err := t.migrator(ctx, "whitelist", "add", "--to", string(stage.Target), "somebody", "--why", "the map changes"); err != nil {
		return err
	}
	return w.found(ctx, row, time.Now(), from, func(r traced) bool { return r.Proxy == stale.ID && r.Outcome == "stale" })
}

// wrongDatacenter sends the tracers' requests to an application of the source,
// behind the edge's back.
func (t *trial) wrongDatacenter(ctx context.Context, row *faultRow) error {
	ctx, cancel := context.WithTimeoutCause(ctx, faultWaitMax, fmt.Errorf("not within %v", faultWaitMax))
	defer cancel()
	w, err := t.trace(ctx)
	if err != nil {
		return err
	}
	defer w.end()
	defer t.front.Heal()
	from := w.feed.Len()
	t.front.Inject(faults.Faults{Of: func(user string) bool { return strings.HasPrefix(user, tracerPrefix) }, To: t.stage.Applications[stage.Source][0]})
	return w.found(ctx, row, time.Now(), from, func(r traced) bool { return r.Proxy == t.edge.ID && r.Outcome == "wrong" })
}

// wrongEntry publishes, by hand, that a bucket lives where its data are not. Real
// users are silent meanwhile: the fence refuses every write of that bucket, and
// there is nothing to see but errors. Then it takes the entry back.
func (t *trial) wrongEntry(ctx context.Context, row *faultRow) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, faultWaitMax, fmt.Errorf("not within %v", faultWaitMax))
	defer cancel()
	if err := t.pause(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.resume(ctx)) }()
	w, err := t.trace(ctx)
	if err != nil {
		return err
	}
	defer w.end()
	store, err := file.Open(filepath.Join(t.stage.Dir, "map"), file.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	snap, err := store.Load(ctx)
	if err != nil {
		return err
	}
	is := func(r traced) bool { // somebody of the shard that nothing else happens to
		home, ok := snap.Home(t.bucketOf(r.User))
		return ok && home.Name == stage.Beta
	}
	r, err := w.feed.Until(ctx, 0, "a tracer of "+string(stage.Beta), is)
	if err != nil {
		return err
	}
	user, bucket := r.User, t.bucketOf(r.User)
	publish := func(shard bucketmap.ShardName) error {
		_, err := bucketmap.Update(context.WithoutCancel(ctx), store, bucketmap.Change{Who: "somebody", Why: "by hand"}, func(d *bucketmap.Draft) error {
			return d.SetHome(bucket, bucket, shard)
		})
		return err
	}
	from, began := w.feed.Len(), time.Now()
	if err := publish(stage.Gamma); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, publish(stage.Beta)) }()
	return w.found(ctx, row, began, from, func(r traced) bool { return r.User == user && r.Outcome != "right" && r.Outcome != "late" })
}
