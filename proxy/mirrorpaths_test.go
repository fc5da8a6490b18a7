package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"drover/proxy/internal/config"
)

func TestRequestsOfHTTP2AreMirroredToo(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, withMirror(func(m *config.Mirror) { m.Noise = "off" }))
	long := strings.Repeat("z", 60<<10)
	for _, a := range r.apps {
		a.handle(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			fmt.Fprint(w, r.URL.RawQuery, r.Header["X-One"], long)
		})
	}
	for i := range 20 {
		got := r.fetch(client, http.MethodGet, fmt.Sprintf("/?%d", i), "ann", nil)
		r.want(got, http.StatusOK, fmt.Sprint(i, "[]", long))
	}
	if report := r.judged(20); report.Total.Same != 20 || r.apps[cloud].served.Load() != 20 {
		t.Errorf("got %+v", report)
	}
}

func TestTheMarkOfAMirroredRequestIsBelievedOfNoClient(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.TrustedPeers = nil })
	r.apps[legacy].handle(func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if strings.HasPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "x-drover") {
				t.Errorf("%s has passed", name)
			}
		}
		fmt.Fprint(w, r.Header.Get("X-Drover-Mirrors"))
	})
	c := r.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nCookie: uid=ann\r\nX-Drover-Mirror: 1\r\nx_drover-MIRROR: 1\r\n\r\n")
	r.want(c.response(http.MethodGet), http.StatusOK, "")
}

func TestAnAnswerThatDoesNotComeWholeIsNotCompared(t *testing.T) {
	t.Parallel()
	r := newRig(t, withMirror(nil))
	r.apps[legacy].handle(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "short")
	})
	for range 3 {
		if a := r.get("ann"); a.err == nil {
			t.Fatalf("got %v", a)
		}
	}
	if report := r.judged(3); report.Drops["incomplete"] != 3 || r.apps[cloud].served.Load() != 0 {
		t.Errorf("got %+v", report)
	}
}

func TestATargetWithTLSIsSpokenToAsTheConfigurationSays(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.TLS.ServerName)
	}))
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	for name, want := range map[string]string{"example.com": "same", "other.example": "failed"} {
		r := newRig(t, func(c *config.Config) {
			withMirror(func(m *config.Mirror) { m.Noise = "off" })(c)
			c.Datacenters[string(cloud)] = config.Datacenter{
				Upstreams: []string{secure.Listener.Addr().String()}, TLS: config.TLS{Enabled: true, ServerName: name, CA: ca},
			}
		})
		r.apps[legacy].handle(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "example.com") }) //nolint:errcheck // a test's
		r.want(r.get("ann"), http.StatusOK, "example.com")
		report := r.judged(1)
		if got := map[string]uint64{"same": report.Total.Same, "failed": report.Total.Failed}; got[want] != 1 {
			t.Errorf("%s: got %+v %v", name, report.Total, report.LastFailure)
		}
	}
}
