package promote

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
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

// order is what a child does.
type order struct {
	Dir    string
	List   shardlib.ShardList
	Target bucketmap.Datacenter
	Resume bucketmap.MoveID // in the place of a new promotion
	Crash  crash.Point
}

// child is a migrator in a process of its own.
func child(text string) (err error) {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx := context.Background()
	store, err := file.Open(o.Dir, file.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	found := shards.New(o.List, store, database.Account{User: testservers.AccountDrover, Password: testservers.Password})
	defer func() { err = errors.Join(err, found.Close()) }()
	points := &crash.Points{}
	if err := points.Arm(string(o.Crash)); err != nil {
		return err
	}
	e := &Engine{Servers: found, PastReadOnly: []string{testservers.AccountRoot}, Limits: testLimits(), Crash: points, Map: &publish.Publisher{Store: store, Who: "child"},
		Replication: database.Account{User: testservers.AccountReplica, Password: testservers.Password}}
	if o.Resume == "" {
		p, err := e.Start(ctx, Plan{Shard: alpha, Target: o.Target, Who: "child"})
		if err != nil {
			return err
		}
		return e.Run(ctx, p)
	}
	server, err := found.Primary(ctx, alpha)
	if err != nil {
		return err
	}
	record, err := journal.Open(server).Get(ctx, o.Resume)
	if err != nil {
		return err
	}
	p, err := Load(record)
	if err != nil {
		return err
	}
	return e.Resume(ctx, p)
}

// kill runs a child that dies by SIGKILL at a point.
func (w *world) kill(o order) {
	w.t.Helper()
	o.Dir, o.List = w.dir, w.list
	text, err := json.Marshal(o)
	must(w.t, err)
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append(os.Environ(), childVariable+"="+string(text))
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || ctx.Err() != nil {
		w.t.Fatalf("%s: the child did not die there: %v\n%s", o.Crash, err, output)
	}
}

// open finds the open promotion as the command line does: on the primary by
// the map.
func (w *world) open() *Promotion {
	w.t.Helper()
	server, err := w.shards.Primary(w.t.Context(), alpha)
	must(w.t, err)
	records, err := journal.Open(server).List(w.t.Context(), true)
	must(w.t, err)
	if len(records) != 1 {
		w.t.Fatalf("%s has %d open records, want 1", server.Name(), len(records))
	}
	p, err := Load(records[0])
	must(w.t, err)
	return p
}

// forwardPoints are the points that a promotion passes when all goes well.
var forwardPoints = []crash.Point{
	"planned.after_journal",
	"replicating.before_journal", "replicating.after_journal", "replicating.before_claim", "replicating.after_claim",
	"catching_up.before_journal", "catching_up.after_journal",
	"holding.before_journal", "holding.after_journal", "holding.before_hold", "holding.after_hold",
	"freezing.before_journal", "freezing.after_journal", "freezing.before_freeze", "freezing.after_freeze",
	"freezing.before_read_only", "freezing.after_read_only", "freezing.after_applied", "freezing.before_commit", "freezing.after_commit",
	"switching.before_stop", "switching.after_stop", "switching.before_reset", "switching.after_reset",
	"switching.before_activate", "switching.after_activate", "switching.after_writable",
	"publishing.before_journal", "publishing.after_journal", "publishing.before_map", "publishing.after_map",
	"reversing.before_journal", "reversing.after_journal", "reversing.before_follow", "reversing.after_follow",
	"reversing.before_start", "reversing.after_start",
	"done.before_release", "done.before_journal", "done.after_journal", "done.after_release",
}

func TestForwardPointsAreAllThatAPromotionPasses(t *testing.T) {
	w := newWorld(t)
	_, err := w.promote(cloud)
	must(t, err)
	want := slices.Sorted(slices.Values(forwardPoints))
	if got := w.points.Seen(); !slices.Equal(got, want) {
		t.Errorf("passed %v\nwant   %v", got, want)
	}
}

// sigkillPoints are the points at which a process of its own is killed: around
// every change in a database that is not the journal's. At the others the
// goroutine ends, which takes less time.
var sigkillPoints = []crash.Point{
	"replicating.after_claim", "holding.after_hold", "freezing.after_freeze", "freezing.before_read_only", "freezing.after_read_only",
	"freezing.before_commit", "freezing.after_commit", "switching.after_stop", "switching.after_reset", "switching.after_activate",
	"switching.after_writable", "publishing.after_map", "reversing.after_follow", "reversing.after_start", "done.after_journal",
}

// drawn chooses the points of this run, anew in each, so that a few runs meet every
// point: one of each kind. The kind is what is done there, such as commit. With
// DROVER_SOAK=1 it is all points.
func drawn[P any](t *testing.T, all []P, at func(P) crash.Point) []P {
	t.Helper()
	if soak() {
		return all
	}
	kind := func(p P) string {
		_, what, _ := strings.Cut(string(at(p)), "_")
		return what
	}
	chosen := map[string]int{}
	for _, i := range rand.Perm(len(all)) {
		chosen[kind(all[i])] = i
	}
	var some []P
	for _, i := range slices.Sorted(maps.Values(chosen)) {
		some = append(some, all[i])
	}
	t.Logf("%d of %d points, with DROVER_SOAK=1 all of them: %v", len(some), len(all), some)
	return some
}

func TestKilledAtEveryPointAPromotionIsFinishedByTheNextMigrator(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	at, epoch := legacy, bucketmap.FirstEpoch
	for _, point := range drawn(t, forwardPoints, func(p crash.Point) crash.Point { return p }) {
		target := other(at)
		if slices.Contains(sigkillPoints, point) {
			w.kill(order{Target: target, Crash: point})
		} else {
			w.dieAt(string(point), target)
		}
		if point != "done.after_journal" && point != "done.after_release" {
			p := w.open()
			must(t, w.engine().Resume(t.Context(), p))
			if p.State() != Done {
				t.Fatalf("%s: the resumed promotion is %s", point, p.State())
			}
		}
		at, epoch = target, epoch+1
		w.settled(at, epoch)
		if t.Failed() {
			t.Fatalf("after a kill at %s", point)
		}
	}
	ws.check(at)
	w.caughtUp(at, other(at))
	ws.check(other(at))
}

func TestKilledWhileResumingAPromotionIsFinishedByTheNextMigrator(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	at, epoch := legacy, bucketmap.FirstEpoch
	for _, points := range drawn(t, [][2]crash.Point{
		{"freezing.after_read_only", "resume.before_takeover"},
		{"freezing.after_read_only", "resume.after_takeover"},
		{"freezing.after_read_only", "freezing.before_thaw"},
		{"freezing.after_read_only", "freezing.between_thaw"},
		{"freezing.after_read_only", "freezing.after_thaw"},
		{"freezing.before_commit", "freezing.after_commit"},
		{"freezing.after_commit", "resume.before_takeover"},
		{"freezing.after_commit", "switching.after_stop"},
		{"freezing.after_commit", "switching.after_reset"},
		{"freezing.after_commit", "resume.after_takeover"},
		{"switching.after_stop", "switching.before_activate"},
		{"switching.after_reset", "switching.after_activate"},
		{"switching.after_activate", "resume.after_takeover"},
		{"publishing.after_map", "reversing.after_follow"},
		{"reversing.after_follow", "reversing.after_start"},
	}, func(two [2]crash.Point) crash.Point { return two[1] }) {
		target := other(at)
		w.kill(order{Target: target, Crash: points[0]})
		w.kill(order{Resume: w.open().Record.Move, Crash: points[1]})
		must(t, w.engine().Resume(t.Context(), w.open()))
		at, epoch = target, epoch+1
		w.settled(at, epoch)
		if t.Failed() {
			t.Fatalf("after kills at %v", points)
		}
	}
	ws.check(at)
}

// dieAt runs a promotion in this process whose goroutine ends at a point.
func (w *world) dieAt(point string, target bucketmap.Datacenter) {
	w.t.Helper()
	w.points = &crash.Points{}
	must(w.t, w.points.ArmFunc(point, runtime.Goexit))
	ended := make(chan error, 1)
	go func() {
		result := errors.New("it died")
		defer func() { ended <- result }()
		_, err := w.promote(target)
		result = err
	}()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "it died") {
		w.t.Fatalf("%s: the promotion did not die there: %v", point, err)
	}
	w.points = &crash.Points{}
}

func TestAbortedInEveryStateThatAllowsItNothingHasChanged(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	for _, point := range []string{
		"planned.after_journal", "replicating.after_journal", "replicating.after_claim", "catching_up.after_journal",
		"holding.after_journal", "holding.after_hold", "freezing.after_journal", "freezing.after_freeze", "freezing.after_read_only",
		"freezing.before_commit",
	} {
		w.dieAt(point, cloud)
		p := w.open()
		must(t, w.engine().Abort(t.Context(), p, "the test says so"))
		if p.State() != Aborted {
			t.Fatalf("%s: the promotion is %s", point, p.State())
		}
		w.settled(legacy, bucketmap.FirstEpoch)
		if t.Failed() {
			t.Fatalf("after a death at %s", point)
		}
	}
	// An abort that dies is finished by the next one, or by resume.
	w.dieAt("freezing.after_read_only", cloud)
	p := w.open()
	dying := w.engine()
	dying.Crash = &crash.Points{}
	must(t, dying.Crash.ArmFunc("aborting.after_journal", runtime.Goexit))
	ended := make(chan struct{})
	go func() { defer close(ended); _ = dying.Abort(t.Context(), p, "") }()
	<-ended
	must(t, w.engine().Resume(t.Context(), w.open()))
	w.settled(legacy, bucketmap.FirstEpoch)
	ws.check(legacy)
}

func TestPastTheCommitPointAnAbortIsRefusedAndResumeGoesOn(t *testing.T) {
	w := newWorld(t)
	at, epoch := legacy, bucketmap.FirstEpoch
	for _, point := range []string{"freezing.after_commit", "switching.after_activate", "publishing.after_journal", "reversing.after_journal"} {
		w.dieAt(point, other(at))
		if err := w.engine().Abort(t.Context(), w.open(), ""); !errors.Is(err, ErrState) {
			t.Fatalf("%s: abort: %v", point, err)
		}
		must(t, w.engine().Resume(t.Context(), w.open()))
		at, epoch = other(at), epoch+1
		w.settled(at, epoch)
	}
}

func TestARunThatWasReplacedDoesNoHarmWhenItWakes(t *testing.T) {
	w := newWorld(t)
	w.dieAt("freezing.after_read_only", cloud)
	stale := w.open()
	must(t, w.engine().Resume(t.Context(), w.open()))
	w.settled(cloud, 2)
	r := &run{Engine: w.engine(), promotion: stale, token: stale.Record.Token(), from: w.server(legacy), to: w.server(cloud)}
	for what, do := range map[string]func(context.Context) error{
		"thaw": r.thaw, "commit point": r.commitPoint, "detach": func(ctx context.Context) error { return r.checkCopy(ctx) },
		"activate": r.activate, "publish": func(ctx context.Context) error { _, err := r.publishing(ctx); return err },
		"freeze": r.freeze,
	} {
		if err := do(t.Context()); !errors.Is(err, fence.ErrLostRow) {
			t.Errorf("%s: %v, want %v", what, err, fence.ErrLostRow)
		}
	}
	if err := r.enter(t.Context(), Aborting, ""); err == nil {
		t.Error("it could journal")
	}
	w.settled(cloud, 2)
}

func TestOneMigratorRunsAPromotionAtATime(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	p, err := e.Start(t.Context(), Plan{Shard: alpha, Target: cloud, Who: "test"})
	must(t, err)
	unlock, err := journal.Open(w.server(cloud)).Lock(t.Context(), p.Record.Move)
	must(t, err)
	if err := e.Run(t.Context(), p); !errors.Is(err, journal.ErrLocked) {
		t.Fatalf("run: %v", err)
	}
	unlock()
	must(t, e.Run(t.Context(), p))
	w.settled(cloud, 2)
}
