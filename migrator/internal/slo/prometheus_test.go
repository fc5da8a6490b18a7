package slo

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drover/internal/testrun"
	"drover/tools/testservers"
)

// waitFor asks until the verdict is so, with traffic between.
func waitFor(t *testing.T, e *Evaluator, traffic func(), level Level, words ...string) Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	looks := testrun.NewPace(50 * time.Millisecond) // the figures come every 200 ms
	defer looks.Stop()
	for {
		traffic()
		v := e.Evaluate(t.Context())
		all := v.Level == level
		for _, word := range words {
			all = all && strings.Contains(v.Reason, word)
		}
		if all {
			return v
		}
		if !looks.Wait(ctx) {
			t.Fatalf("never %s with %q; the last: %s", level, words, v.Reason)
		}
	}
}

// wellIn is traffic that is well through every proxy.
func wellIn(fleet []*fakeProxy) func() {
	return func() {
		for _, p := range fleet {
			well(p)
		}
	}
}

// scraped is an evaluator that asks a Prometheus which scrapes the proxies, with one
// pair of windows.
func scraped(t *testing.T, pair Pair, fleet ...*fakeProxy) (*Evaluator, *testservers.Prometheus) {
	t.Helper()
	var targets []string
	for _, p := range fleet {
		targets = append(targets, fmt.Sprintf("%q", strings.TrimPrefix(p.URL, "http://")))
	}
	server := testservers.StartPrometheus(t, map[string]string{"prometheus.yml": fmt.Sprintf(`
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
  - job_name: drover-proxy
    static_configs: [{targets: [%s]}]
`, strings.Join(targets, ", "))})
	c := Default()
	c.Source.Kind, c.Source.URL = KindPrometheus, server.URL()
	c.Source.MaxAge = time.Second
	c.Windows = Windows{Scale: 1, Page: []Pair{pair}}
	c.Objectives = []Objective{availability(), latency()}
	e, err := New(c, Options{Datacenters: []string{"legacy", "cloud"}, Expect: expecting})
	if err != nil {
		t.Fatal(err)
	}
	return e, server
}

func TestAnOutageAtARealPrometheusHoldsOnceAndUntilTheShortestWindowIsWhole(t *testing.T) {
	t.Parallel()
	const whole, outage = 4 * time.Second, 1600 * time.Millisecond
	proxy := newFakeProxy(t, "legacy", "cloud")
	e, _ := scraped(t, Pair{14.4, 6 * time.Second, whole}, proxy)
	traffic := func() { well(proxy) }
	waitFor(t, e, traffic, Healthy)
	proxy.set(nil, func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	down := waitFor(t, e, traffic, Unknown, "cannot be scraped").At
	for waitFor(t, e, traffic, Unknown).At.Sub(down) < outage { // which is what is tried
	}
	proxy.set(nil, nil)
	waitFor(t, e, traffic, Unknown, "had figures in", "of the last 5s only: wait")
	back := waitFor(t, e, traffic, Healthy)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	looks := testrun.NewPace(50 * time.Millisecond)
	defer looks.Stop()
	for v := back; v.At.Sub(back.At) < whole+outage && looks.Wait(ctx); {
		traffic()
		switch v = e.Evaluate(ctx); {
		case strings.Contains(v.Reason, "scraped"): // a busy machine, and another outage
			t.Logf("not told after %v: %s", v.At.Sub(back.At), v.Reason)
			return
		case v.Level == Unknown:
			t.Fatalf("held again after %v: %s", v.At.Sub(back.At), v.Reason)
		}
	}
}

func TestACopyOfAPageBehindARealPrometheusIsUnknownAndHeals(t *testing.T) {
	t.Parallel()
	fleet := []*fakeProxy{newFakeProxy(t, "legacy", "cloud"), newFakeProxy(t, "legacy", "cloud")}
	e, _ := scraped(t, Pair{14.4, 6 * time.Second, 4 * time.Second}, fleet...)
	traffic := wellIn(fleet)
	var scrapes atomic.Int64
	alive := func(page string) string {
		return page + fmt.Sprintf("# TYPE %s counter\n%s %d\n", aliveFamily, aliveFamily, scrapes.Add(1))
	}
	fleet[1].set(alive, nil)
	waitFor(t, e, traffic, Healthy)
	var once sync.Once
	page := ""
	fleet[1].set(func(now string) string { once.Do(func() { page = alive(now) }); return page }, nil)
	waitFor(t, e, traffic, Unknown, "1 proxies cannot be judged", "the same "+aliveFamily+" for 2s")
	fleet[1].set(alive, nil)
	waitFor(t, e, traffic, Healthy)
}

func TestARealPrometheusIsJudgedAndEveryGapInItIsUnknown(t *testing.T) {
	t.Parallel()
	fleet := []*fakeProxy{newFakeProxy(t, "legacy", "cloud"), newFakeProxy(t, "legacy", "cloud")}
	e, server := scraped(t, Pair{14.4, 3 * time.Second, 2 * time.Second}, fleet...)
	traffic := wellIn(fleet)
	fleet[0].set(func(page string) string {
		return page + fmt.Sprintf("%s 1\n%s 90\n", cohortKnownFamily, cohortWindowFamily)
	}, nil)
	want(t, e.Evaluate(t.Context()), Unknown, "prometheus")
	waitFor(t, e, traffic, Healthy)
	if w := e.CohortWindow(); w != 90*time.Second {
		t.Errorf("the cohort's window is %v: want 90s", w)
	}

	v := waitFor(t, e, func() {
		for _, p := range fleet {
			p.add("legacy", Stayed, users{good: 10_000})
			p.add("cloud", Stayed, users{good: 5000})
			p.add("cloud", Moved, users{good: 98, failed: 2})
		}
	}, Burning, "cloud, moved")
	for _, f := range v.Figures {
		if f.Cohort == "" && f.Level == Burning {
			t.Errorf("the global ratio shows it: %+v", f)
		}
	}
	waitFor(t, e, traffic, Healthy)

	fleet[1].set(func(string) string { return "" }, nil)
	waitFor(t, e, traffic, Unknown, "has no drover_proxy_responses_total now")
	fleet[1].set(nil, func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	waitFor(t, e, traffic, Unknown, "cannot be scraped")
	fleet[1].set(func(page string) string {
		return strings.ReplaceAll(page, `{datacenter="cloud",class="2xx"} `, `{datacenter="cloud",class="2xx"} NaN #`)
	}, nil)
	waitFor(t, e, traffic, Unknown)
	fleet[1].set(func(page string) string {
		var kept []string
		for line := range strings.Lines(page) {
			if !strings.Contains(line, `cohort="moved"`) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}, nil)
	waitFor(t, e, traffic, Unknown, "cloud, moved")
	fleet[1].set(nil, nil)
	waitFor(t, e, traffic, Healthy)

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	want(t, e.Evaluate(t.Context()), Unknown, "source.url")
}

func TestAPrometheusThatLiesOrWarnsIsUnknown(t *testing.T) {
	t.Parallel()
	vector := func(value string) string {
		return fmt.Sprintf(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"instance":"a","datacenter":"cloud","class":"2xx"},"value":[%d,%q]}]}}`,
			time.Now().Unix(), value)
	}
	for name, c := range map[string]struct{ answer, say string }{
		"not JSON":     {"hello", "prometheus"},
		"error":        {`{"status":"error","errorType":"bad_data","error":"no way"}`, "no way"},
		"warning":      {strings.Replace(vector("1"), `"success"`, `"success","warnings":["one store is gone"]`, 1), "one store is gone"},
		"scalar":       {`{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`, "want a vector"},
		"nothing":      {`{"status":"success","data":{"resultType":"vector","result":[]}}`, "no target up{"},
		"down":         {vector("0"), "cannot be scraped"},
		"NaN":          {vector("NaN"), "cannot be scraped"},
		"too long":     {`{"status":"success","warnings":["` + strings.Repeat("x", 100<<10) + `"]}`, "longer than"},
		"another kind": {`{"status":"success","data":{"resultType":"strange","result":[]}}`, "prometheus"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(c.answer)) }))
			defer server.Close()
			config := Default()
			config.Source.Kind, config.Source.URL, config.Source.AnswerMax = KindPrometheus, server.URL, 64<<10
			config.Objectives = []Objective{availability()}
			e, err := New(config, Options{})
			if err != nil {
				t.Fatal(err)
			}
			want(t, e.Evaluate(t.Context()), Unknown, c.say)
		})
	}
}

func TestNumbersThatNoCounterHasAreUnknown(t *testing.T) {
	t.Parallel()
	for _, lie := range []string{"NaN", "+Inf", "-1"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query, value := r.FormValue("query"), "1"
			if strings.Contains(query, "timestamp(") {
				value = fmt.Sprint(time.Now().Unix())
			} else if strings.Contains(query, "increase(") {
				value = lie
			}
			metric := `{"instance":"a","datacenter":"cloud","class":"2xx"}`
			if strings.Contains(query, "known_since") {
				value = "0"
			}
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":%s,"value":[1,%q]}]}}`, metric, value)
		}))
		config := Default()
		config.Source.Kind, config.Source.URL = KindPrometheus, server.URL
		config.Objectives = []Objective{availability()}
		config.Objectives[0].Cohorts = []Cohort{All}
		e, err := New(config, Options{})
		if err != nil {
			t.Fatal(err)
		}
		want(t, e.Evaluate(t.Context()), Unknown, "which no counter does")
		server.Close()
	}
}
