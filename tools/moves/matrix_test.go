package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/shardlib/fence"
	"drover/tools/internal/book"
	"drover/tools/internal/program"
	"drover/tools/moves/internal/field"
	"drover/tools/testservers"
)

const (
	// thawMax is how long after a resume has ended anybody may still be waiting
	// for a bucket. It is a bound for a machine with other work, not a figure.
	thawMax = 15 * time.Second
	// closedMax is how long a bucket may have no writable home once somebody has
	// begun to resume. The migrator waits for what the one before it has open at
	// most as long as its sessions may be idle in a transaction, 5 s.
	closedMax = 10 * time.Second
	// closedPoll is between two looks at the fences meanwhile.
	closedPoll = 25 * time.Millisecond
	// resumeTries bounds how often an operator would have to resume.
	resumeTries = 5
	// aloneMax is how long a migrator may go on alone after its fault before it
	// is taken for hung, killed and resumed.
	aloneMax = 20 * time.Second
	// outage is how long a server or a link is away at most: until the migrator
	// has given up, or this.
	outage = 3 * time.Second
)

// moved are the buckets that the cases move, and written those that the clients
// of a case write to: these, and one whose users must notice nothing.
var (
	moved   = []bucketmap.BucketID{5, 6}
	written = []bucketmap.BucketID{5, 6, 7}
)

const movedList = "5,6"

const (
	// writePause is of a client between two requests. 3 clients × 4 lanes make
	// some 200 in a second: at 5 ms the clients take both cores of a small
	// machine, and a move takes six times as long.
	writePause = 50 * time.Millisecond
	// watchPause is between two attempts of a watcher at one end. One of the moved
	// buckets is watched in a case, in turn.
	watchPause = 35 * time.Millisecond
)

func newField(t *testing.T, servers []*testservers.MariaDB) *field.Field {
	t.Helper()
	f, err := field.New(t.Context(), servers[0], servers[1], field.Options{Program: shared.migrator, Dir: t.TempDir(),
		Database: database(), Buckets: 8, UsersEach: 3, FreezeMax: 5 * time.Second, BackoffMax: 100 * time.Millisecond})
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return f
}

func TestAMoveThatMeetsAnyFaultIsFinishedOrUndoneAndNothingIsLost(t *testing.T) {
	shared.cases = allCases(t)
	everything := shared.soak || *update
	turn := rand.Uint32N(share)
	if !everything {
		t.Logf("turn %d: one case in %d; DROVER_SOAK=1 with -run tries any case", turn, share)
	}
	var onShared, onOwn []faultCase
	for _, c := range shared.cases {
		switch {
		case !everything && !c.quick(turn):
		case c.fault.killsServer():
			onOwn = append(onOwn, c)
		default:
			onShared = append(onShared, c)
		}
	}
	pairs := 1
	if everything {
		pairs = serverLanes
	}
	t.Run("cases", func(t *testing.T) {
		for lane := range pairs {
			t.Run(fmt.Sprintf("servers %d", lane), func(t *testing.T) {
				t.Parallel()
				servers, err := testservers.Start(t).MariaDBs(t.Context(), "alpha", "gamma")
				must(t, err)
				for i, c := range onOwn {
					if i%pairs == lane {
						t.Run(c.String(), func(t *testing.T) { shared.rows.Store(c, c.run(t, servers)) })
					}
				}
			})
		}
		for _, c := range onShared {
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				shared.rows.Store(c, c.run(t, shared.servers))
			})
		}
	})
	comparePage(t, everything)
}

// serverLanes is how many pairs of servers are killed side by side where
// everything is tried: a pair takes more to start than the few of a share.
const serverLanes = 2

// trial is one case under way.
type trial struct {
	faultCase
	t     *testing.T
	f     *field.Field
	child *program.Child
	move  string // its id
	row   row
}

// run tries a case and returns what happened.
func (c faultCase) run(t *testing.T, servers []*testservers.MariaDB) row {
	began := time.Now()
	x := &trial{faultCase: c, t: t, f: newField(t, servers)}
	x.f.Start(t.Context(), field.Crowd{Writers: 3, Seed: 1, Buckets: written, Pause: writePause})
	x.f.Watch(t.Context(), watchPause, moved[len(c.String())%len(moved)])
	waitFor(t, "writes", func() bool { return x.f.Book.Writes() > 30 })
	x.startAt()
	if err := x.child.Reach(patience); err != nil {
		t.Fatal(err)
	}
	x.findMove()
	x.strike()
	x.resume()
	x.everybodyWrites()
	x.rest()
	must(t, x.f.Stop())
	verdict, err := x.f.Judge(t.Context())
	must(t, err)
	for _, finding := range verdict.Findings() {
		t.Error(finding)
	}
	x.agree()
	x.row.lost, x.row.duplicated = len(verdict.Lost), len(verdict.Duplicated)
	counts := x.f.Book.Counts()
	x.row.acknowledged, x.row.unknown = counts[book.Acknowledged], counts[book.Unknown]
	t.Logf("%s; %s; no writable home for %s; %v in %s", x.row.meanwhile, x.row.outcome, x.row.closed.Round(time.Millisecond), counts, time.Since(began).Round(time.Millisecond))
	return x.row
}

// startAt starts the command that meets the fault, after what must precede it.
func (x *trial) startAt() {
	before := func(args ...string) { x.t.Helper(); must(x.t, x.f.Migrator(x.t.Context(), args...)) }
	interrupted := func(at string) {
		x.t.Helper()
		child, err := x.f.StartMigrator(x.t.Context(), at, "bucket", "move", movedList, "--to", "gamma")
		must(x.t, err)
		if err := child.Reach(patience); err != nil {
			x.t.Fatal(err)
		}
		child.Kill()
	}
	var args []string
	switch x.command {
	case "move":
		args = []string{"bucket", "move", movedList, "--to", "gamma"}
	case "return", "finish":
		before("bucket", "move", movedList, "--to", "gamma")
		args = []string{"bucket", x.command, movedList[:1]}
	case "abort":
		interrupted("holding.after_hold")
		x.findMove()
		args = []string{"abort", x.move}
	case "resume":
		interrupted("freezing.after_freeze")
		args = []string{"resume"}
	}
	var err error
	x.child, err = x.f.StartMigrator(x.t.Context(), x.point, args...)
	must(x.t, err)
}

// newest is what the journals say of the newest move.
func (x *trial) newest() field.Move {
	x.t.Helper()
	moves, err := x.f.Moves(x.t.Context())
	must(x.t, err)
	if len(moves) == 0 {
		return field.Move{State: "nothing"}
	}
	return moves[len(moves)-1]
}

func (x *trial) findMove() { x.move = x.newest().ID }

// ends are the ends of the leg that the fault meets.
func (x *trial) ends() (source, target *field.End) {
	if x.command == "return" {
		return x.f.Gamma, x.f.Alpha
	}
	return x.f.Alpha, x.f.Gamma
}

// strike does to the move what the case is about, and waits until the migrator
// is gone.
func (x *trial) strike() {
	source, target := x.ends()
	switch x.fault {
	case killMigrator:
		x.child.Kill()
	case replaced:
		x.replace()
		return
	case killSource:
		x.withoutServer(source)
	case killTarget:
		x.withoutServer(target)
	case cutSource:
		x.without(source.Link.Cut, source.Link.Heal)
	case cutTarget:
		x.without(target.Link.Cut, target.Link.Heal)
	}
	if x.row.meanwhile = x.meanwhile(); x.besideActivation() {
		x.row.meanwhile = either
	}
}

// besideActivation says whether the point is passed while the target is made
// active by another goroutine, which may come first or not.
func (c faultCase) besideActivation() bool {
	return c.fault == killMigrator && (c.command == "move" || c.command == "return") &&
		(c.point == "switching.before_journal" || c.point == "switching.after_journal")
}

func (x *trial) withoutServer(e *field.End) {
	x.without(func() { must(x.t, e.Server.Kill()) }, func() { must(x.t, e.Server.Restart(x.t.Context())) })
}

// without takes something away, lets the migrator meet that, gives it back, and
// waits for the migrator's end, whatever it is: the journal says what to do.
func (x *trial) without(away, back func()) {
	away()
	x.child.Continue()
	select {
	case <-x.child.Ended():
	case <-time.After(outage):
	}
	back()
	select {
	case <-x.child.Ended():
	case <-time.After(aloneMax):
		x.t.Logf("the migrator still ran %s after the fault was over, and was killed", aloneMax)
		x.child.Kill()
	}
}

// replace freezes the migrator, takes its lock away (see field.Disown), lets another one take over, and wakes it.
func (x *trial) replace() {
	must(x.t, x.child.Signal(syscall.SIGSTOP))
	owned, err := x.f.Disown(x.t.Context(), "drover."+x.move)
	must(x.t, err)
	if !owned {
		x.t.Fatalf("nobody has the lock of %s", x.move)
	}
	x.row.meanwhile = x.meanwhile()
	x.resume()
	writes := x.f.Book.Writes()
	waitFor(x.t, "writes after the replacement", func() bool { return x.f.Book.Writes() > writes+20 })
	must(x.t, x.child.Signal(syscall.SIGCONT))
	x.child.Continue()
	select {
	case <-x.child.Ended():
	case <-time.After(aloneMax):
		x.t.Errorf("the migrator that was replaced still runs after %s", aloneMax)
		x.child.Kill()
	}
	if x.child.Wait() == nil && !strings.HasPrefix(x.point, "soaking.") {
		x.t.Error("the migrator that was replaced says that it finished the move")
	}
}

// The words for what users of the moved buckets meet between the fault and the
// resume.
const (
	goOn  = "write on"
	await = "wait for the resume"

	either = goOn + ", or " + await
)

// meanwhile looks whether the buckets have a shard that takes writes.
func (x *trial) meanwhile() string {
	x.t.Helper()
	fences, err := x.f.Fences(x.t.Context())
	must(x.t, err)
	for _, b := range moved {
		active := 0
		for _, rows := range fences {
			if rows[int64(b)].State == fence.Active {
				active++
			}
		}
		if active > 1 {
			x.t.Errorf("bucket %d is active at both ends", b)
		}
		if active == 0 {
			return await
		}
	}
	return goOn
}

// resume does what an operator would, until nothing is left to resume.
func (x *trial) resume() {
	x.t.Helper()
	defer x.watchClosed()()
	var err error
	for range resumeTries {
		if err = x.f.Migrator(x.t.Context(), "resume"); err == nil {
			return
		}
		x.t.Logf("resume: %v", err)
	}
	x.t.Fatalf("STUCK after %d resumes in state %s: %v", resumeTries, x.newest().State, err)
}

// everybodyWrites waits until a user of every moved bucket has written, at the
// home that it has now.
func (x *trial) everybodyWrites() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), thawMax)
	defer cancel()
	before := map[bucketmap.BucketID]int{}
	for _, b := range moved {
		before[b] = x.f.Acked(b)
	}
	for _, b := range moved {
		for looks := testrun.NewPace(poll); x.f.Acked(b) <= before[b]; {
			if !looks.Wait(ctx) {
				x.t.Fatalf("bucket %d could not be written within %s of the resume", b, thawMax)
			}
		}
	}
}

// rest notes where the move has come to, and goes on from there as an operator
// would: the way back, or the end.
func (x *trial) rest() {
	x.t.Helper()
	x.agree()
	m := x.newest()
	switch m.State {
	case "soaking", "done":
		x.row.outcome = "finished"
	case "aborted":
		x.row.outcome = "undone"
	case "nothing":
		x.row.outcome = "never begun"
	default:
		x.row.outcome = "STUCK in " + m.State
		x.t.Errorf("the move rests in %s", m.State)
	}
	if m.State == "soaking" && x.command != "return" && len(x.point)%2 == 0 {
		must(x.t, x.f.Migrator(x.t.Context(), "bucket", "return", m.ID))
	}
	if m.State == "soaking" {
		must(x.t, x.f.Migrator(x.t.Context(), "bucket", "finish", m.ID))
		x.agree()
	}
	if m := x.newest(); m.Open {
		x.t.Errorf("the move is still open, and %s", m.State)
	}
}

func (x *trial) agree() {
	x.t.Helper()
	problems, err := x.f.Agree(x.t.Context())
	must(x.t, err)
	for _, p := range problems {
		x.t.Error(p)
	}
}
