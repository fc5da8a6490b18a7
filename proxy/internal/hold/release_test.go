package hold

import (
	"sync"
	"testing"
	"time"
)

func TestNoMoreAreLetGoThanAreSent(t *testing.T) {
	const held, unsentMax = 11, 4
	f := newManager(t, func(o *Options) { o.UnsentMax = unsentMax })
	hold := newMap(t, 1, "m", time.Now().Add(time.Minute), 1)
	f.Swap(hold)
	var requests sync.WaitGroup
	for range held {
		requests.Go(func() {
			if o := f.Wait(ticket(hold, 1)); o != Released {
				t.Errorf("got %v", o)
			}
		})
	}
	f.waitHeld(t, held)
	f.Swap(newMap(t, 2, "", time.Now()))
	want := func(released int) {
		t.Helper()
		if got := f.outcome(Released); got != released {
			t.Fatalf("%d let go, want %d", got, released)
		}
	}
	want(unsentMax)
	f.run(t)
	for sent := range held {
		f.waitOutcome(t, Released, min(unsentMax+sent, held))
		f.Sent()
	}
	requests.Wait()
	want(held)
	f.wantBalance(t)
}

func TestThoseThatCannotBeSentDoNotKeepOthersFromGoing(t *testing.T) {
	const held, burst = 30, 8
	f := newManager(t, func(o *Options) { o.UnsentMax, o.ReleaseBurst = held, burst })
	hold := newMap(t, 1, "m", time.Now().Add(time.Minute), 1)
	f.Swap(hold)
	var requests sync.WaitGroup
	for range held {
		requests.Go(func() { f.Wait(ticket(hold, 1)) })
	}
	f.waitHeld(t, held)
	f.Swap(newMap(t, 2, "", time.Now()))
	if got := f.outcome(Released); got != burst {
		t.Fatalf("%d let go at once, want %d", got, burst)
	}
	f.run(t)
	requests.Wait() // none of them was ever sent
	f.waitOutcome(t, Released, held)
	f.wantBalance(t)
}

// One that leaves before its turn is sent like the others.
func TestOneThatDoesNotWaitForItsTurnIsCountedToo(t *testing.T) {
	f := newManager(t, func(o *Options) { o.UnsentMax, o.WaitMax = 1, 20*time.Millisecond })
	hold := newMap(t, 1, "m", time.Now().Add(time.Minute), 1)
	f.Swap(hold)
	var requests sync.WaitGroup
	for range 3 {
		requests.Go(func() {
			f.Wait(ticket(hold, 1))
			f.Sent()
		})
	}
	f.waitHeld(t, 3)
	f.Swap(newMap(t, 2, "", time.Now()))
	requests.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.unsent != 0 {
		t.Errorf("%d unsent", f.mu.unsent)
	}
}
