package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"drover/bench/internal/times"
)

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
	for _, want := range []string{"there           p50   30.0 ms", "back            never", "part", "2 × reason"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}
