package parity

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/internal/parity"
)

// mirrors is a proxy's admin server whose counts a test changes.
type mirrors struct {
	mu     sync.Mutex
	began  time.Time
	counts parity.Counts
	gone   bool
	base   string
}

func newMirrors(t *testing.T) *mirrors {
	m := &mirrors{began: time.Now().Add(-time.Hour)}
	m.base = serve(t, func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.gone {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		says(counted(m.began, m.counts.Same, m.counts.Different, m.counts.Failed))(w, r)
	})
	return m
}

// compares adds requests.
func (m *mirrors) compares(same, different, failed uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Same, m.counts.Different, m.counts.Failed = m.counts.Same+same, m.counts.Different+different, m.counts.Failed+failed
}

// watched is a Watch of some proxies, with a clock that a test turns.
type watched struct {
	t     *testing.T
	w     Watch
	bases []string
	now   time.Time
}

func (w *watched) after(d time.Duration, want Level, words ...string) {
	w.t.Helper()
	w.now = w.now.Add(d)
	j := w.w.Judge(Gate{DifferentMax: 0.001}, collect(w.t, w.bases...), w.now)
	if j.Level != want {
		w.t.Errorf("got %+v, want %s", j, want)
	}
	for _, word := range words {
		if !strings.Contains(j.Reason, word) {
			w.t.Errorf("%q is not in %q", word, j.Reason)
		}
	}
}

func watching(t *testing.T, all ...*mirrors) *watched {
	w := &watched{t: t, now: time.Unix(1_800_000_000, 0)}
	for _, m := range all {
		w.bases = append(w.bases, m.base)
	}
	return w
}

func TestAnOldFaultDoesNotFailAndAnOldSuccessDoesNotPass(t *testing.T) {
	for name, past := range map[string]parity.Counts{"an old fault": {Same: 1000, Different: 1000}, "an old success": {Same: 1_000_000}} {
		t.Run(name, func(t *testing.T) {
			m := newMirrors(t)
			m.counts = past
			w := watching(t, m)
			w.after(0, Unknown, "0 of 0", "since ")
			m.compares(100, 0, 0)
			w.after(time.Second, Unknown, "0 of 100", "too few")
			m.compares(10_000, 0, 0)
			w.after(time.Second, Passed, "0 of 10100")
		})
	}
}

func TestOneDifferingAnswerOfAFewHoldsAndThreeFail(t *testing.T) {
	m := newMirrors(t)
	w := watching(t, m)
	w.after(0, Unknown)
	m.compares(50, 2, 0)
	w.after(time.Second, Unknown, "2 of 52")
	m.compares(50, 1, 0)
	w.after(time.Second, Failed, "3 of 103")
}

func TestAGoodPastOfTheSameWatchHidesNoBadPresentAndNoSilence(t *testing.T) {
	m := newMirrors(t)
	w := watching(t, m)
	w.after(0, Unknown)
	for range 24 { // two hours
		m.compares(50_000, 0, 0)
		w.after(lately, Passed)
	}
	m.compares(9_500, 500, 0) // 5 % of what is new, 0.04 % of all
	w.after(time.Minute, Failed, "lately", "500 of 60000")
	for _, want := range []Level{Failed, Failed, Passed} {
		m.compares(50_000, 0, 0)
		w.after(lately, want)
	}
	w.after(time.Second, Passed)
	w.after(lately, Passed)
	w.after(lately, Unknown, "nothing was compared for 5m0s")
	m.compares(20_000, 0, 0)
	w.after(time.Second, Passed)
}

func TestAProxyThatWasNotThereAtFirstBringsNoPast(t *testing.T) {
	a, b := newMirrors(t), newMirrors(t)
	b.counts, b.gone = parity.Counts{Same: 10, Different: 500}, true
	w := watching(t, a, b)
	w.after(0, Unknown, "1 of 2 proxies")
	a.compares(20_000, 0, 0)
	w.after(time.Second, Unknown, "1 of 2 proxies")
	b.mu.Lock()
	b.gone = false
	b.mu.Unlock()
	w.after(time.Second, Passed, "0 of 20000")
	b.compares(500, 500, 0)
	w.after(time.Second, Failed, "500 of 21000")
}

func TestAProxyThatBeganAnewCountsWithAllThatItHas(t *testing.T) {
	m := newMirrors(t)
	m.counts = parity.Counts{Same: 5000, Different: 500}
	w := watching(t, m)
	w.after(0, Unknown)
	m.mu.Lock()
	m.began, m.counts = time.Now(), parity.Counts{Same: 900, Different: 10}
	m.mu.Unlock()
	w.after(time.Second, Failed, "10 of 910")
}
