package promotions

import (
	"hash/fnv"
	"slices"
	"strings"
	"testing"

	"drover/bucketmap"
)

// faultCase is one row of the page.
type faultCase struct {
	title string // of its table
	name  string // what is done, or the crash point at which the table's fault comes
	slow  bool   // it has to wait for something: not in an ordinary run
	run   func(x *trial)
}

func (c faultCase) String() string { return c.title + ": " + c.name }

// row is what happened in a case.
type row struct {
	meanwhile, outcome string
	lost, duplicated   int
	closed             float64 // seconds: the longest without an acknowledged write
	said               string  // the migrator's last line
}

// statePoints is where each state is met by the faults that are not the
// migrator's own death: the most delicate points.
var statePoints = []string{
	"planned.after_journal", "replicating.after_claim", "catching_up.after_journal", "holding.after_hold",
	"freezing.after_freeze", "freezing.after_read_only", "freezing.before_commit", "freezing.after_commit",
	"switching.after_stop", "switching.before_activate", "switching.after_activate",
	"publishing.before_map", "reversing.after_journal", "reversing.after_follow",
}

// hooksOfMatrix have crash points of their own.
var hooksOfMatrix = []string{`{at: before_freeze, run: ["true"]}`, `{at: before_commit, run: ["true"]}`}

// points runs each command once, with no fault, and returns the crash points
// that it passes.
func (w *world) points() map[string][]string {
	w.t.Helper()
	w.configure(settings{hooks: hooksOfMatrix})
	points := map[string][]string{}
	record := func(command string, args ...string) {
		w.t.Helper()
		child := w.start("", args...)
		must(w.t, child.Wait())
		points[command] = child.Points()
	}
	to := func() bucketmap.Datacenter { return other(w.home().Datacenter) }
	record("promote", "shard", "promote", "alpha", "--to", string(to()))
	w.interrupted("freezing.after_read_only", to())
	record("abort", "abort", w.newest().id)
	w.interrupted("freezing.after_read_only", to())
	record("resume", "resume")
	return points
}

// interrupted leaves a promotion where it is killed.
func (w *world) interrupted(at string, to bucketmap.Datacenter) {
	w.t.Helper()
	child := w.start(at, "shard", "promote", "alpha", "--to", string(to))
	if err := child.Reach(patience); err != nil {
		w.t.Fatal(err)
	}
	child.Kill()
}

// allCases lists every case.
func allCases(t *testing.T, points map[string][]string) []faultCase {
	t.Helper()
	var cases []faultCase
	for _, command := range []string{"promote", "resume", "abort"} {
		for _, p := range points[command] {
			if command != "promote" && slices.Contains(points["promote"], p) {
				continue // a resume passes it as the promotion does
			}
			cases = append(cases, faultCase{title: "Migrator killed, `" + command + "`", name: "`" + p + "`",
				run: func(x *trial) { x.command(command, p); x.child.Kill(); x.meanwhile() }})
		}
	}
	cases = append(cases, lostCases()...)
	for _, fault := range []struct {
		title string
		run   func(x *trial)
	}{
		{"Migrator frozen, replaced, woken", (*trial).replace},
		{"Old primary killed", func(x *trial) {
			if x.name == "`freezing.after_commit`" { // that it has not been sent is a case of its own
				x.w.caughtUp(x.from, x.to)
			}
			x.withoutServer(x.from)
		}},
		{"Replica killed", func(x *trial) { x.withoutServer(x.to) }},
		{"Link between the servers cut", func(x *trial) { x.without(x.from.wire.Cut, x.from.wire.Heal) }},
		{"Old primary cut off from everything but its own application", func(x *trial) { x.without(x.from.link.Cut, x.from.link.Heal) }},
		{"Replica cut off from the migrator", func(x *trial) { x.without(x.to.link.Cut, x.to.link.Heal) }},
	} {
		for _, p := range statePoints {
			if !slices.Contains(points["promote"], p) {
				t.Errorf("a promotion passes no crash point %s: bring statePoints up to date", p)
			}
			cases = append(cases, faultCase{title: fault.title, name: "`" + p + "`", slow: !strings.HasPrefix(fault.title, "Migrator"), run: func(x *trial) {
				if strings.HasPrefix(fault.title, "Link") {
					x.w.follow(x.to, x.from.wire.Addr())
				}
				x.command("promote", p)
				fault.run(x)
			}})
		}
	}
	return append(cases, adversaries()...)
}

// share is the part of the quick cases that an ordinary run tries: one in so
// many.
const share = 32

// drawn says whether a case is among those that an ordinary run tries, so that a
// few runs meet every quick case; the migrator killed at the commit point is
// always.
func (c faultCase) drawn(turn uint32) bool {
	if c.title == "Migrator killed, `promote`" && c.name == "`freezing.after_commit`" {
		return true
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(c.String()))
	return !c.slow && (sum.Sum32()%share+turn)%share == 0
}
