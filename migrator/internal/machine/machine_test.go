package machine

import (
	"errors"
	"testing"
	"time"
)

type state string

func TestOnlyTheTablesArrowsAreAllowed(t *testing.T) {
	next := map[state][]state{"a": {"b"}, "b": {}}
	for _, c := range []struct {
		from, to state
		ok       bool
	}{{"a", "b", true}, {"a", "a", true}, {"b", "a", false}, {"a", "c", false}} {
		if err := CheckNext(next, c.from, c.to); (err == nil) != c.ok {
			t.Errorf("%s → %s: %v", c.from, c.to, err)
		}
	}
}

func TestPausesDoubleUpToTheMost(t *testing.T) {
	for try, want := range map[int]time.Duration{0: 20, 1: 20, 2: 40, 4: 160, 8: 2000, 1000: 2000} {
		if got := Backoff(try, 20, 2000); got != want {
			t.Errorf("try %d: %d, want %d", try, got, want)
		}
	}
}

func TestNamesDiffer(t *testing.T) {
	a, err1 := NewID("m")
	b, err2 := NewID("m")
	if err1 != nil || err2 != nil || a == b {
		t.Errorf("%s and %s, %v %v", a, b, err1, err2)
	}
}

func TestPatienceEndsWithSuccessOrAnotherFailure(t *testing.T) {
	locked, broken := errors.New("locked"), errors.New("broken")
	busy := func(err error) bool { return errors.Is(err, locked) }
	for _, end := range []error{nil, broken} {
		calls, waits := 0, 0
		err := Patiently(t.Context(), time.Microsecond, time.Millisecond, busy, func(try int) {
			if waits++; try != waits {
				t.Errorf("try %d told as %d", waits, try)
			}
		}, func() error {
			if calls++; calls < 5 {
				return locked
			}
			return end
		})
		if !errors.Is(err, end) || calls != 5 || waits != 4 {
			t.Errorf("%v after %d calls and %d waits, want %v after 5 and 4", err, calls, waits, end)
		}
	}
}
