package main

import (
	"strings"
	"testing"

	"drover/tools/moves/internal/field"
)

// quickRun is a run on the tests' servers, which are not durable.
func quickRun(t *testing.T, sabotage field.Sabotage, moves int) (*result, string) {
	t.Helper()
	o := defaults()
	o.moves, o.writers, o.buckets, o.at, o.group, o.seed, o.sabotage = moves, 6, 8, 2, 2, 7, sabotage
	if sabotage == field.None {
		o.writers = 3 // nothing is to be hit by chance; who dwells measures the stalls
	}
	must(t, o.validate())
	r, err := onServers(t.Context(), o, shared.servers, field.Options{Program: shared.migrator, Dir: t.TempDir(), Database: database()}, t.Logf)
	must(t, err)
	var out strings.Builder
	err = r.print(&out)
	if (err == nil) != r.green() {
		t.Errorf("print returned %v, and green is %v", err, r.green())
	}
	t.Log(out.String())
	return r, out.String()
}

func TestALedgerRunIsGreen(t *testing.T) {
	t.Parallel()
	r, out := quickRun(t, field.None, 8)
	if !r.green() || !strings.HasSuffix(out, "GREEN\n") {
		t.Error("the run found something")
	}
	if stalls := len(r.singles) + len(r.groups); r.moves == 0 || stalls != r.moves || r.idle < 0 || r.idle > 1 {
		t.Errorf("%d moves, %d given up, %d stalls, %g of the CPU time idle: want a stall of each move", r.moves, r.givenUp, stalls, r.idle)
	}
	if !strings.Contains(out, "moves of one bucket: p50") || !strings.Contains(out, "moves of several buckets: p50") {
		t.Error("the stalls of single buckets and of groups are not told apart")
	}
}

// A checker that cannot fail proves nothing.
func TestALedgerRunWithoutOneRuleIsRed(t *testing.T) {
	for _, s := range field.Sabotages() {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			r, _ := quickRun(t, s, 3)
			if r.verdict.Green() {
				t.Error("the book found nothing")
			}
		})
	}
}

func TestIdleTimeIsWhatNoCPUWorked(t *testing.T) {
	before, err := parseCPU("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n")
	must(t, err)
	after, err := parseCPU("cpu  150 0 100 880 70 0 0 0 9 9\n")
	must(t, err)
	if idle := after.idleSince(before); idle != 0.5 {
		t.Errorf("%g of the time idle, want 0.5", idle)
	}
	for _, text := range []string{"", "cpu 1 2 3", "cpu a b c d e f g h"} {
		if _, err := parseCPU(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
