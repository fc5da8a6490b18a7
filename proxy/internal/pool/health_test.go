package pool

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// application answers checks with a status that can be changed.
type application struct {
	*server
	status  atomic.Int64
	checks  atomic.Int64
	request atomic.Pointer[http.Request]
}

func newApplication(t *testing.T) *application {
	t.Helper()
	a := &application{}
	a.status.Store(200)
	a.server = newServer(t, "127.0.0.1:0", a.answer)
	return a
}

func (a *application) answer(c net.Conn) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	a.request.Store(r)
	fmt.Fprintf(c, "HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n", a.status.Load())
	a.checks.Add(1)
}

func quick(path string) Health {
	return Health{Path: path, Interval: 5 * time.Millisecond, Timeout: 5 * time.Second}
}

func TestAHostGoesDownAndComesBackByItsChecks(t *testing.T) {
	a, b := newApplication(t), newApplication(t)
	health := quick("/healthz?deep=1")
	health.Host, health.HealthyAfter, health.UnhealthyAfter = "app.example", 4, 3
	r, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{a.address(), b.address()}, Health: health})
	h := p.Hosts()[0]
	r.run(t)
	until(t, "it was checked", func() bool { return a.checks.Load() > 2 })
	if got := a.request.Load(); got.Method != http.MethodGet || got.RequestURI != "/healthz?deep=1" || got.Host != "app.example" {
		t.Errorf("the check was %s %s of %s", got.Method, got.RequestURI, got.Host)
	}
	a.status.Store(503)
	until(t, "it is down", func() bool { return !h.Up(time.Now()) })
	for range 100 {
		if p.Pick(nil) == h {
			t.Fatal("it was picked")
		}
	}
	a.status.Store(404) // no 5xx is good
	until(t, "it is up", func() bool { return h.Up(time.Now()) })
}

func TestAsManyChecksInARowAsConfiguredChangeAHostsStanding(t *testing.T) {
	// Answers by script; each check is one connection.
	script := []int{500, 200, 500, 500, 200, 200, 500, 200, 200, 200}
	up := []bool{true, true, true, false, false, false, false, false, false, true}
	var mu sync.Mutex
	var seen []bool
	var h *Host
	ready, done := make(chan struct{}), make(chan struct{})
	step := 0
	s := newServer(t, "127.0.0.1:0", func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		<-ready
		mu.Lock()
		defer mu.Unlock()
		if step != 0 && step <= len(script) {
			seen = append(seen, h.Up(time.Now())) // what the check before has done
		}
		if step == len(script) {
			close(done)
		}
		status := 200
		if step < len(script) {
			status = script[step]
		}
		step++
		fmt.Fprintf(c, "HTTP/1.1 %d X\r\n\r\n", status)
	})
	health := quick("/")
	health.HealthyAfter, health.UnhealthyAfter = 3, 2
	r, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address(), "127.0.0.1:1"}, Health: health})
	h = p.Hosts()[0]
	close(ready)
	r.run(t)
	<-done
	mu.Lock()
	defer mu.Unlock()
	for i := range up {
		if seen[i] != up[i] {
			t.Errorf("after check %d (%d): up %v", i+1, script[i], seen[i])
		}
	}
}

func TestTheGoodAnswersCanBeConfigured(t *testing.T) {
	a := newApplication(t)
	health := quick("/")
	health.StatusMin, health.StatusMax = 200, 299
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{a.address()}, Health: health})
	for status, good := range map[int64]bool{200: true, 204: true, 301: false, 404: false, 500: false} {
		a.status.Store(status)
		if err := p.Hosts()[0].check(t.Context()); (err == nil) != good {
			t.Errorf("%d: got %v", status, err)
		}
	}
}

func TestACheckOfWhatIsNoHTTPOrSilentFails(t *testing.T) {
	for _, answer := range []string{"", "\r\n", "SSH-2.0-OpenSSH_9.6\r\n", "HTTP/2.0 200 OK\r\n", "HTTP/1.1 20 OK\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 099 OK\r\n",
		"HTTP/1.1 +20 OK\r\n", strings.Repeat("x", 2000) + "\n"} {
		s := newServer(t, "127.0.0.1:0", func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				fmt.Fprint(c, answer)
			}
		})
		_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}, Health: quick("/")})
		if err := p.Hosts()[0].check(t.Context()); err == nil {
			t.Errorf("%.30q: good", answer)
		}
	}
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{deaf(t)}, Health: quick("/")})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Hosts()[0].check(ctx); err == nil {
		t.Error("silence: good")
	}
}

func TestAHostWithAllItsConnectionsInUseIsNotSick(t *testing.T) {
	a := newApplication(t)
	settings := testSettings()
	settings.ConnectionsMax = 1
	_, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{a.address()}, Health: quick("/")})
	acquire(t, p.Pick(nil), false)
	if err := p.Hosts()[0].check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAHostThatVanishesIsCheckedNoMoreAndANewOneIs(t *testing.T) {
	a := newApplication(t)
	_, port, err := net.SplitHostPort(a.address())
	if err != nil {
		t.Fatal(err)
	}
	d := newDNS(t, "app.test", "127.0.0.2")
	r, p := newPoolOf(t, named(d), Datacenter{Upstreams: []string{"app.test:" + port}, Health: quick("/")})
	r.run(t)
	until(t, "the host that nobody listens at is down", func() bool { hosts := p.Hosts(); return len(hosts) == 1 && !hosts[0].Up(time.Now()) })
	d.say(0, "127.0.0.1")
	until(t, "the new one is checked", func() bool { return a.checks.Load() > 3 })
	if got := a.request.Load().Host; got != "app.test:"+port {
		t.Errorf("it was asked as %s", got)
	}
	d.say(0, "127.0.0.2")
	until(t, "it has vanished", func() bool { return p.addresses()[0] != a.address() })
	// Checks at most one more: that under way, or about to begin.
	before := a.checks.Load()
	asked := d.asked()
	until(t, "some time has gone by", func() bool { return d.asked() > asked+20 })
	if n := a.checks.Load() - before; n > 1 {
		t.Errorf("%d checks of a host that has vanished", n)
	}
}
