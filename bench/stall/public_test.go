package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drover/bench/internal/events"
	"drover/bench/internal/times"
)

// application answers requests as it is told, and counts them.
func application(t *testing.T, answer func(n int64, r *http.Request) (int, string)) (*public, *visitor) {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, text := answer(n.Add(1), r)
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	p := newPublic(s.Listener.Addr().String(), 0, 1, 8)
	t.Cleanup(p.close)
	return p, p.users[0]
}

func TestARefusedRequestIsSentAgainAndTimedFromItsFirstSending(t *testing.T) {
	t.Parallel()
	var bodies []string
	p, u := application(t, func(n int64, r *http.Request) (int, string) {
		text, _ := io.ReadAll(r.Body)
		bodies = append(bodies, r.Header.Get("X-User-Id")+" "+string(text))
		if n < 4 {
			return http.StatusMisdirectedRequest, "elsewhere"
		}
		return http.StatusOK, `{"steps":7}`
	})
	answer, err := p.send(u, http.MethodPost, "/", "body")
	if err != nil || answer.Steps != 7 || p.refused.Load() != 3 {
		t.Errorf("%+v, %v, %d refused", answer, err, p.refused.Load())
	}
	if want := u.id + " body"; len(bodies) != 4 || slices.ContainsFunc(bodies, func(b string) bool { return b != want }) {
		t.Errorf("it got %q", bodies)
	}
	if len(u.requests) != 1 || u.requests[0].ended.Sub(u.requests[0].began) < 3*requestPause {
		t.Errorf("noted as %v, with three pauses of %s", u.requests, requestPause)
	}
}

func TestARequestThatIsNeverAnsweredWellIsAnErrorWithTheLastAnswer(t *testing.T) {
	t.Parallel()
	p, u := application(t, func(int64, *http.Request) (int, string) { return http.StatusServiceUnavailable, "no map" })
	_, err := p.send(u, http.MethodGet, "/steps", "")
	if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "no map") || p.refused.Load() != requestTries {
		t.Errorf("%v after %d tries", err, p.refused.Load())
	}
	if len(u.requests) != 0 {
		t.Error("it is noted as a success")
	}
}

func TestAReadOlderThanTheUsersOwnWriteIsStale(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var acked int
	p, u := application(t, func(n int64, r *http.Request) (int, string) {
		if r.Method == http.MethodPost {
			acked++
			return http.StatusOK, fmt.Sprintf(`{"steps":%d}`, acked)
		}
		if n == 6 {
			stop()
		}
		if n == 4 { // the second write is not there
			return http.StatusOK, fmt.Sprintf(`{"steps":%d}`, acked-1)
		}
		return http.StatusOK, fmt.Sprintf(`{"steps":%d}`, acked)
	})
	if err := p.use(ctx, u); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if p.reads.Load() != 3 || p.stale.Load() != 1 || u.acked != 3 {
		t.Errorf("%d reads, %d stale, %d writes; want 3, 1, 3", p.reads.Load(), p.stale.Load(), u.acked)
	}
}

func TestTheRequestsOfAMoveAreThoseUnderWayFromItsFirstHoldToItsEnd(t *testing.T) {
	at := func(n int) time.Time { return time.Date(2026, 1, 1, 0, 0, 1, n*int(ms), time.UTC) }
	u, v := &visitor{}, &visitor{}
	u.requests = []request{
		{at(-30), at(-10)}, // before the hold
		{at(-10), at(40)},  // met it
		{at(150), at(160)},
		{at(290), at(350)}, // still under way at the end
		{at(301), at(310)}, // behind it
	}
	v.requests = []request{{at(20), at(240)}}
	p := &public{users: []*visitor{u, v}}
	var r waited
	p.collect(&r, events.Parse([]byte(told)))
	if want := (times.Times{50 * ms, 10 * ms, 60 * ms, 220 * ms}); !slices.Equal(r.took, want) {
		t.Errorf("got %v, want %v", r.took, want)
	}
	if want := (times.Times{220 * ms}); !slices.Equal(r.longest, want) {
		t.Errorf("the longest is %v, want %v", r.longest, want)
	}
	p.collect(&r, events.Parse([]byte(told)))
	if len(r.took) != 4 || len(r.longest) != 2 || r.longest[1] != 0 {
		t.Errorf("requests count for two moves: %v, %v", r.took, r.longest)
	}
}

func TestEveryKindOfHoldIsMeasuredWithOneBucketAndManyAndOneProxyAndMany(t *testing.T) {
	seen := map[holdCase]bool{}
	for _, c := range holdCases() {
		seen[c] = true
	}
	if len(seen) != 8 || !seen[holdCase{reactive, 16, 200}] || !seen[holdCase{proactive, 1, 1}] {
		t.Errorf("got %v", seen)
	}
}
