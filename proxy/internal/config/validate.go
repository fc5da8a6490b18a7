package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"drover/bucketmap"
	"drover/internal/config"
	"drover/internal/logging"
)

const (
	waitBound     = 24 * time.Hour
	requestsBound = 1 << 20
	nameBound     = "1 to 64 letters, digits, '.', '_' or '-'"
)

// Validate reports every problem at once, as a *config.InvalidError.
func (c *Config) Validate() error {
	var p config.Problems
	p.Address("listen", c.Listen)
	p.Address("admin.listen", c.Admin.Listen)
	p.Want(validName(c.ID), "id", c.ID, nameBound)
	c.mapProblems(&p)
	c.identityProblems(&p)
	for i, peer := range c.TrustedPeers {
		_, err := netip.ParsePrefix(peer)
		p.Want(err == nil, fmt.Sprintf("trusted_peers[%d]", i), peer, "a network such as 10.0.0.0/8")
	}
	c.datacenterProblems(&p)
	c.timeoutProblems(&p)
	c.limitProblems(&p)
	p.Want(c.Passport.Sample >= 0 && c.Passport.Sample <= 1, "passport.sample", c.Passport.Sample, "0 to 1")
	p.Lasting("passport.slow", c.Passport.Slow, 0, waitBound)
	p.Between("passport.recent", int64(c.Passport.Recent), 1, 1<<16)
	p.Want(c.AccessLog != "", "access_log", c.AccessLog, "stdout, stderr, none or the path of a file")
	p.Lasting("drain.delay", c.Drain.Delay, 0, time.Hour)
	p.Lasting("drain.idle", c.Drain.Idle, 0, time.Hour)
	p.Lasting("drain.timeout", c.Drain.Timeout, 0, time.Hour)
	_, err := logging.ParseLevel(c.Log.Level)
	p.Want(err == nil, "log.level", c.Log.Level, "debug, info, warn or error")
	p.Want(c.Log.Format == logging.FormatJSON || c.Log.Format == logging.FormatText, "log.format", c.Log.Format, "json or text")
	return p.Err()
}

func (c *Config) mapProblems(p *config.Problems) {
	p.Want(c.Map.Store == StoreFile, "map.store", c.Map.Store, StoreFile)
	p.Want(c.Map.Dir != "", "map.dir", c.Map.Dir, "the folder of the file store")
}

func (c *Config) identityProblems(p *config.Problems) {
	p.Want(len(c.Identity) >= 1 && len(c.Identity) <= 16, "identity", fmt.Sprintf("%d entries", len(c.Identity)), "1 to 16 entries")
	for i, id := range c.Identity {
		key := fmt.Sprintf("identity[%d]", i)
		switch {
		case (id.Header == "") == (id.Cookie == ""):
			p.Add(key, fmt.Sprintf("header %s, cookie %s", id.Header, id.Cookie), "either a header or a cookie")
		case id.Header != "":
			p.Want(token(id.Header), key+".header", id.Header, "a header name")
		default:
			p.Want(token(id.Cookie), key+".cookie", id.Cookie, "a cookie name")
		}
	}
}

func (c *Config) datacenterProblems(p *config.Problems) {
	p.Want(len(c.Datacenters) >= 1, "datacenters", "none", "at least one")
	for _, name := range slices.Sorted(maps.Keys(c.Datacenters)) {
		dc := c.Datacenters[name]
		key := "datacenters." + name
		p.Want(validName(name), "datacenters", name, nameBound)
		p.Want(len(dc.Upstreams) >= 1, key+".upstreams", "none", "at least one host:port")
		for i, upstream := range dc.Upstreams {
			p.Address(fmt.Sprintf("%s.upstreams[%d]", key, i), upstream)
		}
		for i, other := range dc.Failover {
			_, known := c.Datacenters[other]
			p.Want(known && other != name, fmt.Sprintf("%s.failover[%d]", key, i), other, "another of the datacenters")
		}
		if dc.Health.Path != "" {
			p.Want(dc.Health.Path[0] == '/' && printable(dc.Health.Path), key+".health.path", dc.Health.Path, "a path that begins with /")
			p.Lasting(key+".health.interval", dc.Health.Interval, 100*time.Millisecond, time.Hour)
			p.Lasting(key+".health.timeout", dc.Health.Timeout, 10*time.Millisecond, time.Hour)
		}
	}
}

func (c *Config) timeoutProblems(p *config.Problems) {
	for _, t := range []struct {
		key   string
		value time.Duration
	}{
		{"connect", c.Timeouts.Connect}, {"first_byte", c.Timeouts.FirstByte}, {"idle", c.Timeouts.Idle},
		{"total", c.Timeouts.Total}, {"header", c.Timeouts.Header}, {"keep_alive", c.Timeouts.KeepAlive},
		{"upstream_keep_alive", c.Timeouts.UpstreamKeepAlive},
	} {
		p.Lasting("timeouts."+t.key, t.value, time.Millisecond, waitBound)
	}
	p.Lasting("reroute_wait_max", c.RerouteWaitMax, 0, time.Minute)
	p.Lasting("hold.wait_max", c.Hold.WaitMax, 0, time.Minute)
}

func (c *Config) limitProblems(p *config.Problems) {
	p.Sized("limits.header_bytes", c.Limits.HeaderBytes, 4*config.KiB, config.MiB)
	p.Sized("limits.body", c.Limits.Body, 0, 1<<20*config.GiB)
	p.Between("limits.connections", int64(c.Limits.Connections), 1, requestsBound)
	p.Between("limits.upstream_connections", int64(c.Limits.UpstreamConnections), 1, requestsBound)
	p.Between("hold.requests_max", int64(c.Hold.RequestsMax), 1, requestsBound)
	p.Between("hold.total", int64(c.Hold.Total), 1, requestsBound)
	p.Sized("hold.bytes", c.Hold.Bytes, config.KiB, 64*config.GiB)
	p.Between("hold.release_rate", int64(c.Hold.ReleaseRate), 1, 1<<30)
	p.Sized("replay_buffer", c.ReplayBuffer, 0, 64*config.MiB)
}

func nameByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '.' || b == '_' || b == '-'
}

func validName(name string) bool {
	return len(name) >= 1 && len(name) <= bucketmap.NameMax &&
		!slices.ContainsFunc([]byte(name), func(b byte) bool { return !nameByte(b) })
}

func token(name string) bool {
	return name != "" && printable(name) &&
		!slices.ContainsFunc([]byte(name), func(b byte) bool { return slices.Contains([]byte(`"(),/:;<=>?@[\]{}`), b) })
}

func printable(text string) bool {
	return !slices.ContainsFunc([]byte(text), func(b byte) bool { return b <= ' ' || b >= 0x7f })
}
