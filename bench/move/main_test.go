package main

import (
	"strings"
	"testing"
	"time"

	"drover/bench/internal/times"
)

func TestTheGateFailsForEachTargetThatIsMissed(t *testing.T) {
	for _, c := range []struct {
		move, dump, apply time.Duration
		missed            int
	}{
		{700 * time.Millisecond, time.Second, time.Second, 0},
		{710 * time.Millisecond, time.Second, time.Second, 1},
		{700 * time.Millisecond, time.Second, 2 * time.Second, 1},
		{time.Second, time.Second, 2 * time.Second, 2},
	} {
		b := bench{rows: 1000, rounds: 1, changes: 40_000, gate: true,
			move: times.Times{c.move}, dump: times.Times{c.dump}, load: times.Times{time.Second}, apply: times.Times{c.apply}}
		missed := 0
		if err := b.print(new(strings.Builder)); err != nil {
			missed = strings.Count(err.Error(), "want")
		}
		if missed != c.missed {
			t.Errorf("%v: %d targets missed, want %d", c, missed, c.missed)
		}
	}
}

func TestABacklogTransactionMakesTenChangesAndTheNextUndoesTheOthers(t *testing.T) {
	first, second := backlogTransaction("u", 0), backlogTransaction("u", 1)
	if n := strings.Count(first, "INSERT"); n != 3 || strings.Count(second, "INSERT") != 3 {
		t.Errorf("%d inserts, want 3", n)
	}
	if !strings.Contains(first, "IN ('2026-01-07','2026-01-08','2026-01-09')") || !strings.Contains(second, "IN ('2026-02-07','2026-02-08','2026-02-09')") {
		t.Errorf("%s\n%s", first, second)
	}
}
