// Package config is the edge's configuration: its keys, their defaults and
// their bounds.
//
// Load reads a file over the defaults and validates it; every problem is
// reported at once. A Config is not changed after Load and may be read by any
// number of goroutines. The package opens no socket and constructs nothing.
package config

import (
	"net/netip"
	"os"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/internal/admin"
	"drover/internal/config"
	"drover/internal/logging"
)

// Config is the whole file.
type Config struct {
	// Listen is where clients connect: host:port.
	Listen string `yaml:"listen"`
	Admin  Admin  `yaml:"admin"`
	// ID names this proxy in its acknowledgements: it must be another one for
	// each live proxy. Empty is HOSTNAME-PORT.
	ID  string `yaml:"id"`
	Map Map    `yaml:"map"`
	// Identity is where the user id is looked for, in order.
	Identity []Identity `yaml:"identity"`
	// TrustedPeers are the networks whose identity and X-Forwarded-* headers
	// are believed. Default: loopback and the private networks. From any other
	// peer these headers are dropped. Empty list: nobody.
	TrustedPeers []string `yaml:"trusted_peers"`
	// Datacenters gives the upstreams of each datacenter by its name in the map.
	Datacenters map[string]Datacenter `yaml:"datacenters"`
	Timeouts    Timeouts              `yaml:"timeouts"`
	Limits      Limits                `yaml:"limits"`
	Hold        Hold                  `yaml:"hold"`
	// ReplayBuffer is how much of a request's body is kept so that the request
	// can be sent again.
	ReplayBuffer config.Bytes `yaml:"replay_buffer"`
	// RerouteWaitMax bounds how long a request that was answered 421 waits for
	// a newer map, all its tries together.
	RerouteWaitMax time.Duration `yaml:"reroute_wait_max"`
	// ExposeHeaders shows clients the Drover-* and Via headers.
	ExposeHeaders bool     `yaml:"expose_headers"`
	Passport      Passport `yaml:"passport"`
	// AccessLog is where passports are written: stdout, stderr, none or the
	// path of a file, which is appended to.
	AccessLog string `yaml:"access_log"`
	Drain     Drain  `yaml:"drain"`
	Log       Log    `yaml:"log"`
}

// Admin is the admin server.
type Admin struct {
	Listen string `yaml:"listen"` // default: loopback, a free port
	Token  string `yaml:"token"`  // wanted as a bearer token when not empty
}

// Map is where the map comes from.
type Map struct {
	Store string `yaml:"store"` // file
	Dir   string `yaml:"dir"`   // of the file store
	// Cache is the path of the last good map on this proxy's own disk. Empty:
	// none is kept.
	Cache string `yaml:"cache"`
}

// Identity is one place where a user id may be: a header or a cookie.
type Identity struct {
	Header string `yaml:"header,omitempty"`
	Cookie string `yaml:"cookie,omitempty"`
}

// Datacenter is where one datacenter's application is reached.
type Datacenter struct {
	Upstreams []string `yaml:"upstreams"` // host:port
	// Failover lists the datacenters to try, in order, when none of the
	// upstreams can be reached.
	Failover []string `yaml:"failover"`
	Health   Health   `yaml:"health"`
}

// Health is the active check of each upstream: GET Path, any answer under 500
// is good. An empty path checks nothing.
type Health struct {
	Path     string        `yaml:"path"`
	Interval time.Duration `yaml:"interval"`
	Timeout  time.Duration `yaml:"timeout"`
}

// Timeouts are the longest waits.
type Timeouts struct {
	Connect   time.Duration `yaml:"connect"`    // to an upstream, waiting for a free connection included
	FirstByte time.Duration `yaml:"first_byte"` // from the request sent to the answer's head
	Idle      time.Duration `yaml:"idle"`       // between two bytes of a body, either way
	Total     time.Duration `yaml:"total"`      // of one request
	Header    time.Duration `yaml:"header"`     // for a client to send a request's head
	KeepAlive time.Duration `yaml:"keep_alive"` // of a client's idle connection
	// UpstreamKeepAlive is for how long an idle upstream connection is kept:
	// shorter than what the application servers do.
	UpstreamKeepAlive time.Duration `yaml:"upstream_keep_alive"`
}

// Limits bound what clients can take.
type Limits struct {
	HeaderBytes         config.Bytes `yaml:"header_bytes"`         // of a request's or an answer's head
	Body                config.Bytes `yaml:"body"`                 // of a request
	Connections         int          `yaml:"connections"`          // of clients
	UpstreamConnections int          `yaml:"upstream_connections"` // to each upstream
}

// Hold bounds the queues of held requests.
type Hold struct {
	RequestsMax int           `yaml:"requests_max"` // in one bucket
	Total       int           `yaml:"total"`        // in all
	Bytes       config.Bytes  `yaml:"bytes"`        // of the heads of all held requests
	WaitMax     time.Duration `yaml:"wait_max"`     // of one request
	// ReleaseRate is how many held requests a second go out when holds end.
	ReleaseRate int `yaml:"release_rate"`
}

// Passport says which requests leave a line.
type Passport struct {
	Slow   time.Duration `yaml:"slow"`   // as long or longer; 0 is none
	Sample float64       `yaml:"sample"` // share of all requests, 0 to 1
	Recent int           `yaml:"recent"` // how many of the slow and failed ones the admin server shows
}

// Drain is the orderly end after SIGTERM.
type Drain struct {
	// Delay is from not ready to the listener's close, so that load balancers
	// see it.
	Delay time.Duration `yaml:"delay"`
	// Idle is for how long a connection must have been idle to be closed.
	Idle time.Duration `yaml:"idle"`
	// Timeout bounds the wait for requests under way.
	Timeout time.Duration `yaml:"timeout"`
}

// Log is the program's own log, on stderr.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // json, text
}

// The places for AccessLog that are no files.
const (
	AccessStdout = "stdout"
	AccessStderr = "stderr"
	AccessNone   = "none"
)

// StoreFile is the file store.
const StoreFile = "file"

// Default returns the configuration of an empty file. It does not validate:
// an identity, the datacenters and the map have no default.
func Default() Config {
	return Config{
		Listen: ":8080",
		Admin:  Admin{Listen: admin.DefaultListen},
		Map:    Map{Store: StoreFile},
		TrustedPeers: []string{
			"127.0.0.0/8", "::1/128", // loopback
			"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", // private
		},
		Timeouts: Timeouts{
			Connect: time.Second, FirstByte: 30 * time.Second, Idle: time.Minute, Total: time.Hour,
			Header: 10 * time.Second, KeepAlive: 75 * time.Second,
			UpstreamKeepAlive: 4 * time.Second, // common application servers close after 5
		},
		Limits: Limits{
			HeaderBytes: 16 * config.KiB, // × 10,000 connections × 2 sides = 320 MiB at worst
			Body:        config.GiB, Connections: 10_000, UpstreamConnections: 1024,
		},
		Hold: Hold{
			RequestsMax: 1000, Total: 8000, // fewer than the connections: those not held go on
			Bytes: 64 * config.MiB, WaitMax: 5 * time.Second, ReleaseRate: 5000,
		},
		ReplayBuffer:   64 * config.KiB, // × 10,000 connections = 640 MiB at worst
		RerouteWaitMax: 2 * time.Second,
		Passport:       Passport{Slow: time.Second, Recent: 256},
		AccessLog:      AccessStdout,
		Drain:          Drain{Delay: time.Second, Idle: time.Second, Timeout: 30 * time.Second},
		Log:            Log{Level: "info", Format: logging.FormatJSON},
	}
}

// defaultHealth fills what a datacenter's health leaves out.
var defaultHealth = Health{Interval: 2 * time.Second, Timeout: time.Second}

// Load reads the file at path over the defaults and validates the result.
func Load(path string) (*Config, error) {
	c := Default()
	if err := config.Load(path, &c); err != nil {
		return nil, err
	}
	c.complete()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &c, nil
}

// complete sets the defaults that depend on other keys.
func (c *Config) complete() {
	for name, dc := range c.Datacenters {
		if dc.Health.Interval == 0 {
			dc.Health.Interval = defaultHealth.Interval
		}
		if dc.Health.Timeout == 0 {
			dc.Health.Timeout = defaultHealth.Timeout
		}
		c.Datacenters[name] = dc
	}
	if c.ID == "" {
		c.ID = defaultID(c.Listen)
	}
}

func defaultID(listen string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "proxy"
	}
	id := []byte(host + "-" + listen[strings.LastIndexByte(listen, ':')+1:])
	for i, b := range id {
		if !nameByte(b) {
			id[i] = '-'
		}
	}
	if over := len(id) - bucketmap.NameMax; over > 0 {
		id = id[over:] // the port at the end tells proxies of one machine apart
	}
	return string(id)
}

// Peers returns the trusted networks.
func (c *Config) Peers() []netip.Prefix {
	peers := make([]netip.Prefix, 0, len(c.TrustedPeers))
	for _, text := range c.TrustedPeers {
		if p, err := netip.ParsePrefix(text); err == nil { // Validate has seen to it
			peers = append(peers, p.Masked())
		}
	}
	return peers
}
