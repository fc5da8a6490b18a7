package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/internal/parity"
	"drover/internal/testrun"
	"drover/proxy/internal/config"
)

// withMirror mirrors everything between the two datacenters.
func withMirror(change func(*config.Mirror)) func(*config.Config) {
	return func(c *config.Config) {
		c.AccessLog.Path = config.AccessNone
		c.Mirror.Share, c.Mirror.Datacenters = 1, []string{string(legacy), string(cloud)}
		if change != nil {
			change(&c.Mirror)
		}
	}
}

func (r *rig) mirrored() parity.Report {
	r.t.Helper()
	var report parity.Report
	if err := json.Unmarshal([]byte(r.adminGet("/mirror")), &report); err != nil {
		r.t.Fatal(err)
	}
	return report
}

func settledTotal(c parity.Counts) int {
	return int(c.Same + c.Different + c.Noise + c.Dropped + c.Failed + c.Timeout)
}

// judged waits until so many requests have been judged.
func (r *rig) judged(n int) parity.Report {
	r.t.Helper()
	var report parity.Report
	testrun.Until(r.t, "the outcomes", func() error {
		report = r.mirrored()
		if settledTotal(report.Total) < n {
			return fmt.Errorf("only %+v of %d", report.Total, n)
		}
		return nil
	})
	return report
}

// noisy is an application whose answers have random ids, times, flags and
// lists, and a total that is a function of the request; wrong says for which it
// is not. It answers every tenth path in plain text.
func noisy(wrong func(n int) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscanf(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], "%d", &n) //nolint:errcheck // 0 then
		total := n * 17
		if wrong != nil && wrong(n) {
			total++
		}
		w.Header().Set("X-Request-Id", rand.Text())
		if n%10 == 9 {
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprintf(w, "total %d trace=%s", total, rand.Text())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{ //nolint:errcheck // a test's client
			"id": rand.Text(), "at": time.Now().UnixNano(), "total": total, "lucky": mathrand.IntN(2) == 0,
			"tips": make([]string, mathrand.IntN(3)), "days": []any{map[string]any{"date": "2026-01-01", "etag": rand.Text(), "steps": total}},
		})
	}
}

// getAll makes so many requests, by so many clients, and returns how long each
// took, the shortest first.
func (r *rig) getAll(requests, clients int, check func(n int, a answer)) []time.Duration {
	var group sync.WaitGroup
	next := atomic.Int64{}
	took := make([]time.Duration, requests)
	for range clients {
		group.Go(func() {
			for n := int(next.Add(1)) - 1; n < requests; n = int(next.Add(1)) - 1 {
				began := time.Now()
				a := r.do(http.MethodGet, fmt.Sprintf("/1/user/-/steps/%d", n), fmt.Sprintf("u%d", n%997), nil)
				took[n] = time.Since(began)
				check(n, a)
			}
		})
	}
	group.Wait()
	slices.Sort(took)
	return took
}

func TestMirroringFindsOneDifferingAnswerInAThousandAndNoFalseOnes(t *testing.T) {
	t.Parallel()
	n := rounds(3_000, 20_000)
	r := newRig(t, withMirror(func(m *config.Mirror) {
		m.Queue, m.Concurrency, m.Ignore.Text = n, 16, []string{`trace=\w+`}
	}))
	r.apps[legacy].handle(noisy(nil))
	r.apps[cloud].handle(noisy(func(n int) bool { return n%1000 == 500 }))
	r.getAll(n, 8, func(n int, a answer) {
		if a.err != nil || a.status != http.StatusOK {
			t.Errorf("%d: %v", n, a)
		}
	})
	report := r.judged(n)
	wrong := uint64(n / 1000)
	t.Logf("%d requests: %+v, %+v", n, report.Total, report.Differing)
	if report.Total.Different != wrong || settledTotal(report.Total) != n || report.Total.Dropped+report.Total.Failed+report.Total.Timeout != 0 {
		t.Errorf("got %+v, want %d different and nothing dropped or failed", report.Total, wrong)
	}
	if d := report.Differing; d.Compared < uint64(n)*9/10 || d.Lower > 0.001 || d.Upper < 0.001 {
		t.Errorf("got %+v, want an interval around 0.001 of nearly all", d)
	}
	if len(report.Classes) != 1 || report.Classes[0].Class != "GET /{id}/user/-/steps/{id}" || report.Classes[0].Learning {
		t.Fatalf("got %+v", report.Classes)
	}
	var noise []string
	for _, f := range report.Classes[0].Noise {
		noise = append(noise, f.Field)
	}
	for _, want := range []string{"$.id", "$.at", "$.lucky", "$.tips", "$.days[*].etag", "header.x-request-id"} {
		if !slices.Contains(noise, want) {
			t.Errorf("%s is not known to be noise: %v", want, noise)
		}
	}
	for _, e := range report.Examples {
		if len(e.Differences) != 2 || e.Differences[0].Field != "$.days[*].steps" || e.Differences[1].Field != "$.total" || !strings.HasSuffix(e.Path, "500") {
			t.Errorf("got %+v", e)
		}
	}
	if got := r.metric("drover_proxy_mirror_total", `outcome="different"`); got < float64(wrong) {
		t.Errorf("the metric says %v different", got)
	}
}

func TestAMirrorTargetThatHangsOrIsDeadChangesNothingForClients(t *testing.T) {
	const n = 400
	for _, target := range []string{"no mirror", "hangs", "dead"} {
		t.Run(target, func(t *testing.T) {
			release := make(chan struct{})
			r := newRig(t, withMirror(func(m *config.Mirror) {
				m.Queue, m.Concurrency, m.Timeout, m.Noise = 16, 2, time.Minute, "off"
				if target == "no mirror" {
					m.Share = 0
				}
			}))
			defer close(release)
			r.apps[cloud].handle(func(http.ResponseWriter, *http.Request) { <-release })
			if target == "dead" {
				if err := r.apps[cloud].Listener.Close(); err != nil {
					t.Fatal(err)
				}
			}
			r.apps[legacy].handle(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Drover-Mirror") != "" {
					t.Error("a user's request is marked as a mirrored one")
				}
				w.Header()["Date"] = nil
				w.Header().Set("X-Answer", r.URL.Path)
				fmt.Fprint(w, strings.Repeat("x", 1000))
			})
			took := r.getAll(n, 2, func(n int, a answer) {
				want := http.Header{"Content-Length": {"1000"}, "Content-Type": {textPlain}, "X-Answer": {fmt.Sprintf("/1/user/-/steps/%d", n)}}
				if a.err != nil || len(a.body) != 1000 || !reflect.DeepEqual(a.header, want) {
					t.Errorf("%d: %v %v", n, a, a.header)
				}
			})
			report := r.mirrored()
			t.Logf("p50 %v, p99 %v; %+v %v", took[n/2], took[n*99/100], report.Total, report.LastFailure)
			if report.Total.Same+report.Total.Different != 0 || report.Differing.Upper != 1 {
				t.Errorf("got %+v", report)
			}
			// Nobody waited for the other datacenter: one who had would still wait.
			switch {
			case target == "hangs" && report.Drops["queue_full"] != n-18:
				t.Errorf("got %v, want all but those waiting and under way dropped", report.Drops)
			case target == "dead":
				if report = r.judged(n); report.Total.Failed == 0 || report.LastFailure == nil {
					t.Errorf("got %+v", report)
				}
			}
		})
	}
}

const textPlain = "text/plain; charset=utf-8" // as net/http finds it to be

func TestMirroredMemoryIsBounded(t *testing.T) {
	release := make(chan struct{})
	r := newRig(t, withMirror(func(m *config.Mirror) { m.Queue, m.Concurrency, m.Timeout = 10, 2, time.Minute }))
	defer close(release)
	r.apps[cloud].handle(func(http.ResponseWriter, *http.Request) { <-release })
	body := strings.Repeat("y", int(r.config.Mirror.BodyMax))
	long := body + "z"
	r.apps[legacy].handle(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			w.(http.Flusher).Flush() // no Content-Length: it is found too long as it comes
			fmt.Fprint(w, long)
			return
		}
		fmt.Fprint(w, body)
	})
	inUse := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	for range 20 {
		r.want(r.do(http.MethodGet, "/", "u", nil), http.StatusOK, body)
	}
	before := inUse()
	for range 300 {
		r.want(r.do(http.MethodGet, "/", "u", nil), http.StatusOK, body)
	}
	if grown := int64(inUse()) - int64(before); grown > 8<<20 {
		t.Errorf("300 answers of %d bytes took %d bytes of memory", len(body), grown)
	}
	if got := r.mirrored().Drops["queue_full"]; got != 320-12 {
		t.Errorf("%d were dropped", got)
	}
	r2 := newRig(t, withMirror(nil))
	r2.apps[legacy].handle(*r.apps[legacy].handler.Load())
	for range 10 {
		r2.want(r2.do(http.MethodGet, "/long", "u", nil), http.StatusOK, long)
	}
	if got := r2.judged(10); got.Drops["body_max"] != 10 || r2.apps[cloud].served.Load() != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestWhatIsNotMirrored(t *testing.T) {
	t.Parallel()
	r := newRig(t, withMirror(func(m *config.Mirror) { m.Noise = "off" }))
	r.apps[legacy].handle(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "one answer") })
	r.apps[cloud].handle(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Drover-Mirror") != "1" || r.Header.Get("Drover-Datacenter") != string(cloud) || r.Header.Get("Drover-User") != "ann" ||
			r.Header.Get("Cookie") != "a=b" || r.Header.Get("Te") != "" || r.Header.Get("X-Forwarded-For") == "" || r.RequestURI != "/a%2Fb?c=%zz" {
			t.Errorf("got %s %v", r.RequestURI, r.Header)
		}
		fmt.Fprint(w, "one answer")
	})
	send := func(method, user string, change func(*http.Request)) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.clients+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.Opaque = "/a%2Fb?c=%zz"
		request.Header.Set("X-User-Id", user)
		request.Header.Set("Cookie", "a=b")
		request.Header.Set("Te", "trailers")
		if change != nil {
			change(request)
		}
		if a := r.send(request); a.err != nil || a.status != http.StatusOK {
			t.Fatal(a)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		send(method, "ann", nil)
	}
	send("GET", "", nil)
	send("GET", "ann", func(r *http.Request) { r.Header.Set("X-Drover-Mirror", "1") }) // by a peer that is trusted
	// A request that waited for a hold, and those while it lasts.
	b := bucketOf("ann")
	r.publish(holdBucket(b, patience))
	held := r.later(http.MethodGet, "ann", "")
	r.eventuallyHeld(1)
	r.publish(endHold)
	r.want(<-held, http.StatusOK, "one answer")
	// One that an application has refused as not its own.
	var refused atomic.Bool
	r.apps[legacy].handle(func(w http.ResponseWriter, r *http.Request) {
		if !refused.Swap(true) {
			w.Header().Set("Drover-Map-Version", "1")
			w.WriteHeader(http.StatusMisdirectedRequest)
			return
		}
		fmt.Fprint(w, "one answer")
	})
	send("GET", "ann", nil)
	send("GET", "ann", nil)
	send("HEAD", "ann", nil)
	report := r.judged(2)
	if settledTotal(report.Total) != 2 || report.Total.Same != 2 || r.apps[cloud].served.Load() != 2 {
		t.Errorf("got %+v, of %d that the other datacenter saw", report, r.apps[cloud].served.Load())
	}
}

func TestAnAnswerOfWhichTheBucketMovesMeanwhileIsNotCompared(t *testing.T) {
	t.Parallel()
	r := newRig(t, withMirror(nil))
	asked, release := make(chan struct{}), make(chan struct{})
	r.apps[legacy].handle(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "one") })
	r.apps[cloud].handle(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		fmt.Fprint(w, "another")
	})
	r.want(r.get("ann"), http.StatusOK, "one")
	<-asked
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	close(release)
	if report := r.judged(1); report.Drops["moving"] != 1 || report.Total.Different != 0 {
		t.Errorf("got %+v", report)
	}
}

func TestTheSameUsersAreMirroredByEveryProxyAndOnlyThey(t *testing.T) {
	t.Parallel()
	r := newRig(t, withMirror(func(m *config.Mirror) { m.Share, m.Noise = 0.25, "off" }))
	var mu sync.Mutex
	seen := map[string]bool{}
	for dc := range r.apps {
		r.apps[dc].handle(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Drover-Mirror") != "" {
				mu.Lock()
				defer mu.Unlock()
				seen[r.Header.Get("Drover-User")] = true
			}
		})
	}
	const users = 400
	for i := range users * 2 {
		r.want(r.get(fmt.Sprintf("u%d", i%users)), http.StatusOK, "")
	}
	report := r.mirrored()
	r.eventually("all judged", func() bool {
		mu.Lock()
		defer mu.Unlock()
		report = r.mirrored()
		return report.Total.Same == uint64(2*len(seen)) && len(seen) > 0
	})
	if n := len(seen); n < 70 || n > 130 {
		t.Errorf("%d of %d users are mirrored, want a quarter", n, users)
	}
}

func TestWhitelistedUsersAloneAreMirroredWhereThatIsSaid(t *testing.T) {
	t.Parallel()
	r := newRig(t, withMirror(func(m *config.Mirror) { m.Users, m.Noise = config.MirrorWhitelist, "off" }))
	r.publish(func(d *bucketmap.Draft) { d.Whitelist["emp"] = cloud })
	r.want(r.get("ann"), http.StatusOK, string(legacy))
	r.want(r.get("emp"), http.StatusOK, string(cloud))
	report := r.judged(1)
	if report.Total.Different != 1 || report.Examples[0].Source != string(cloud) || report.Examples[0].Target != string(legacy) ||
		report.Examples[0].Differences[0] != (parity.Difference{Field: "body", Place: "body", Source: "cloud", Target: "legacy"}) {
		t.Errorf("got %+v", report)
	}
}
