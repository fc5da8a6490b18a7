package move

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/publish"
	"drover/migrator/internal/shards"
	"drover/shardlib"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// childVariable carries a child's orders: this test binary started again, to
// be killed.
const childVariable = "DROVER_MOVE_TEST_CHILD"

// orders is what a child does: the steps, until it dies at a crash point.
type orders struct {
	List    shardlib.ShardList
	Dir     string
	Buckets Buckets `json:",omitempty"`
	Steps   []string
	Move    bucketmap.MoveID // for steps on a move that is there
	CrashAt string
	// ChunkTime is that of the limits; 0 is the default.
	ChunkTime time.Duration `json:",omitempty"`
}

// child runs orders and returns the exit code.
func child(text string) int {
	ctx := context.Background()
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return 2
	}
	store, err := file.Open(o.Dir, file.Options{})
	if err != nil {
		return 2
	}
	var points crash.Points
	if err := points.Arm(o.CrashAt); err != nil {
		return 2
	}
	limits := testLimits()
	if o.ChunkTime > 0 {
		limits.ChunkTime = o.ChunkTime
	}
	servers := shards.New(o.List, store, database.Account{User: testservers.AccountDrover, Password: testservers.Password})
	e := &Engine{Servers: servers, Map: &publish.Publisher{Store: store, Who: "child"}, Tables: worldTables, Limits: limits, Crash: &points}
	if err := o.run(ctx, e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (o *orders) run(ctx context.Context, e *Engine) error {
	var m *Move
	var err error
	if o.Move != "" {
		if m, err = e.Find(ctx, "alpha", o.Move); err != nil {
			return err
		}
	}
	for _, step := range o.Steps {
		switch step {
		case "move":
			if m, err = e.Start(ctx, Plan{Buckets: o.Buckets, Target: "gamma", Who: "child"}); err == nil {
				err = e.Run(ctx, m)
			}
		case "return":
			err = e.Return(ctx, m)
		case "finish":
			err = e.Finish(ctx, m)
		case "abort":
			err = e.Abort(ctx, m, "test")
		case "resume":
			err = e.Resume(ctx, m)
		default:
			err = errors.New("unknown step " + step)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// killed runs a child and wants it to die by SIGKILL.
func (w *world) killed(o orders) {
	w.t.Helper()
	o.List, o.Dir = w.shards.List(), w.dir
	text, err := json.Marshal(o)
	must(w.t, err)
	self, err := os.Executable()
	must(w.t, err)
	cmd := exec.CommandContext(w.t.Context(), self)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		w.t.Fatalf("the child was not killed at %s: %v\n%s", o.CrashAt, err, stderr.String())
	}
}

// resume finishes or undoes what a killed child left, and returns the move; nil
// when it left nothing.
func (w *world) resume() *Move {
	w.t.Helper()
	server, err := w.shards.Primary(w.t.Context(), "alpha")
	must(w.t, err)
	records, err := journal.Open(server).List(w.t.Context(), true)
	must(w.t, err)
	if len(records) == 0 {
		return nil
	}
	m, err := Load(records[0])
	must(w.t, err)
	must(w.t, w.engine(nil).Resume(w.t.Context(), m))
	return m
}

// agree checks that map and fences say the same of every bucket, that one
// shard alone would take a write, and that no hold is left.
func (w *world) agree() {
	w.t.Helper()
	ctx := w.t.Context()
	snap, err := w.store.Load(ctx)
	must(w.t, err)
	if holds := snap.Holds(); len(holds) != 0 {
		w.t.Errorf("holds are left in the map: %v", holds)
	}
	active := map[int64][]bucketmap.ShardName{}
	for _, shard := range []bucketmap.ShardName{"alpha", "gamma"} {
		server, err := w.shards.Primary(ctx, shard)
		must(w.t, err)
		rows, err := fence.AllRows(ctx, server.DB)
		must(w.t, err)
		for _, r := range rows {
			if r.Bucket != fence.ShardRow && r.State == fence.Active {
				active[r.Bucket] = append(active[r.Bucket], shard)
				if e := snap.Epoch(bucketmap.BucketID(r.Bucket)); e != r.Epoch {
					w.t.Errorf("bucket %d: epoch %d in the map, %d in the fence", r.Bucket, e, r.Epoch)
				}
			}
		}
	}
	for b := range int64(worldBuckets) {
		home, _ := snap.Home(bucketmap.BucketID(b))
		if !slices.Equal(active[b], []bucketmap.ShardName{home.Name}) {
			w.t.Errorf("bucket %d: home %s in the map, active on %v", b, home.Name, active[b])
		}
	}
}

// allPoints runs every step once and returns the crash points on the way.
func allPoints(t *testing.T) []crash.Point {
	w := newWorld(t)
	var points crash.Points
	e := w.engine(&points)
	l := w.newLedger(userIn(5, 1))
	must(t, l.write(t.Context(), l.users[0], 1, 0))
	plan := Plan{Buckets: Buckets{5}, Target: "gamma", Who: "test"}
	m, err := e.Start(t.Context(), plan)
	must(t, err)
	must(t, e.Abort(t.Context(), m, "test"))
	// A leg that has copied something is aborted by way of a killed tail.
	m, err = e.Start(t.Context(), plan)
	must(t, err)
	must(t, e.Run(t.Context(), m))
	must(t, e.Return(t.Context(), m))
	must(t, e.Finish(t.Context(), m))
	l.check()
	w.agree()
	return points.Seen()
}

// An ordinary run tries one point of each kind, DROVER_SOAK=1 all of them.
func TestAMigratorKilledAtAnyPointIsResumed(t *testing.T) {
	points := allPoints(t)
	t.Logf("%d crash points", len(points))
	var all []string
	for _, p := range points {
		name := string(p)
		for _, at := range []string{name, name + "#2"} {
			// Second passes matter where a return passes again, which is all but
			// the first leg's own.
			if strings.HasSuffix(at, "#2") && !onReturn(name) {
				continue
			}
			if strings.HasPrefix(name, "abort") || strings.HasPrefix(name, "resume.") {
				continue // see TestAnAbortKilledAtAnyPointIsFinished
			}
			all = append(all, at)
		}
	}
	for _, at := range drawn(t, all) {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			killAndResume(t, at)
		})
	}
}

// drawn chooses the points of this run, anew in each: one of each kind, which is
// what is done there, such as commit. tools/moves kills the migrator as it ships
// at the same points. With DROVER_SOAK=1 it is all of them.
func drawn(t *testing.T, all []string) []string {
	if servers.soak {
		return all
	}
	kinds := map[string][]string{}
	for _, at := range all {
		_, what, _ := strings.Cut(strings.TrimSuffix(at, "#2"), "_")
		kinds[what] = append(kinds[what], at)
	}
	var some []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		some = append(some, kinds[kind][rand.IntN(len(kinds[kind]))])
	}
	t.Logf("one point of each kind, %d of %d: %v; DROVER_SOAK=1 with -run tries any", len(some), len(all), some)
	return some
}

// onReturn says whether a return passes a crash point of the first leg again.
func onReturn(name string) bool {
	state, _, _ := strings.Cut(name, ".")
	return slices.Contains([]State{Tailing, Verifying, Holding, Freezing, Switching, Publishing, Soaking}, State(state))
}

func killAndResume(t *testing.T, at string) {
	w := newWorld(t)
	users := []string{userIn(5, 1), userIn(6, 2), userIn(40, 3)}
	l := w.newLedger(users...)
	stop := l.run(3)
	defer stop()
	waitWrites(t, l, 10)
	w.killed(orders{Buckets: Buckets{5, 6}, Steps: []string{"move", "return", "finish"}, CrashAt: at})
	m := w.resume()
	waitWrites(t, l, l.total()+20)
	w.agree()
	if m != nil && m.State() == Soaking {
		must(t, w.engine(nil).Return(t.Context(), m))
		waitWrites(t, l, l.total()+10)
	}
	stop()
	w.agree()
	l.check()
}

// An ordinary run tries one point of each kind, DROVER_SOAK=1 all of them.
func TestAnAbortKilledAtAnyPointIsFinished(t *testing.T) {
	for _, at := range drawn(t, []string{"aborting.before_journal", "aborting.after_journal", "aborting.before_release", "aborting.after_release",
		"aborting.before_remove", "aborting.after_remove", "aborting.before_unclaim", "aborting.after_unclaim", "aborted.before_journal",
		"aborted.after_journal", "resume.before_takeover", "resume.after_takeover"}) {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			l := w.newLedger(userIn(5, 1), userIn(6, 2))
			stop := l.run(2)
			defer stop()
			waitWrites(t, l, 10)
			w.killed(orders{Buckets: Buckets{5, 6}, Steps: []string{"move"}, CrashAt: "holding.after_hold"})
			server, err := w.shards.Primary(t.Context(), "alpha")
			must(t, err)
			records, err := journal.Open(server).List(t.Context(), true)
			must(t, err)
			id := records[0].Move
			w.killed(orders{Steps: []string{"abort"}, Move: id, CrashAt: at})
			m, err := w.engine(nil).Find(t.Context(), "alpha", id)
			must(t, err)
			if m.State() != Aborted {
				must(t, w.engine(nil).Abort(t.Context(), m, "test"))
			}
			waitWrites(t, l, l.total()+10)
			stop()
			w.agree()
			l.check()
			if n := w.count(w.gamma, "SELECT (SELECT COUNT(*) FROM steps) + (SELECT COUNT(*) FROM request) + (SELECT COUNT(*) FROM profile)"); n != 0 {
				t.Errorf("%d rows are left at the target", n)
			}
		})
	}
}
