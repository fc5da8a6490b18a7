package main

import (
	"strings"
	"testing"
	"time"
)

func TestTheTimeBetweenTwoStatesIsThatOfTheEventsThatEnterThem(t *testing.T) {
	events, err := parseEvents(strings.NewReader(`a warning that is no event
{"move":"m-1","state":"copying","at":"2026-01-01T00:00:01Z","entered":true}
{"move":"m-1","state":"copying","at":"2026-01-01T00:00:02Z","rows":100,"entered":false}
{"move":"m-1","state":"tailing","at":"2026-01-01T00:00:03Z","entered":true}
{"move":"m-1","state":"verifying","at":"2026-01-01T00:00:03.5Z","entered":true}
`))
	if err != nil || len(events) != 4 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for _, c := range []struct {
		from, to string
		want     time.Duration
		known    bool
	}{
		{"copying", "verifying", 2500 * time.Millisecond, true},
		{"tailing", "verifying", 500 * time.Millisecond, true},
		{"tailing", "copying", 0, false},
		{"frozen", "copying", 0, false},
	} {
		got, err := between(events, c.from, c.to)
		if got != c.want || (err == nil) != c.known {
			t.Errorf("from %s to %s: %s, %v", c.from, c.to, got, err)
		}
	}
}

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
			move: figures{c.move}, dump: figures{c.dump}, load: figures{time.Second}, apply: figures{c.apply}}
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
