package promotions

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/tools/internal/program"
)

const (
	// closedMax is how long the shard may have no writable primary once somebody
	// has begun to resume.
	closedMax = 10 * time.Second
	// resumeTries bounds how often an operator would have to resume.
	resumeTries = 4
	// aloneMax is how long a migrator may go on alone after its fault before it
	// is taken for hung, killed and resumed: it waits 30 s for an old primary to
	// follow, 30 s for what must be done past the commit point, and a server whose
	// disk was full 60 s before it goes on.
	aloneMax = 100 * time.Second
	// outage is how long a server or a link is away at most: until the migrator
	// has given up, or this.
	outage = 1500 * time.Millisecond
)

func TestAPromotionThatMeetsAnyFaultIsFinishedOrUndoneAndNothingIsLost(t *testing.T) {
	first := newWorld(t)
	cases := allCases(t, first.points())
	turn := rand.Uint32N(share)
	if !everything() {
		t.Logf("turn %d: one quick case in %d; DROVER_SOAK=1 with -run tries any case", turn, share)
	}
	chosen := make(chan faultCase, len(cases))
	for _, c := range cases {
		if everything() || c.drawn(turn) {
			chosen <- c
		}
	}
	close(chosen)
	t.Run("cases", func(t *testing.T) {
		count := 1
		if everything() {
			count = lanes
		}
		for lane := range count {
			t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
				t.Parallel()
				var w *world
				if lane == 0 {
					w = first
				}
				for c := range chosen {
					if w == nil {
						w = newWorld(t)
					}
					if !t.Run(c.String(), func(t *testing.T) { c.try(t, w) }) {
						w = nil // what a case has left in disorder is no beginning for the next
					}
				}
			})
		}
	})
	comparePage(t, cases)
}

// trial is one case under way.
type trial struct {
	faultCase
	t        *testing.T
	w        *world
	c        *crowd
	from, to *side
	child    *program.Child
	row      row
	struck   time.Duration // when the fault came, by the book's clock
	resumed  time.Duration // when somebody began to resume, or the migrator was over
}

// try tries a case and enters what happened.
func (c faultCase) try(t *testing.T, w *world) {
	began := time.Now()
	w.t = t
	home := w.home()
	x := &trial{faultCase: c, t: t, w: w, from: w.sides[home.Datacenter], to: w.sides[other(home.Datacenter)]}
	for _, s := range w.sides {
		s.link.Heal()
		s.wire.Heal()
	}
	w.configure(settings{hooks: hooksOfMatrix})
	w.follow(x.to, x.from.link.Addr())
	x.c = w.crowd()
	x.c.more(10)
	c.run(x)
	if t.Failed() {
		return
	}
	x.resume()
	obeyed := w.settle()
	x.c.more(10)
	end := x.c.book.Now()
	x.outcome(home.Epoch != w.home().Epoch, obeyed)
	x.row.lost, x.row.duplicated = x.c.audit()
	if none := closed(x.c.writes, x.resumed, end); none > closedMax {
		t.Errorf("nobody could write for %s after the operator was back, want at most %s", none, closedMax)
	}
	x.row.closed = closed(x.c.writes, x.struck, end).Seconds()
	t.Logf("%s; %s; nobody could write for %.1f s; %d writes, %v in %s; it said: %s", x.row.meanwhile, x.row.outcome, x.row.closed,
		len(x.c.writes), x.c.book.Counts(), time.Since(began).Round(time.Millisecond), x.row.said)
	if !t.Failed() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		shared.rows[c.String()] = x.row
	}
}

// outcome says what has become of the promotion.
func (x *trial) outcome(moved bool, obeyed []string) {
	switch {
	case moved:
		x.row.outcome = "finished"
	case x.row.outcome == "": // nobody has said that it was refused
		x.row.outcome = "undone"
	}
	if len(obeyed) != 0 {
		x.row.outcome += "; then as `migrator doctor` says: " + strings.Join(obeyed, ", ")
	}
}

// command starts the command that meets the fault, after what must precede it,
// and waits until it is at the point.
func (x *trial) command(command, point string) {
	x.t.Helper()
	switch command {
	case "promote":
		x.promote(point)
	case "resume":
		x.w.interrupted("freezing.after_read_only", x.to.dc)
		x.child = x.w.start(point, "resume")
	case "abort":
		x.w.interrupted("freezing.after_read_only", x.to.dc)
		x.child = x.w.start(point, "abort", x.w.newest().id)
	}
	if err := x.child.Reach(patience); err != nil {
		x.t.Fatal(err)
	}
	x.struck = x.c.book.Now()
}

// promote starts the promotion.
func (x *trial) promote(point string) {
	x.t.Helper()
	x.struck = x.c.book.Now()
	x.child = x.w.start(point, "shard", "promote", "alpha", "--to", string(x.to.dc))
}

// ended waits until the child is gone, and notes what it said last.
func (x *trial) ended() error {
	x.t.Helper()
	select {
	case <-x.child.Ended():
	case <-time.After(aloneMax):
		x.t.Logf("the migrator still ran %s after the fault was over, and was killed", aloneMax)
		x.child.Kill()
	}
	x.row.said = lastWords(x.child.Output())
	return x.child.Wait()
}

// passing is what differs from run to run in what the migrator says.
var passing = []struct {
	pattern *regexp.Regexp
	word    string
}{
	{regexp.MustCompile(`\bp-[0-9a-f-]+(/[0-9]+)?`), "p…"},
	{regexp.MustCompile(`\(?127\.0\.0\.1:[0-9]+\)?`), "…"},
	{regexp.MustCompile(`\b[0-9]+-[0-9]+-[0-9]+\b`), "GTID"},
	{regexp.MustCompile(`\s+`), " "},
}

// saidMax bounds what a row says.
const saidMax = 240

// lastWords is the last line of what the migrator printed.
func lastWords(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	said := lines[len(lines)-1]
	for _, p := range passing {
		said = p.pattern.ReplaceAllString(said, p.word)
	}
	said = strings.ReplaceAll(strings.TrimSpace(said), "|", "\\|")
	if len(said) > saidMax {
		said = strings.ToValidUTF8(said[:saidMax], "") + "…"
	}
	return said
}

// without takes something away, lets the migrator meet that, gives it back, and
// waits for the migrator's end, whatever it is: the journal says what to do.
func (x *trial) without(away, back func()) {
	x.t.Helper()
	away()
	x.child.Continue()
	select {
	case <-x.child.Ended():
	case <-time.After(outage):
	}
	back()
	_ = x.ended() // whatever it is
	x.meanwhile()
}

func (x *trial) withoutServer(s *side) {
	x.t.Helper()
	x.without(func() { must(x.t, s.server.Kill()) }, func() { must(x.t, s.server.Restart(x.t.Context())) })
}

// replace freezes the migrator, takes its locks away as a server does to a
// client that it has not heard of for too long, lets another one take over, and
// wakes it. Its other connections stay, with what they have open.
func (x *trial) replace() {
	x.t.Helper()
	must(x.t, x.child.Signal(syscall.SIGSTOP))
	owned := false
	for _, s := range x.w.sides {
		holder, err := value(x.t.Context(), s.root, "SELECT IS_USED_LOCK('drover."+x.w.newest().id+"')")
		must(x.t, err)
		if holder != "" {
			owned = true
			must(x.t, s.server.Exec(x.t.Context(), "KILL "+holder))
		}
	}
	if !owned && x.name != "`planned.after_journal`" { // the lock is taken after that
		x.t.Fatal("nobody has the lock of the promotion")
	}
	x.meanwhile()
	x.resume()
	x.c.more(10)
	must(x.t, x.child.Signal(syscall.SIGCONT))
	x.child.Continue()
	if err := x.ended(); err == nil {
		x.t.Errorf("the migrator that was replaced says that it finished the promotion: %s", x.child.Output())
	}
	x.c.more(10)
}

// The words for what users meet between the fault and the resume.
const (
	goOn  = "write on"
	await = "wait for the resume"
)

// meanwhile notes whether the shard has a primary that takes writes.
func (x *trial) meanwhile() {
	x.t.Helper()
	x.row.meanwhile = await
	for _, s := range x.w.sides {
		takes, err := value(x.t.Context(), s.root, "SELECT state = 'active' AND server_id = @@server_id AND NOT @@GLOBAL.read_only FROM app.drover_fence WHERE bucket = -1")
		must(x.t, err)
		if takes == "1" {
			x.row.meanwhile = goOn
		}
	}
}

// settledDown waits until the servers answer and a replica that connects has
// connected, or failed to: before that an operator tries nothing again.
func (w *world) settledDown() {
	w.t.Helper()
	for _, s := range w.sides {
		if _, err := w.replicaStatus(s); err != nil {
			w.t.Logf("%s: %v", s.dc, err)
		}
	}
}

// resume does what an operator would, until nothing is left to resume.
func (x *trial) resume() {
	x.t.Helper()
	if x.resumed == 0 {
		x.resumed = x.c.book.Now()
	}
	for try := range resumeTries {
		if try > 0 {
			x.w.settledDown()
		}
		err := x.w.migrator("resume")
		if err == nil {
			return
		}
		x.t.Logf("resume: %v", err)
		if strings.Contains(err.Error(), "errant transactions") && strings.Contains(err.Error(), "migrator doctor") {
			return // the doctor is asked next
		}
	}
	x.t.Logf("it is %s after %d resumes: the doctor is asked", x.w.newest().state, resumeTries) // and fails the case if it does not help
}
