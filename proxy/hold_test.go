package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/config"
)

func TestHeldRequestGoesToTheNewHome(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	b := bucketOf("ann")
	r.publish(holdBucket(b, patience))
	get, post := r.later("GET", "ann", ""), r.later("POST", "ann", "body")
	r.eventuallyHeld(2)
	if n := r.apps[legacy].served.Load(); n != 0 {
		t.Fatalf("%d requests reached the old home", n)
	}
	r.publish(moveTo(t, b, cloud))
	r.want(<-get, 200, "cloud")
	r.want(<-post, 200, "cloud")
	r.wantHolds(2, map[string]float64{"released": 2})
}

// wantHolds checks the counters' balance.
func (r *rig) wantHolds(entered float64, outcomes map[string]float64) {
	r.t.Helper()
	if got := r.metric("drover_proxy_holds_entered_total"); got != entered {
		r.t.Errorf("entered %v, want %v", got, entered)
	}
	for _, o := range []string{"released", "expired", "full", "client_gone", "shutdown"} {
		if got := r.metric("drover_proxy_holds_total", `outcome="`+o+`"`); got != outcomes[o] {
			r.t.Errorf("%s %v, want %v", o, got, outcomes[o])
		}
	}
	if got := r.metric("drover_proxy_held_requests") + r.metric("drover_proxy_held_bytes"); got != 0 {
		r.t.Errorf("%v still held", got)
	}
}

func TestHeldRequestGoesToTheOldHomeWhenTheMoveStepsBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish(holdBucket(bucketOf("ann"), patience))
	got := r.later("POST", "ann", "body")
	r.eventuallyHeld(1)
	r.publish(endHold)
	r.want(<-got, 200, "legacy")
	r.wantHolds(1, map[string]float64{"released": 1})
}

func TestHoldPastDeadlineGoesOutByTheCurrentMap(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish(holdBucket(bucketOf("ann"), 300*time.Millisecond))
	begun := time.Now()
	r.want(r.get("ann"), 200, "legacy")
	if d := time.Since(begun); d > patience/2 {
		t.Errorf("held for %s", d)
	}
	if got := r.metric("drover_proxy_holds_total", `outcome="expired"`); got > 1 {
		t.Errorf("expired %v", got)
	}
	r.want(r.get("ann"), 200, "legacy") // the hold is over, though the map still has it
}

func TestAProxyBoundsAHoldThatIsTooLong(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.Hold.WaitMax = 50 * time.Millisecond })
	r.publish(holdBucket(bucketOf("ann"), time.Hour))
	r.want(r.get("ann"), 200, "legacy")
	r.wantHolds(1, map[string]float64{"expired": 1})
}

func TestAHoldCoversAWhitelistedUserAndNobodyElse(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish(func(d *bucketmap.Draft) {
		d.Whitelist["ann"] = cloud
		holdBucket(bucketOf("ann"), patience)(d)
	})
	held := r.later("GET", "ann", "")
	r.eventuallyHeld(1)
	r.want(r.get("bob"), 200, "legacy")
	r.want(r.get(""), 200, "legacy")
	r.publish(endHold)
	r.want(<-held, 200, "cloud")
}

func TestRequestsOverTheBoundOfAHoldGoOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.Hold.RequestsMax = 2 })
	r.publish(holdBucket(bucketOf("ann"), patience))
	one, two := r.later("GET", "ann", ""), r.later("GET", "ann", "")
	r.eventuallyHeld(2)
	r.want(r.get("ann"), 200, "legacy")
	r.publish(endHold)
	r.want(<-one, 200, "legacy")
	r.want(<-two, 200, "legacy")
	r.wantHolds(3, map[string]float64{"released": 2, "full": 1})
}

func TestAClientThatGoesAwayFreesItsPlace(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish(holdBucket(bucketOf("ann"), patience))
	c := r.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nX-User-Id: ann\r\n\r\n")
	r.eventuallyHeld(1)
	c.Close() // the point of the test
	r.eventuallyHeld(0)
	r.publish(endHold)
	r.wantHolds(1, map[string]float64{"client_gone": 1})
	if n := r.apps[legacy].served.Load(); n != 0 {
		t.Errorf("%d requests reached the application", n)
	}
}

func TestManyHeldRequestsAreReleasedInOrderAndAllServed(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.Hold.ReleaseRate = 2000 })
	r.publish(holdBucket(bucketOf("ann"), patience))
	const n = 300
	var got [n]<-chan answer
	for i := range got {
		got[i] = r.later("POST", "ann", "body")
	}
	r.eventuallyHeld(n)
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	for i := range got {
		r.want(<-got[i], 200, "cloud")
	}
	r.wantHolds(n, map[string]float64{"released": n})
}

// misdirect makes an application answer 421 as long as frozen says so.
func misdirect(a *app, dc bucketmap.Datacenter, frozen func(*http.Request) bool) {
	a.handle(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if frozen(req) {
			w.Header().Set("Drover-Map-Version", "1")
			w.WriteHeader(http.StatusMisdirectedRequest)
			fmt.Fprint(w, "not here")
			return
		}
		fmt.Fprintf(w, "%s %s", dc, body)
	})
}

func always(*http.Request) bool { return true }
func never(*http.Request) bool  { return false }

func TestRequest421IsSentAgainToTheNewHome(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.RerouteWaitMax = patience })
	misdirect(r.apps[legacy], legacy, always)
	misdirect(r.apps[cloud], cloud, never)
	post := r.later("POST", "ann", "body")
	r.eventually("a 421", func() bool { return r.apps[legacy].served.Load() >= 1 })
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(<-post, 200, "cloud body")
	if r.metric("drover_proxy_reroutes_total", `outcome="new_map"`) != 1 || r.metric("drover_proxy_reroutes_total", `outcome="served"`) != 1 {
		t.Error("the re-route is not counted")
	}
}

func TestRequest421WaitsInTheHoldThatCameAfterIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.RerouteWaitMax = patience })
	misdirect(r.apps[legacy], legacy, always)
	misdirect(r.apps[cloud], cloud, never)
	post := r.later("POST", "ann", "body")
	r.eventually("a 421", func() bool { return r.apps[legacy].served.Load() >= 1 })
	r.publish(holdBucket(bucketOf("ann"), patience))
	r.eventuallyHeld(1)
	served := r.apps[legacy].served.Load()
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(<-post, 200, "cloud body")
	if n := r.apps[legacy].served.Load(); n != served {
		t.Errorf("the old home was asked again %d times during the hold", n-served)
	}
}

func TestRequest421IsSentAgainWhenTheMoveStepsBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	var mu sync.Mutex
	left := 2
	misdirect(r.apps[legacy], legacy, func(*http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		left--
		return left >= 0
	})
	r.want(r.do("POST", "/", "ann", strings.NewReader("body")), 200, "legacy body")
	if got := r.metric("drover_proxy_reroutes_total", `outcome="same_map"`); got != 2 {
		t.Errorf("sent again %v times by the same map, want 2", got)
	}
}

func TestRequest421ToTheEndIsAnswered503(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.RerouteWaitMax = 100 * time.Millisecond })
	misdirect(r.apps[legacy], legacy, always)
	got := r.do("POST", "/", "ann", strings.NewReader("body"))
	if got.status != 503 || got.header.Get("Retry-After") != "1" || !strings.Contains(got.body, `"remedy"`) {
		t.Fatalf("got %v", got)
	}
	if n := r.apps[legacy].served.Load(); n < 3 || n > 4 { // an early try is left out when time is short
		t.Errorf("sent %d times, want 4", n)
	}
	misdirect(r.apps[legacy], legacy, never) // and the bucket is not stuck
	r.want(r.do("POST", "/", "ann", strings.NewReader("body")), 200, "legacy body")
}

func TestRequest421WithABodyThatIsNotKeptIsPassedOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.ReplayBuffer = 1 << 10 })
	misdirect(r.apps[legacy], legacy, always)
	got := r.do("POST", "/", "ann", strings.NewReader(strings.Repeat("x", 2<<10)))
	r.want(got, 421, "not here")
	if got.header.Get("Drover-Map-Version") != "" {
		t.Error("the client sees the map's version")
	}
	if r.metric("drover_proxy_reroutes_total", `outcome="not_replayable"`) != 1 {
		t.Error("not counted")
	}
}

func TestA421WithoutAVersionIsTheApplicationsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.apps[legacy].handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMisdirectedRequest) })
	r.want(r.get("ann"), 421, "")
	if n := r.apps[legacy].served.Load(); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

func TestTheFirst421HoldsTheOthersOfItsBucket(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.RerouteWaitMax = patience })
	misdirect(r.apps[legacy], legacy, func(req *http.Request) bool { return req.Header.Get("X-User-Id") == "ann" })
	misdirect(r.apps[cloud], cloud, never)
	first := r.later("POST", "ann", "1")
	r.eventually("a reactive hold", func() bool { return r.metric("drover_proxy_reactive_holds_total") == 1 })
	second := r.later("POST", "ann", "2")
	r.eventuallyHeld(1)
	r.want(r.do("POST", "/", "bob", strings.NewReader("3")), 200, "legacy 3") // another bucket
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(<-first, 200, "cloud 1")
	r.want(<-second, 200, "cloud 2")
}

func TestAServedRequestEndsTheReactiveHold(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.RerouteWaitMax = patience })
	var mu sync.Mutex
	frozen := true
	misdirect(r.apps[legacy], legacy, func(*http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		return frozen
	})
	first := r.later("POST", "ann", "1")
	r.eventually("a reactive hold", func() bool { return r.metric("drover_proxy_reactive_holds_total") == 1 })
	second := r.later("POST", "ann", "2")
	r.eventuallyHeld(1)
	begun := time.Now()
	mu.Lock()
	frozen = false
	mu.Unlock()
	r.want(<-first, 200, "legacy 1")
	r.want(<-second, 200, "legacy 2")
	if d := time.Since(begun); d > patience/2 {
		t.Errorf("the others waited %s after the bucket was writable again", d)
	}
}

func TestMapsOfOtherBucketsAreNoReasonToSendAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.RerouteWaitMax = time.Minute })
	misdirect(r.apps[legacy], legacy, always)
	misdirect(r.apps[cloud], cloud, never)
	post := r.later("POST", "ann", "body")
	r.eventually("a 421", func() bool { return r.apps[legacy].served.Load() == 1 })
	other := (bucketOf("ann") + 1) % buckets
	for range 10 {
		r.publish(moveTo(t, other, cloud))
	}
	if n := r.apps[legacy].served.Load(); n > 2 { // the first early try may have come
		t.Errorf("sent %d times", n)
	}
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(<-post, 200, "cloud body")
}
