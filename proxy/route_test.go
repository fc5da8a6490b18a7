package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/proxy/internal/config"
)

func TestRequestsGoToTheirUsersHome(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.want(r.get("ann"), 200, "legacy")
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(r.get("ann"), 200, "cloud")
	r.want(r.get(""), 200, "legacy")
	r.publish(func(d *bucketmap.Draft) { d.Whitelist["emp"] = cloud })
	r.want(r.get("emp"), 200, "cloud")
	r.want(r.get(strings.Repeat("x", 257)), 200, "legacy")
	for reason, n := range map[string]float64{"bucket": 2, "no_user": 1, "whitelist": 1, "bad_user": 1} {
		// A request is counted when its answer is written, so after the client has it.
		r.eventually(fmt.Sprintf("%v requests by %s", n, reason), func() bool {
			return r.metric("drover_proxy_requests_total", `reason="`+reason+`"`) == n
		})
	}
	if got := r.metric("drover_proxy_responses_total", `class="2xx"`); got != 5 {
		t.Errorf("counted %v answers, want 5", got)
	}
	if got := r.metric("drover_proxy_map_version"); got != 3 {
		t.Errorf("map version %v, want 3", got)
	}
}

func TestTheApplicationLearnsTheDecisionAndTheClientDoesNot(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	seen := make(chan http.Header, 1)
	r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
		seen <- req.Header
		w.Header().Set("Drover-Secret", "x")
		w.Header().Set("X-Own", "y")
	})
	got := r.get("ann")
	h := <-seen
	for name, want := range map[string]string{
		"Drover-User": "ann", "Drover-Bucket": bucketmap.RangeText(bucketOf("ann"), bucketOf("ann")), "Drover-Datacenter": "legacy",
		"Drover-Route": "bucket", "Drover-Map-Version": "1", "X-User-Id": "ann",
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": r.clients, "Via": "1.1 drover",
	} {
		if h.Get(name) != want {
			t.Errorf("%s: the application got %q, want %q", name, h.Get(name), want)
		}
	}
	for name := range got.header {
		if strings.HasPrefix(name, "Drover") || name == "Via" {
			t.Errorf("the client got %s", name)
		}
	}
	if got.header.Get("X-Own") != "y" {
		t.Errorf("the client got %v", got.header)
	}
}

func TestExposedHeadersReachTheClient(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.ExposeHeaders = true })
	got := r.get("ann")
	if got.header.Get("Drover-Datacenter") != "legacy" || got.header.Get("Drover-Route") != "bucket" ||
		got.header.Get("Drover-Map-Version") != "1" || got.header.Get("Via") == "" {
		t.Fatalf("got %v", got.header)
	}
}

func TestClientCannotSmuggleDroverHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	seen := make(chan http.Header, 1)
	r.apps[legacy].handle(func(_ http.ResponseWriter, req *http.Request) { seen <- req.Header })
	c := r.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\ndrover-user: eve\r\nDROVER-Bucket: 1\r\ndrover_user: eve\r\nDrover_Map-Version: 9\r\n" +
		"drover-anything: x\r\nX-User_Id: eve\r\nX-User-Id: ann\r\nX-Drover: kept\r\n\r\n")
	if got := c.response("GET"); got.err != nil || got.status != 200 {
		t.Fatal(got)
	}
	h := <-seen
	for name, values := range h {
		lower := strings.ToLower(name)
		switch {
		case lower == "drover-user" && len(values) == 1 && values[0] == "ann",
			lower == "drover-bucket" && len(values) == 1 && values[0] != "1",
			lower == "drover-map-version" && values[0] == "1",
			lower == "drover-datacenter", lower == "drover-route":
		case strings.HasPrefix(lower, "drover"), strings.Contains(lower, "_"):
			t.Errorf("the application got %s: %q", name, values)
		}
	}
	if h.Get("X-Drover") != "kept" || h.Get("X-User-Id") != "ann" || len(h["Drover-User"]) != 1 {
		t.Errorf("the application got %v", h)
	}
}

func TestIdentityHeadersOfStrangersAreDropped(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.TrustedPeers = []string{"192.0.2.0/24"} })
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	seen := make(chan http.Header, 2)
	for _, a := range r.apps {
		old := *a.handler.Load()
		a.handle(func(w http.ResponseWriter, req *http.Request) {
			seen <- req.Header
			old(w, req)
		})
	}
	c := r.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nX-User-Id: ann\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Proto: https\r\n\r\n")
	r.want(c.response("GET"), 200, "legacy") // no user: the default
	h := <-seen
	if h.Get("X-User-Id") != "" || h.Get("Drover-User") != "" || h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("Forwarded") != "" ||
		h.Get("X-Forwarded-Proto") != "http" {
		t.Errorf("the application got %v", h)
	}
	// A cookie is believed of everybody.
	c.send("GET / HTTP/1.1\r\nHost: h\r\nCookie: uid=ann\r\n\r\n")
	r.want(c.response("GET"), 200, "cloud")
	<-seen
}

func TestForwardedHeadersOfTrustedPeersAreExtended(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	seen := make(chan http.Header, 1)
	r.apps[legacy].handle(func(_ http.ResponseWriter, req *http.Request) { seen <- req.Header })
	c := r.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\nVia: 1.0 lb\r\n\r\n")
	if got := c.response("GET"); got.status != 200 {
		t.Fatal(got)
	}
	h := <-seen
	if got := h.Values("X-Forwarded-For"); len(got) != 1 || got[0] != "1.2.3.4, 5.6.7.8, 127.0.0.1" {
		t.Errorf("X-Forwarded-For %q", got)
	}
	if h.Get("X-Forwarded-Proto") != "https" || h.Get("Via") != "1.0 lb, 1.1 drover" {
		t.Errorf("got %v", h)
	}
}

func TestPipelinedRequestsOfDifferentUsersAreRoutedAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish(moveTo(t, bucketOf("bob"), cloud))
	if bucketOf("ann") == bucketOf("bob") {
		t.Fatal("choose other users")
	}
	c := r.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nX-User-Id: ann\r\n\r\n" +
		"POST / HTTP/1.1\r\nHost: h\r\nX-User-Id: bob\r\nContent-Length: 3\r\n\r\nabc" +
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n" +
		"GET / HTTP/1.1\r\nHost: h\r\nX-User-Id: bob\r\n\r\n")
	for _, want := range []string{"legacy", "cloud", "legacy", "cloud"} {
		r.want(c.response("GET"), 200, want)
	}
}

func TestPassportsSayWhatHappened(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.want(r.do(http.MethodPost, "/a/b?secret=1", "ann", strings.NewReader("body")), 200, "legacy")
	r.eventually("a passport", func() bool { return len(r.passports()) == 1 })
	p := r.passports()[0]
	for key, want := range map[string]any{
		"method": "POST", "path": "/a/b", "status": 200.0, "bucket": float64(bucketOf("ann")), "datacenter": "legacy",
		"reason": "bucket", "map_version": 1.0, "attempts": 1.0, "end": "answered",
	} {
		if p[key] != want {
			t.Errorf("%s: got %v, want %v", key, p[key], want)
		}
	}
	timers := p["timers_ms"].(map[string]any)
	if timers["holding"] != -1.0 || timers["waiting"].(float64) < 0 {
		t.Errorf("timers %v", timers)
	}
	if strings.Contains(r.out.String(), "secret") || strings.Contains(r.out.String(), "ann") {
		t.Error("a passport shows the query or the user")
	}
}
