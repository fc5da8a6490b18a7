package pace

import (
	"context"
	"sync"
	"testing"
	"time"
)

func TestTurnsAreDueAtTheRateWhoeverTakesThem(t *testing.T) {
	began := time.Unix(1_000, 0)
	for _, c := range []struct {
		rate, n int
		last    time.Duration
	}{
		{1, 4, 3 * time.Second},
		{300, 301, time.Second},
		{300, 2, 3_333_333 * time.Nanosecond}, // and no error adds up:
		{7, 7*3600 + 1, time.Hour},
		{RateMax, 3, 20 * time.Microsecond},
	} {
		p := New(c.rate, began)
		var mu sync.Mutex
		var last time.Time
		var writers sync.WaitGroup
		left := make(chan struct{}, c.n)
		for range c.n {
			left <- struct{}{}
		}
		close(left)
		for range 4 {
			writers.Go(func() {
				for range left {
					due := p.due()
					mu.Lock()
					if due.After(last) {
						last = due
					}
					mu.Unlock()
				}
			})
		}
		writers.Wait()
		if got := last.Sub(began); got != c.last {
			t.Errorf("%d writes at %d/s: the last is due after %s, want %s", c.n, c.rate, got, c.last)
		}
	}
}

func TestALateTurnIsGivenAtOnceAndNoneWithoutARatePauses(t *testing.T) {
	late, never := New(1, time.Now().Add(-time.Hour)), New(0, time.Now())
	for range 1000 { // of the hour's 3600
		for _, p := range []*Pacer{late, never} {
			if _, ok := p.Wait(t.Context()); !ok {
				t.Fatal("a turn that is due was not given")
			}
		}
	}
	if time.Since(never.began) > 30*time.Minute {
		t.Error("they paused")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, p := range []*Pacer{late, never, New(1, time.Now().Add(time.Hour))} {
		if _, ok := p.Wait(ended); ok {
			t.Errorf("%s: a write was sent after the end", p)
		}
	}
}

func TestTheIdleShareIsOfAllCores(t *testing.T) {
	i := Idle{began: time.Unix(0, 0), busy: time.Minute, cores: 4}
	for _, c := range []struct {
		busy, after time.Duration
		want        float64
	}{
		{10 * time.Second, 10 * time.Second, 0.75},
		{0, time.Second, 1},
		{40 * time.Second, 10 * time.Second, 0},
		{41 * time.Second, 10 * time.Second, 0}, // by a tick
		{0, 0, 0},
	} {
		if got := i.shareOf(i.busy+c.busy, i.began.Add(c.after)); got != c.want {
			t.Errorf("%s busy in %s: %v idle, want %v", c.busy, c.after, got, c.want)
		}
	}
	now, err := WatchIdle()
	if err != nil {
		t.Fatal(err)
	}
	if share, err := now.Share(now.began.Add(time.Second)); err != nil || share < 0 || share > 1 {
		t.Errorf("%v idle, error %v", share, err)
	}
}
