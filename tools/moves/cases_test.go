package main

import (
	"errors"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/internal/testrun"
	"drover/tools/moves/internal/field"
)

// fault is what is done to a move at a place.
type fault string

const (
	killMigrator fault = "migrator killed"
	replaced     fault = "migrator frozen, replaced, woken"
	killSource   fault = "source killed"
	killTarget   fault = "target killed"
	cutSource    fault = "link to the source cut"
	cutTarget    fault = "link to the target cut"
)

// serverFaults take a server away from everybody: they have servers of their own.
func (f fault) killsServer() bool { return f == killSource || f == killTarget }

// faultCase is a fault at a crash point of a command.
type faultCase struct {
	command string // move, return, finish, abort or resume
	point   string
	fault   fault
}

func (c faultCase) String() string { return string(c.fault) + " at " + c.command + ": " + c.point }

// statePoints is where each state is met for the faults that are not the
// migrator's own death: one point in each, the most delicate.
var statePoints = []struct{ command, point string }{
	{"move", "copying.after_chunk"},
	{"move", "tailing.after_journal"},
	{"move", "verifying.after_journal"},
	{"move", "holding.after_hold"},
	{"move", "freezing.after_freeze"},
	{"move", "freezing.before_commit"},
	{"move", "freezing.after_commit"},
	{"move", "switching.before_activate"},
	{"move", "publishing.before_map"},
	{"move", "soaking.after_journal"},
	{"return", "returning.after_journal"},
	{"return", "freezing.after_freeze"},
	{"return", "freezing.after_commit"},
}

// pointsOf runs each command once and returns the crash points that it passes.
func pointsOf(t *testing.T) map[string][]string {
	f := newField(t, shared.servers)
	points := map[string][]string{}
	run := func(command, at string, args ...string) {
		t.Helper()
		child, err := f.StartMigrator(t.Context(), at, args...)
		must(t, err)
		if at != "" {
			if err := child.Reach(patience); err != nil {
				t.Fatal(err)
			}
			child.Kill()
		} else {
			must(t, child.Wait())
		}
		if command != "" {
			points[command] = child.Points()
		}
	}
	f.Start(t.Context(), field.Crowd{Writers: 2, Buckets: moved, Pause: writePause})
	waitFor(t, "writes", func() bool { return f.Book.Writes() > 20 })
	run("", "freezing.after_freeze", "bucket", "move", movedList, "--to", "gamma")
	run("resume", "", "resume")
	run("return", "", "bucket", "return", movedList[:1])
	run("", "", "bucket", "finish", movedList[:1])
	run("", "holding.after_hold", "bucket", "move", movedList, "--to", "gamma")
	moves, err := f.Moves(t.Context())
	must(t, err)
	run("abort", "", "abort", moves[len(moves)-1].ID)
	run("move", "", "bucket", "move", movedList, "--to", "gamma")
	run("finish", "", "bucket", "finish", movedList[:1])
	must(t, f.Stop())
	verdict, err := f.Judge(t.Context())
	must(t, err)
	for _, finding := range verdict.Findings() {
		t.Error(finding)
	}
	return points
}

// allCases lists every case.
func allCases(t *testing.T) []faultCase {
	var cases []faultCase
	points := pointsOf(t)
	for _, command := range []string{"move", "return", "finish", "abort", "resume"} {
		for _, p := range points[command] {
			// What a resume passes after its takeover, the move passes too.
			if command == "resume" && !strings.HasPrefix(p, "resume.") {
				continue
			}
			cases = append(cases, faultCase{command, p, killMigrator})
		}
	}
	for _, f := range []fault{replaced, cutSource, cutTarget, killSource, killTarget} {
		for _, s := range statePoints {
			if !slices.Contains(points[s.command], s.point) {
				t.Errorf("%s passes no crash point %s: bring statePoints up to date", s.command, s.point)
			}
			cases = append(cases, faultCase{s.command, s.point, f})
		}
	}
	return cases
}

// share is the part of the cases that a run tries which does not try all: one
// in so many.
const share = 6

// quick says whether a case is among those that a test run tries: a share that
// is drawn anew in each run, so that a few runs meet every case, and the
// migrator killed at the commit point always.
func (c faultCase) quick(turn uint32) bool {
	if c.fault == killMigrator && c.command == "move" && c.point == "freezing.after_commit" {
		return true
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(c.String()))
	return (sum.Sum32()%share+turn)%share == 0
}

const (
	// patience is when a case gives up. None that passes comes near it.
	patience = 90 * time.Second
	poll     = 10 * time.Millisecond
)

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	testrun.Until(t, what, func() error {
		if !ready() {
			return errors.New("it is not so")
		}
		return nil
	})
}
