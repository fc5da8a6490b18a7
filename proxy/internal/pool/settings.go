package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"drover/bucketmap"
)

// Resolver finds the addresses of a name; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Settings hold for every host.
type Settings struct {
	Connect        time.Duration // to make one connection, TLS included
	KeepAlive      time.Duration // of an idle connection; shorter than the host's
	ConnectionsMax int           // open to one host
	Queue          int           // requests waiting for one host; 0: none waits
	QueueTimeout   time.Duration // of one wait
	DNSRefresh     time.Duration // between two look-ups of a name

	EjectAfter int           // failures in a row; 0: never
	EjectFirst time.Duration // the first ejection; each in a row takes twice as long
	EjectMax   time.Duration // the longest

	RetryRatio float64 // second tries a request, 0 to 1
	RetryMin   int     // second tries with no requests before

	// Unlooked leaves it to who sends on a plain connection to look first
	// whether it is still good, as socket.Conn.SendThenRead does.
	Unlooked bool

	Counters Counters // nil: nothing is counted
	Resolver Resolver // nil: the system's
}

// Health is the active check of a datacenter's hosts: GET Path on a connection
// of its own, with TLS when the datacenter has it. An empty path checks nothing.
type Health struct {
	Path              string
	Host              string // the Host header; empty: the upstream as configured
	Interval, Timeout time.Duration
	// HealthyAfter and UnhealthyAfter are the checks in a row that change a
	// host's standing; 0 is 1.
	HealthyAfter, UnhealthyAfter int
	// StatusMin and StatusMax bound the answers that are good; 0 and 0 are
	// 100 to 499.
	StatusMin, StatusMax int
}

// Datacenter says where one is reached.
type Datacenter struct {
	Upstreams []string // host:port
	// Failover lists the datacenters to try, in order, when no upstream is up.
	Failover []bucketmap.Datacenter
	Health   Health
	TLS      *TLS // nil: plain
	// SlowStart is the time in which a host that comes back gets its whole
	// share; 0: at once.
	SlowStart time.Duration
}

func (s *Settings) problems() error {
	var problems []error
	want := func(ok bool, key string, value any, bound string) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s is %v: want %s", key, value, bound))
		}
	}
	want(s.Connect > 0, "connect", s.Connect, "more than 0")
	want(s.KeepAlive >= 0, "keep_alive", s.KeepAlive, "0 or more")
	want(s.ConnectionsMax > 0, "connections_max", s.ConnectionsMax, "1 or more")
	want(s.Queue >= 0, "queue", s.Queue, "0 or more")
	want(s.Queue == 0 || s.QueueTimeout > 0, "queue_timeout", s.QueueTimeout, "more than 0 when there is a queue")
	want(s.DNSRefresh >= 0, "dns_refresh", s.DNSRefresh, "0 or more")
	want(s.EjectAfter >= 0, "eject_after", s.EjectAfter, "0 or more")
	want(s.EjectAfter == 0 || s.EjectFirst > 0, "eject_first", s.EjectFirst, "more than 0 when hosts are ejected")
	want(s.EjectMax >= s.EjectFirst, "eject_max", s.EjectMax, "eject_first or more")
	want(s.RetryRatio >= 0 && s.RetryRatio <= 1, "retry_ratio", s.RetryRatio, "0 to 1")
	want(s.RetryMin >= 0, "retry_min", s.RetryMin, "0 or more")
	return errors.Join(problems...)
}

func (dc *Datacenter) problems(name bucketmap.Datacenter, all map[bucketmap.Datacenter]Datacenter) error {
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("datacenter %s: %w", name, fmt.Errorf(format, args...)))
	}
	if len(dc.Upstreams) == 0 {
		add("it has no upstreams: give one or more as host:port")
	}
	for _, u := range dc.Upstreams {
		if _, err := parseUpstream(u); err != nil {
			add("%w", err)
		}
	}
	for _, other := range dc.Failover {
		if _, ok := all[other]; !ok || other == name {
			add("failover %s is not another datacenter with upstreams", other)
		}
	}
	if dc.SlowStart < 0 {
		add("slow_start is %v: want 0 or more", dc.SlowStart)
	}
	h := &dc.Health
	if h.Path == "" {
		return errors.Join(problems...)
	}
	if h.Interval <= 0 || h.Timeout <= 0 {
		add("health.interval is %v and health.timeout %v: want more than 0", h.Interval, h.Timeout)
	}
	if h.HealthyAfter < 0 || h.UnhealthyAfter < 0 {
		add("health.healthy_after is %d and health.unhealthy_after %d: want 0 or more", h.HealthyAfter, h.UnhealthyAfter)
	}
	if h.StatusMin < 0 || h.StatusMax < h.StatusMin {
		add("health's good answers are %d to %d: want the smaller one first", h.StatusMin, h.StatusMax)
	}
	if h.Path[0] != '/' || strings.ContainsFunc(h.Path+h.Host, unprintable) {
		add("health asks %q of %q: want a path that begins with /, and no spaces", h.Path, h.Host)
	}
	return errors.Join(problems...)
}

func unprintable(r rune) bool { return r <= ' ' || r == 0x7f }

// upstream is one entry of a datacenter's list.
type upstream struct {
	text    string
	host    string
	port    uint16
	literal netip.Addr // not valid: host is a name
}

func parseUpstream(text string) (upstream, error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return upstream{}, fmt.Errorf("upstream %q: want host:port: %w", text, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return upstream{}, fmt.Errorf("upstream %q: want a port of 1 to 65535", text)
	}
	u := upstream{text: text, host: host, port: uint16(port)}
	if a, err := netip.ParseAddr(host); err == nil {
		u.literal = a.Unmap()
		return u, nil
	}
	if host == "" || strings.ContainsFunc(host, unprintable) || strings.ContainsAny(host, "/:%") {
		return upstream{}, fmt.Errorf("upstream %q: want an IP address or a name before the port", text)
	}
	return u, nil
}
