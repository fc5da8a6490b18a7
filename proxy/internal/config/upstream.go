package config

import "time"

// Datacenter is where one datacenter's application is reached.
type Datacenter struct {
	// Upstreams are the application's servers. Names are resolved again and
	// again, and stand for all their addresses.
	Upstreams []string `yaml:"upstreams" bounds:"server" count:"1..1024"`
	// Failover lists the datacenters to try, in order, when none of the
	// upstreams can be reached.
	Failover []string `yaml:"failover" bounds:"name" count:"0..255"`
	Health   Health   `yaml:"health"`
	TLS      TLS      `yaml:"tls"`
	// SlowStart is the time in which an upstream that comes back gets its whole
	// share of the requests. 0s: at once.
	SlowStart time.Duration `yaml:"slow_start" bounds:"0s..1h"`
}

// Health is the active check of each upstream: GET path, any answer under 500
// is good. An empty path checks nothing.
type Health struct {
	// Path is what is asked for. Empty: no active check.
	Path string `yaml:"path" bounds:"path?"`
	// Interval is from one check to the next.
	Interval time.Duration `yaml:"interval" bounds:"100ms..1h"`
	// Timeout is the longest a check may take.
	Timeout time.Duration `yaml:"timeout" bounds:"10ms..1h"`
	// Host is the check's Host header. Empty: the upstream as configured.
	Host string `yaml:"host" bounds:"host?"`
	// HealthyAfter is how many good checks in a row take an upstream back.
	HealthyAfter int `yaml:"healthy_after" bounds:"1..1000"`
	// UnhealthyAfter is how many bad checks in a row take it out.
	UnhealthyAfter int `yaml:"unhealthy_after" bounds:"1..1000"`
}

// TLS is how a datacenter's upstreams are spoken to.
type TLS struct {
	// Enabled speaks TLS to the upstreams.
	Enabled bool `yaml:"enabled" bounds:"true|false"`
	// ServerName is asked for and verified. Empty: the upstream's name or
	// address, as configured.
	ServerName string `yaml:"server_name" bounds:"host?"`
	// CA is the path of the only authorities that are trusted, in PEM. Empty:
	// the system's.
	CA string `yaml:"ca" bounds:"file?"`
	// Cert is the path of the edge's own certificate, in PEM. Empty: none is
	// shown.
	Cert string `yaml:"cert" bounds:"file?"`
	// Key is the path of that certificate's key, in PEM.
	Key string `yaml:"key" bounds:"file?"`
	// MinVersion is the oldest version of TLS that is spoken.
	MinVersion string `yaml:"min_version" bounds:"1.2|1.3"`
	// InsecureSkipVerify trusts whoever answers. It is for tests.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify" bounds:"true|false"`
}

// Upstream is how upstreams are used, in every datacenter.
type Upstream struct {
	// DNSRefresh is how often names of upstreams are resolved again.
	DNSRefresh time.Duration `yaml:"dns_refresh" bounds:"1s..24h"`
	// RetryRatio bounds second tries: so many for each request, on average.
	RetryRatio float64 `yaml:"retry_ratio" bounds:"0..1"`
	// RetryMin is the reserve of second tries, before there were requests.
	RetryMin int `yaml:"retry_min" bounds:"0..1048576"`
	// Queue is how many requests wait for a connection, to each upstream. 0:
	// none waits.
	Queue int `yaml:"queue" bounds:"0..1048576"`
	// QueueTimeout is the longest that one of them waits.
	QueueTimeout time.Duration `yaml:"queue_timeout" bounds:"1ms..1h"`
	// EjectAfter is how many failures in a row take an upstream out. 0: none do.
	EjectAfter int `yaml:"eject_after" bounds:"0..1000"`
	// EjectFirst is for how long, at first. Each time in a row it is twice as
	// long.
	EjectFirst time.Duration `yaml:"eject_first" bounds:"1ms..24h"`
	// EjectMax is for how long at most: not less than eject_first.
	EjectMax time.Duration `yaml:"eject_max" bounds:"1ms..24h"`
}

// DefaultDatacenter returns what a datacenter leaves out.
func DefaultDatacenter() Datacenter {
	return Datacenter{
		Health: Health{Interval: 2 * time.Second, Timeout: time.Second, HealthyAfter: 1, UnhealthyAfter: 2},
		TLS:    TLS{MinVersion: TLS12},
	}
}

func defaultUpstream() Upstream {
	return Upstream{
		DNSRefresh: 10 * time.Second, RetryRatio: 0.2, RetryMin: 50,
		Queue: 1024, QueueTimeout: time.Second,
		EjectAfter: 3, EjectFirst: time.Second, EjectMax: 30 * time.Second,
	}
}

func (dc *Datacenter) complete() {
	d := DefaultDatacenter()
	orDefault(&dc.Health.Interval, d.Health.Interval)
	orDefault(&dc.Health.Timeout, d.Health.Timeout)
	orDefault(&dc.Health.HealthyAfter, d.Health.HealthyAfter)
	orDefault(&dc.Health.UnhealthyAfter, d.Health.UnhealthyAfter)
	orDefault(&dc.TLS.MinVersion, d.TLS.MinVersion)
}
