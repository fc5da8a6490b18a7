package pool

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dns is a name server on loopback that knows one name.
type dns struct {
	conn net.PacketConn

	mu      sync.Mutex
	name    string
	answer  []netip.Addr
	code    dnsmessage.RCode
	queries int
}

func newDNS(t *testing.T, name string, addresses ...string) *dns {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dns{conn: conn, name: name + "."}
	d.say(dnsmessage.RCodeSuccess, addresses...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.serve()
	}()
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return d
}

// say changes the answer.
func (d *dns) say(code dnsmessage.RCode, addresses ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.code, d.answer = code, nil
	for _, a := range addresses {
		d.answer = append(d.answer, netip.MustParseAddr(a))
	}
}

func (d *dns) asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queries
}

func (d *dns) serve() {
	b := make([]byte, 1500)
	for {
		n, from, err := d.conn.ReadFrom(b)
		if err != nil {
			return
		}
		var query dnsmessage.Message
		if query.Unpack(b[:n]) != nil || len(query.Questions) != 1 {
			continue
		}
		reply, err := d.reply(query)
		if err == nil {
			d.conn.WriteTo(reply, from) //nolint:errcheck // the resolver asks again
		}
	}
}

func (d *dns) reply(query dnsmessage.Message) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := query.Questions[0]
	m := dnsmessage.Message{Questions: query.Questions}
	m.ID, m.Response, m.RecursionDesired, m.RecursionAvailable, m.RCode = query.ID, true, true, true, d.code
	if q.Name.String() != d.name {
		m.RCode = dnsmessage.RCodeNameError
		return m.Pack()
	}
	d.queries++
	for _, a := range d.answer {
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return m.Pack()
}

// resolver asks only this name server.
func (d *dns) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "udp", d.conn.LocalAddr().String())
	}}
}

func (p *Pool) addresses() (all []string) {
	for _, h := range p.Hosts() {
		all = append(all, h.Address())
	}
	return all
}

func named(d *dns) Settings {
	settings := testSettings()
	settings.Resolver, settings.DNSRefresh = d.resolver(), 10*time.Millisecond
	return settings
}

func TestEveryAddressOfANameIsAHostAndLiteralsAreNotResolved(t *testing.T) {
	d := newDNS(t, "app.test", "127.0.0.3", "127.0.0.2", "::1")
	r, p := newPoolOf(t, named(d), Datacenter{Upstreams: []string{"127.0.0.9:80", "app.test:81", "app.test:82", "127.0.0.2:81", "[::1]:80"}})
	if got := p.addresses(); !slices.Equal(got, []string{"127.0.0.9:80", "127.0.0.2:81", "[::1]:80"}) {
		t.Errorf("before Resolve: %v", got)
	}
	r.Resolve(t.Context())
	want := []string{"127.0.0.9:80", "127.0.0.2:81", "127.0.0.3:81", "[::1]:81", "127.0.0.2:82", "127.0.0.3:82", "[::1]:82", "[::1]:80"}
	if got := p.addresses(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for _, h := range p.Hosts() {
		if h.share(r.clock()) != shareWhole {
			t.Errorf("%s starts slowly though nobody had it before", h.Address())
		}
	}
}

func TestANameThatCannotBeResolvedAtTheStartIsResolvedLater(t *testing.T) {
	d := newDNS(t, "app.test")
	d.say(dnsmessage.RCodeServerFailure)
	r, p := newPoolOf(t, named(d), Datacenter{Upstreams: []string{"app.test:81"}})
	r.Resolve(t.Context())
	if h := p.Pick(nil); h != nil {
		t.Errorf("picked %v of no hosts", h)
	}
	r.run(t)
	d.say(dnsmessage.RCodeSuccess, "127.0.0.2")
	until(t, "it has a host", func() bool { return p.Pick(nil) != nil })
	if got := p.addresses(); !slices.Equal(got, []string{"127.0.0.2:81"}) {
		t.Errorf("got %v", got)
	}
}

func TestRunResolvesAtOnceWhenNobodyCalledResolve(t *testing.T) {
	d := newDNS(t, "app.test", "127.0.0.2")
	settings := named(d)
	settings.DNSRefresh = time.Hour
	r, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{"app.test:81"}})
	r.run(t)
	until(t, "it has a host", func() bool { return p.Pick(nil) != nil })
}

func TestAnEmptyOrFailedAnswerKeepsTheHosts(t *testing.T) {
	d := newDNS(t, "app.test", "127.0.0.2", "127.0.0.3")
	r, p := newPoolOf(t, named(d), Datacenter{Upstreams: []string{"app.test:81"}})
	r.Resolve(t.Context())
	hosts := p.Hosts()
	r.run(t)
	for _, code := range []dnsmessage.RCode{dnsmessage.RCodeSuccess, dnsmessage.RCodeServerFailure, dnsmessage.RCodeNameError} {
		d.say(code)
		before := d.asked()
		until(t, "it was asked again, and once more", func() bool { return d.asked() >= before+5 })
		if !slices.Equal(p.Hosts(), hosts) {
			t.Fatalf("answer %v: the hosts are %v", code, p.addresses())
		}
	}
}

// answers is a Resolver that gives one answer after the other.
type answers [][]netip.Addr

func (a *answers) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	next := (*a)[0]
	*a = (*a)[1:]
	return next, nil
}

func TestAnAnswerWithoutAddressesIsAFailure(t *testing.T) {
	mapped := netip.MustParseAddr("::ffff:127.0.0.2")
	settings := testSettings()
	settings.Resolver = &answers{{mapped, mapped.Unmap()}, {}, nil}
	_, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{"app.test:81"}})
	s := p.sources[0]
	for i, wait := range []time.Duration{long, time.Second, 2 * time.Second} {
		p.resolve(t.Context(), s)
		if got := p.addresses(); !slices.Equal(got, []string{"127.0.0.2:81"}) || s.wait != wait {
			t.Errorf("answer %d: the hosts are %v, asked again after %v", i, got, s.wait)
		}
	}
}

func TestAnAddressThatVanishesTakesNoNewRequestsAndLosesItsIdleConnections(t *testing.T) {
	s2 := newServer(t, "127.0.0.2:0", echo)
	_, port, err := net.SplitHostPort(s2.address())
	if err != nil {
		t.Fatal(err)
	}
	newServer(t, "127.0.0.3:"+port, echo)
	d := newDNS(t, "app.test", "127.0.0.2", "127.0.0.3")
	counts := newTally()
	settings := named(d)
	settings.Counters = counts
	r, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{"app.test:" + port}, SlowStart: time.Hour})
	r.Resolve(t.Context())
	hosts := p.Hosts()
	h := hosts[0]
	a, b := acquire(t, h, false), acquire(t, h, false)
	until(t, "both are accepted", func() bool { open, _, _ := s2.counts(); return open == 2 })
	h.Release(a)
	r.run(t)

	d.say(dnsmessage.RCodeSuccess, "127.0.0.3")
	until(t, "the idle connection is closed", func() bool { open, _, _ := s2.counts(); return open == 1 })
	for range 200 {
		if p.Pick(nil) == h {
			t.Fatal("the vanished host was picked")
		}
	}
	if _, ok := r.sample(t, "drover_proxy_upstream_healthy", "east", h.Address()); ok {
		t.Error("its gauge is still there")
	}
	if n := counts.forgets(h.Address()); n != 1 {
		t.Errorf("forgotten %d times", n)
	}
	talk(t, b) // the request under way goes on

	// It comes back, with its connection in use still counted, and starts slowly.
	d.say(dnsmessage.RCodeSuccess, "127.0.0.2", "127.0.0.3")
	until(t, "it is back", func() bool { return len(p.Hosts()) == 2 })
	if p.Hosts()[0] != h || p.Hosts()[1] != hosts[1] || h.opened() != 1 {
		t.Error("it is another host")
	}
	if s := h.share(r.clock()); s == 0 || s > shareWhole/5 {
		t.Errorf("its share is %v of %v", s, shareWhole)
	}
	if v, ok := r.sample(t, "drover_proxy_upstream_healthy", "east", h.Address()); !ok || v != 1 {
		t.Errorf("its gauge: %v, %v", v, ok)
	}
	h.Release(b)
	if c := acquire(t, h, false); c != b {
		t.Error("the connection was not kept")
	}

	// Once nothing is left of it, it is forgotten.
	h.Discard(b)
	d.say(dnsmessage.RCodeSuccess, "127.0.0.3")
	until(t, "it is gone", func() bool { return len(p.Hosts()) == 1 })
	d.say(dnsmessage.RCodeSuccess, "127.0.0.2", "127.0.0.3")
	until(t, "a new one is there", func() bool { return len(p.Hosts()) == 2 })
	d.say(dnsmessage.RCodeSuccess, "127.0.0.3")
	until(t, "it is gone again", func() bool { return len(p.Hosts()) == 1 })
	d.say(dnsmessage.RCodeSuccess, "127.0.0.3", "127.0.0.4")
	until(t, "another is there", func() bool { return len(p.Hosts()) == 2 })
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.mu.known); n != 2 {
		t.Errorf("%d hosts are remembered, want 2", n)
	}
}

func TestAReleaseToAVanishedHostClosesAndItsWaitersAreServed(t *testing.T) {
	s := newServer(t, "127.0.0.2:0", echo)
	_, port, err := net.SplitHostPort(s.address())
	if err != nil {
		t.Fatal(err)
	}
	d := newDNS(t, "app.test", "127.0.0.2")
	settings := named(d)
	settings.ConnectionsMax = 1
	r, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{"app.test:" + port}})
	r.Resolve(t.Context())
	h := p.Pick(nil)
	c := acquire(t, h, false)
	results := enqueue(t, h, 1, nobody)
	r.run(t)
	d.say(dnsmessage.RCodeSuccess, "127.0.0.3")
	until(t, "it has vanished", func() bool { return !h.Up(time.Now()) })
	h.Release(c)
	got := <-results
	if got.err != nil || got.conn == c {
		t.Fatalf("got %+v", got)
	}
	h.Release(got.conn)
	if n := h.opened(); n != 0 {
		t.Errorf("%d are open", n)
	}
}
