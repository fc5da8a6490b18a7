package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bench/internal/times"
)

func TestWritesAreDueAtTheRateWhoeverTakesThem(t *testing.T) {
	began := time.Unix(1_000, 0)
	for _, c := range []struct {
		rate, n int
		last    time.Duration
	}{
		{1, 4, 3 * time.Second},
		{300, 301, time.Second},
		{300, 2, 3_333_333 * time.Nanosecond}, // and no error adds up:
		{7, 7*3600 + 1, time.Hour},
		{rateMax, 3, 20 * time.Microsecond},
	} {
		p := newPacer(c.rate, began)
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

func TestALateWriteIsSentAtOnceAndNoneWithoutARatePauses(t *testing.T) {
	late, never := newPacer(1, time.Now().Add(-time.Hour)), newPacer(0, time.Now())
	for range 1000 { // of the hour's 3600
		if !late.wait(t.Context()) || !never.wait(t.Context()) {
			t.Fatal("a write was not sent")
		}
	}
	if time.Since(never.began) > 30*time.Minute {
		t.Error("they paused")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, p := range []*pacer{late, never, newPacer(1, time.Now().Add(time.Hour))} {
		if p.wait(ended) {
			t.Errorf("%s: a write was sent after the end", p)
		}
	}
}

func TestTheIdleShareIsOfAllCores(t *testing.T) {
	i := idleness{began: time.Unix(0, 0), busy: time.Minute, cores: 4}
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
	now, err := watchIdle()
	if err != nil {
		t.Fatal(err)
	}
	if share, err := now.share(now.began.Add(time.Second)); err != nil || share < 0 || share > 1 {
		t.Errorf("%v idle, error %v", share, err)
	}
}

func TestEachDirectionIsJudgedByItself(t *testing.T) {
	good, slow := times.Times{stallP99}, times.Times{stallP99 + 1}
	for _, c := range []struct {
		m   moved
		rtt time.Duration
		ok  bool
	}{
		{moved{there: good, back: good}, 0, true},
		{moved{there: slow, back: good}, 0, false},
		{moved{there: good, back: slow}, 0, false},
		{moved{there: slow, back: slow}, time.Nanosecond, true},
	} {
		if err := c.m.judge(c.rtt); (err == nil) != c.ok || err != nil && !errors.Is(err, errGate) {
			t.Errorf("there %s, back %s: error %v", c.m.there, c.m.back, err)
		}
	}
	var text strings.Builder
	(&moved{there: good, parts: map[string]times.Times{"part": good}, reasons: map[string]int{"reason": 2}}).print(&text)
	for _, want := range []string{"there     p50   30.0 ms", "back      never", "part", "2 × reason"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}
