package load

import (
	"slices"
	"sync"
	"time"
)

// Figures are what was counted over some time.
type Figures struct {
	Requests int // answered or failed; the second tries of a write are not counted
	Errors   int // answers other than 2xx, and no answers; those of second tries too
	Retries  int // second tries of writes
	Stale    int // answers that a check found wrong
	Waits    []time.Duration
	Loaded   time.Duration // how long the load was on
}

// Longest returns the longest wait of a request, 0 when there was none.
func (f Figures) Longest() time.Duration {
	if len(f.Waits) == 0 {
		return 0
	}
	return slices.Max(f.Waits)
}

// Percentile returns the wait that the given share of requests, 0 to 1, did
// not exceed.
func (f Figures) Percentile(share float64) time.Duration {
	if len(f.Waits) == 0 {
		return 0
	}
	waits := slices.Sorted(slices.Values(f.Waits))
	return waits[min(int(share*float64(len(waits))), len(waits)-1)]
}

// Rate returns the requests a second.
func (f Figures) Rate() float64 {
	if f.Loaded <= 0 {
		return 0
	}
	return float64(f.Requests) / f.Loaded.Seconds()
}

// Add adds other figures.
func (f *Figures) Add(o Figures) {
	f.Requests += o.Requests
	f.Errors += o.Errors
	f.Retries += o.Retries
	f.Stale += o.Stale
	f.Waits = append(f.Waits, o.Waits...)
	f.Loaded += o.Loaded
}

// Problem is one answer that was not as it should be, with what helps to find
// out why.
type Problem struct {
	Time       time.Time `json:"time"`
	What       string    `json:"what"`
	Method     string    `json:"method"`
	URL        string    `json:"url"`
	User       string    `json:"user,omitempty"`
	Request    string    `json:"request_id,omitempty"`
	Status     int       `json:"status"`
	Body       string    `json:"body,omitempty"`
	Error      string    `json:"error,omitempty"`
	Datacenter string    `json:"datacenter,omitempty"` // of the edge's headers
	Route      string    `json:"route,omitempty"`
	Version    string    `json:"map_version,omitempty"`
	WaitMS     int64     `json:"wait_ms"`
}

// tally is Figures under way.
type tally struct {
	mu      sync.Mutex
	figures Figures
	since   time.Time // the load is on since then; zero: it is off
}

func (t *tally) count(change func(*Figures)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.figures)
}

// on says that the load is on or off from now.
func (t *tally) on(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle()
	t.since = time.Time{}
	if on {
		t.since = time.Now()
	}
}

// settle adds the time since the load was switched on.
func (t *tally) settle() {
	if !t.since.IsZero() {
		now := time.Now()
		t.figures.Loaded += now.Sub(t.since)
		t.since = now
	}
}

// take returns the figures since the last take.
func (t *tally) take() Figures {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle()
	f := t.figures
	t.figures = Figures{}
	return f
}

// peek returns the figures so far, without the waits.
func (t *tally) peek() Figures {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle()
	f := t.figures
	f.Waits = nil
	return f
}
