package promote

import (
	"slices"
	"testing"
)

func TestEveryStateIsInTheTableAndReached(t *testing.T) {
	states := States()
	if len(states) != len(Next) {
		t.Errorf("States has %d, Next %d", len(states), len(Next))
	}
	reached := map[State]bool{Planned: true}
	for _, from := range states {
		next, known := Next[from]
		if !known {
			t.Errorf("%s is not in Next", from)
		}
		for _, to := range next {
			if !slices.Contains(states, to) {
				t.Errorf("%s goes to %s, which is no state", from, to)
			}
			reached[to] = true
		}
	}
	for _, s := range states {
		if !reached[s] {
			t.Errorf("nothing goes to %s", s)
		}
	}
}

func TestNothingPastTheCommitPointCanBeAborted(t *testing.T) {
	past := map[State]bool{}
	var follow func(State)
	follow = func(s State) {
		if past[s] {
			return
		}
		past[s] = true
		for _, next := range Next[s] {
			follow(next)
		}
	}
	follow(Switching)
	for s := range past {
		if abortable(s) || s == Aborted || s == CatchingUp {
			t.Errorf("from switching a promotion comes to %s", s)
		}
	}
	for _, s := range []State{Planned, Replicating, CatchingUp, Holding, Freezing} {
		if !abortable(s) {
			t.Errorf("%s cannot be aborted", s)
		}
	}
}

func TestEveryStateThatDoesNotRestHasAStep(t *testing.T) {
	r := &run{Engine: &Engine{}}
	for _, s := range States() {
		if _, has := r.steps()[s]; has == (len(Next[s]) == 0) {
			t.Errorf("%s: a step: %t", s, has)
		}
	}
}
