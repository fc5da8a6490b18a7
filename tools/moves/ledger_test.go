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
	if r.moves+r.givenUp == 0 || len(r.stalls) == 0 {
		t.Errorf("%d moves and %d stalls: the run proves nothing", r.moves, len(r.stalls))
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
