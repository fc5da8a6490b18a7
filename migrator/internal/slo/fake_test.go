package slo

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// users are a group's requests so far.
type users struct{ good, failed, none, slow, gone int }

// fakeProxy serves a page as the edge does.
type fakeProxy struct {
	*httptest.Server

	mu     sync.Mutex
	start  int
	groups map[group]users
	spoil  func(page string) string                          // changes the page
	answer func(w http.ResponseWriter, r *http.Request) bool // answers in its place
}

func newFakeProxy(t testing.TB, datacenters ...string) *fakeProxy {
	t.Helper()
	p := &fakeProxy{start: 1_700_000_000, groups: map[group]users{}}
	for _, d := range datacenters {
		for _, c := range []Cohort{All, Moved, Stayed} {
			p.groups[group{d, c}] = users{}
		}
	}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *fakeProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	page, spoil, answer := p.page(), p.spoil, p.answer
	p.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	if spoil != nil {
		page = spoil(page)
	}
	_, _ = w.Write([]byte(page))
}

// add counts requests of a cohort, and so of the datacenter.
func (p *fakeProxy) add(datacenter string, cohort Cohort, u users) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range []group{{datacenter, cohort}, {datacenter, All}} {
		have := p.groups[g]
		p.groups[g] = users{have.good + u.good, have.failed + u.failed, have.none + u.none, have.slow + u.slow, have.gone + u.gone}
	}
}

// restart makes it another process.
func (p *fakeProxy) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start += 1000
	for g := range p.groups {
		p.groups[g] = users{}
	}
}

// set changes how it answers.
func (p *fakeProxy) set(spoil func(string) string, answer func(http.ResponseWriter, *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spoil, p.answer = spoil, answer
}

func (p *fakeProxy) page() string {
	families := map[string]*strings.Builder{}
	line := func(family, format string, args ...any) {
		if families[family] == nil {
			families[family] = &strings.Builder{}
		}
		fmt.Fprintf(families[family], format+"\n", args...)
	}
	for g, u := range p.groups {
		responses, seconds := responsesFamily, secondsFamily
		labels := fmt.Sprintf("datacenter=%q", g.datacenter)
		if g.cohort != All {
			responses, seconds = cohortResponsesFamily, cohortSecondsFamily
			labels += fmt.Sprintf(",cohort=%q", g.cohort)
		}
		for class, n := range map[string]int{"1xx": 0, "2xx": u.good + u.slow, "3xx": 0, "4xx": 0, "5xx": u.failed, "none": u.none, "client_gone": u.gone} {
			line(responses, "%s{%s,class=%q} %d", responses, labels, class, n)
		}
		total := u.good + u.slow + u.failed + u.none + u.gone
		for _, b := range Bounds() {
			n := total
			if b < 500*time.Millisecond {
				n -= u.slow
			}
			line(seconds, "%s_bucket{%s,le=\"%g\"} %d", seconds, labels, b.Seconds(), n)
		}
		line(seconds, "%s_bucket{%s,le=\"+Inf\"} %d\n%s_sum{%s} 1\n%s_count{%s} %d", seconds, labels, total, seconds, labels, seconds, labels, total)
	}
	var page strings.Builder
	for name, b := range families {
		kind := "counter"
		if strings.HasSuffix(name, "_seconds") {
			kind = "histogram"
		}
		fmt.Fprintf(&page, "# TYPE %s %s\n%s", name, kind, b)
	}
	fmt.Fprintf(&page, "# TYPE %s gauge\n%s %d\n", startFamily, startFamily, p.start)
	return page.String()
}

// world is a fleet of fake proxies, and an evaluator with a clock that a test
// turns.
type world struct {
	*Evaluator
	t       *testing.T
	proxies []*fakeProxy
	now     time.Time
}

func availability() Objective {
	return Objective{Name: "availability", Kind: Availability, Target: 0.999, MinEvents: 100}
}

func latency() Objective {
	return Objective{Name: "latency", Kind: Latency, Target: 0.99, Threshold: 250 * time.Millisecond, MinEvents: 100}
}

// expecting has somebody everywhere, and somebody who was moved to cloud.
func expecting(datacenter string, cohort Cohort) bool {
	return cohort != Moved || datacenter == "cloud"
}

func newWorld(t *testing.T, n int, change func(*Config)) *world {
	t.Helper()
	c := Default()
	c.Source.Kind, c.Source.MaxAge = KindProxies, time.Minute
	c.Objectives = []Objective{availability(), latency()}
	w := &world{t: t, now: time.Unix(1_800_000_000, 0)}
	for range n {
		p := newFakeProxy(t, "legacy", "cloud")
		w.proxies = append(w.proxies, p)
		c.Source.URLs = append(c.Source.URLs, p.URL+"/metrics")
	}
	if change != nil {
		change(&c)
	}
	var err error
	w.Evaluator, err = New(c, Options{Datacenters: []string{"legacy", "cloud"}, Expect: expecting, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// step lets an eighth of the shortest window go by, with requests at every proxy.
func (w *world) step(traffic func(p *fakeProxy)) Verdict {
	w.t.Helper()
	w.now = w.now.Add(w.Base() / 8)
	for _, p := range w.proxies {
		traffic(p)
	}
	return w.Evaluate(w.t.Context())
}

// steps lets time go by and returns the last verdict.
func (w *world) steps(d time.Duration, traffic func(p *fakeProxy)) (v Verdict) {
	w.t.Helper()
	for range d / (w.Base() / 8) {
		v = w.step(traffic)
	}
	return v
}

// well is a fleet whose users are well: most stayed, few were moved.
func well(p *fakeProxy) {
	p.add("legacy", Stayed, users{good: 1000})
	p.add("cloud", Stayed, users{good: 50})
	p.add("cloud", Moved, users{good: 20})
} // in every eighth of the shortest window

// want fails the test unless the verdict is so, and says the words.
func want(t *testing.T, v Verdict, level Level, words ...string) {
	t.Helper()
	if v.Level != level {
		t.Errorf("got %s: want %s", v.Reason, level)
		for _, f := range v.Figures[:min(4, len(v.Figures))] {
			t.Logf("%+v", f)
		}
	}
	for _, word := range words {
		if !strings.Contains(v.Reason, word) {
			t.Errorf("%q is not in %q", word, v.Reason)
		}
	}
}
