package slo

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAPageThatStaysTheSameForTooLongIsUnknownAndHeals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, func(c *Config) { c.Source.MaxAge = 80 * time.Second }) // two steps of 37.5 s, and not three
	want(t, w.steps(6*time.Minute, well), Healthy)
	var once sync.Once
	page := ""
	w.proxies[1].set(func(now string) string { once.Do(func() { page = now }); return page }, nil)
	for i, old := range []string{"", "byte for byte for 37.5s", "byte for byte for 1m15s"} { // taken as new, and then the same
		v := w.step(well)
		want(t, v, Healthy)
		if (v.Old == "") != (i == 0) || !strings.Contains(v.Old, old) {
			t.Errorf("look %d: old %q, want %q", i, v.Old, old)
		}
	}
	want(t, w.step(well), Unknown, "1 of 2 proxies", "byte for byte, for 1m52")
	w.proxies[1].set(nil, nil)
	v := w.step(well)
	want(t, v, Healthy)
	if v.Old != "" {
		t.Errorf("a new page is old: %s", v.Old)
	}
}

func TestAPageOfAnIdleProxyIsNotTakenForACopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, nil)
	looks := 0
	w.proxies[1].set(func(page string) string {
		looks++ // what a program tells of itself
		return page + fmt.Sprintf("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %d\n", looks)
	}, nil)
	busy := w.proxies[0]
	want(t, w.steps(10*time.Minute, func(p *fakeProxy) {
		if p == busy {
			well(p)
		}
	}), Healthy)
}

func TestTheCohortsWindowIsTheLongestThatAProxyTells(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, nil)
	tells := func(n int, window string) {
		w.proxies[n].set(func(page string) string {
			return page + fmt.Sprintf("%s 1\n%s %s\n", cohortKnownFamily, cohortWindowFamily, window)
		}, nil)
	}
	wants := func(window time.Duration) {
		t.Helper()
		w.step(well)
		if got := w.CohortWindow(); got != window {
			t.Errorf("%v, want %v", got, window)
		}
	}
	wants(0)
	tells(0, "600")
	wants(10 * time.Minute)
	tells(2, "1800")
	wants(30 * time.Minute)
	tells(2, "1e300") // and no overflow
	wants(cohortWindowMax)
	tells(2, "60")
	wants(10 * time.Minute)
	tells(0, "NaN") // it is asked about what it said before
	if v := w.step(well); v.Level != Unknown || !strings.Contains(v.Reason, "no count") || w.CohortWindow() != 10*time.Minute {
		t.Errorf("%v, %s", w.CohortWindow(), v.Reason)
	}
}
