package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/tools/demo/internal/ledger"
)

const testDay = "2026-11-21"

// application is a sample application in memory, with the faults that a test
// asks for.
type application struct {
	mu    sync.Mutex
	seen  map[string]bool // by user and request id
	steps map[string]*shown

	refuse func(n int) int // the status of the n-th write; 0: it is carried out
	lose   bool            // every write is acknowledged, and none is carried out
	repeat bool            // every write is carried out twice
	writes int
}

func newApplication() *application {
	return &application{seen: map[string]bool{}, steps: map[string]*shown{}}
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	user := r.Header.Get(identityHeader)
	of := func(key string) *shown {
		if a.steps[user+" "+key] == nil {
			a.steps[user+" "+key] = &shown{}
		}
		return a.steps[user+" "+key]
	}
	w.Header().Set("Drover-Datacenter", "legacy")
	show := func(s *shown) {
		if err := json.NewEncoder(w).Encode(s); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case r.Method == http.MethodPost:
		var body struct {
			ID    string `json:"request_id"`
			Day   string `json:"day"`
			Steps int64  `json:"steps"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if a.writes++; a.refuse != nil && a.refuse(a.writes) != 0 {
			http.Error(w, "refused", a.refuse(a.writes))
			return
		}
		day, all := of(body.Day), of("")
		if !a.seen[user+body.ID] && !a.lose {
			a.seen[user+body.ID] = true
			for range map[bool]int{false: 1, true: 2}[a.repeat] {
				day.Steps += body.Steps
				day.Requests++
				all.Lifetime += body.Steps
				all.Updates++
			}
		}
		fmt.Fprintf(w, `{"total":%d,"instance":"legacy-1","datacenter":"legacy","shard":"alpha"}`, day.Steps)
	case strings.HasSuffix(r.URL.Path, "/profile"):
		show(of(""))
	case strings.Contains(r.URL.Path, "/steps/"):
		show(of(path.Base(r.URL.Path)))
	default:
		fmt.Fprintln(w, "ok")
	}
}

// play runs a generator against the application for some time.
func play(t *testing.T, a *application, rate int, lasting time.Duration) (Figures, []Problem) {
	t.Helper()
	server := httptest.NewServer(a)
	defer server.Close()
	var mu sync.Mutex
	var problems []Problem
	g := New(Options{URL: server.URL, Rate: rate, Ledger: ledger.New(20, []string{testDay}), Problem: func(p Problem) {
		mu.Lock()
		defer mu.Unlock()
		problems = append(problems, p)
	}})
	g.Heat([]ledger.User{1, 2})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { g.Run(ctx) })
	for _, step := range []func(context.Context) error{
		g.Resume, func(ctx context.Context) error { sleep(ctx, lasting); return nil }, g.Pause,
	} {
		if err := step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	running.Wait()
	return g.Take(), problems
}

func TestTruthfulApplicationPasses(t *testing.T) {
	f, problems := play(t, newApplication(), 1000, 300*time.Millisecond)
	if f.Errors != 0 || f.Stale != 0 || f.Retries != 0 {
		t.Errorf("%d errors, %d stale, %d retries; want none: %+v", f.Errors, f.Stale, f.Retries, problems)
	}
	if f.Requests < 100 || f.Requests != len(f.Waits) {
		t.Errorf("%d requests and %d waits", f.Requests, len(f.Waits))
	}
	if f.Longest() < f.Percentile(0.5) || f.Percentile(0.5) <= 0 {
		t.Errorf("the longest wait is %v, the median %v", f.Longest(), f.Percentile(0.5))
	}
}

func TestLostWritesMakeReadsStale(t *testing.T) {
	a := newApplication()
	a.lose = true
	if f, _ := play(t, a, 500, 200*time.Millisecond); f.Stale == 0 || f.Errors != 0 {
		t.Errorf("%d stale, %d errors; want stale reads alone", f.Stale, f.Errors)
	}
}

func TestDuplicatedWritesAreTooMuch(t *testing.T) {
	a := newApplication()
	a.repeat = true
	f, problems := play(t, a, 500, 200*time.Millisecond)
	if f.Stale == 0 {
		t.Errorf("nothing was found: %+v", f)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.What, "too much") {
			t.Errorf("%q: want too much", p.What)
		}
	}
}

func TestRefusedWriteIsAnErrorAndIsSentAgain(t *testing.T) {
	a := newApplication()
	a.refuse = func(n int) int {
		if n == 1 {
			return http.StatusMisdirectedRequest
		}
		return 0
	}
	f, problems := play(t, a, 200, 300*time.Millisecond)
	if f.Errors != 1 || f.Retries != 1 || f.Stale != 0 || len(problems) != 1 {
		t.Errorf("%d errors, %d retries, %d stale: %+v; want one error and one retry", f.Errors, f.Retries, f.Stale, problems)
	}
}

func TestWaitIsMeasuredFromWhenTheRequestWasDue(t *testing.T) {
	const held = 150 * time.Millisecond
	var once sync.Once
	a := newApplication()
	a.refuse = func(int) int {
		once.Do(func() { time.Sleep(held) }) // under the lock: all others wait too
		return 0
	}
	f, _ := play(t, a, 200, 300*time.Millisecond)
	waited := 0
	for _, wait := range f.Waits {
		if wait > held/2 {
			waited++
		}
	}
	if f.Longest() < held || waited < 5 {
		t.Errorf("the longest wait is %v, and %d requests waited for longer than %v", f.Longest(), waited, held/2)
	}
}

func TestNobodyLandsSomewhere(t *testing.T) {
	server := httptest.NewServer(newApplication())
	defer server.Close()
	g := New(Options{URL: server.URL, Rate: 1, Ledger: ledger.New(1, []string{testDay}), Problem: func(Problem) {}})
	if datacenter, ok := g.Nobody(t.Context()); datacenter != "legacy" || !ok {
		t.Errorf("%q, %v; want legacy", datacenter, ok)
	}
}

func TestJobTriesTheOtherDatacenter(t *testing.T) {
	home, elsewhere := newApplication(), newApplication()
	elsewhere.refuse = func(int) int { return http.StatusMisdirectedRequest }
	var addresses []string
	for _, a := range []*application{elsewhere, home} {
		server := httptest.NewServer(a)
		defer server.Close()
		addresses = append(addresses, strings.TrimPrefix(server.URL, "http://"))
	}
	book := ledger.New(20, []string{testDay})
	j := NewJob(JobOptions{Applications: [][]string{addresses[:1], addresses[1:]}, Writers: 2, Rate: 200, Ledger: book,
		Problem: func(p Problem) { t.Errorf("%+v", p) }})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { j.Run(ctx) })
	j.Resume()
	for f := j.Figures(); f.Writes < 20 || f.Refused < 5; f = j.Figures() {
		if ctx.Err() != nil {
			t.Fatalf("the job does not get on: %+v", f)
		}
		sleep(ctx, time.Millisecond)
	}
	j.Pause()
	f := j.Figures()
	cancel()
	j.Resume()
	running.Wait()
	var acknowledged int64
	for user := range book.Users() {
		acknowledged += book.Floor(ledger.User(user+1), ledger.Lifetime).Writes
	}
	if int64(f.Writes) != acknowledged || f.Failed != 0 {
		t.Errorf("%+v, and %d acknowledged", f, acknowledged)
	}
}
