package config

import (
	"net/netip"
	"time"

	"drover/internal/admin"
	"drover/internal/config"
	"drover/internal/logging"
)

// Config is the whole file.
type Config struct {
	// Listen is where clients connect, in plain HTTP/1.1: short for one entry of
	// listeners, and not given together with it.
	Listen string `yaml:"listen" bounds:"host:port?"`
	// Listeners are the places where clients connect.
	Listeners []Listener `yaml:"listeners" count:"0..64"`
	// ReusePort opens each listener with SO_REUSEPORT, so that several
	// processes may listen at one address.
	ReusePort bool `yaml:"reuse_port" bounds:"true|false"`
	// Backlog is how many connections the kernel keeps that are not accepted
	// yet, for each listener. The kernel's own bound (net.core.somaxconn) holds
	// too.
	Backlog int   `yaml:"backlog" bounds:"1..65535"`
	Admin   Admin `yaml:"admin"`
	// ID names this proxy in its acknowledgements: it must be another one for
	// each live proxy. Empty is HOSTNAME-PORT.
	ID        string    `yaml:"id" bounds:"name?"`
	Map       Map       `yaml:"map"`
	Whitelist Whitelist `yaml:"whitelist"`
	// Identity is where the user id is looked for, in order. Each entry has
	// exactly one of header, cookie, query, path, jwt and bucket.
	Identity []Identity `yaml:"identity" count:"1..16"`
	// TrustedPeers are the networks whose identity and forwarding headers, and
	// whose PROXY protocol, are believed. From any other peer these headers are
	// dropped. Empty list: nobody.
	TrustedPeers []string `yaml:"trusted_peers" bounds:"network" count:"0..1024"`
	// TrustMTLS trusts a client as well when its certificate was verified by the
	// client_ca of its listener.
	TrustMTLS bool `yaml:"trust_mtls" bounds:"true|false"`
	// Forwarded is how the application is told of the client: the
	// X-Forwarded-* headers, Forwarded (RFC 7239), or both.
	Forwarded string `yaml:"forwarded" bounds:"x-forwarded|forwarded|both"`
	// Via is this proxy's pseudonym in the Via header. Empty: none is added, and
	// a loop of proxies is not noticed.
	Via string `yaml:"via" bounds:"token?"`
	// Datacenters gives the upstreams of each datacenter by its name in the map.
	Datacenters map[string]Datacenter `yaml:"datacenters" count:"1..256"`
	Upstream    Upstream              `yaml:"upstream"`
	Timeouts    Timeouts              `yaml:"timeouts"`
	Limits      Limits                `yaml:"limits"`
	Hold        Hold                  `yaml:"hold"`
	// ReplayBuffer is how much of a request's body is kept so that the request
	// can be sent again.
	ReplayBuffer config.Bytes `yaml:"replay_buffer" bounds:"0..64MiB"`
	// RerouteWaitMax bounds how long a request that was answered 421 waits for
	// a newer map, all its tries together.
	RerouteWaitMax time.Duration `yaml:"reroute_wait_max" bounds:"0s..1m"`
	// ExposeHeaders shows clients the Drover-* and Via headers.
	ExposeHeaders bool      `yaml:"expose_headers" bounds:"true|false"`
	Passport      Passport  `yaml:"passport"`
	Mirror        Mirror    `yaml:"mirror"`
	Cohort        Cohort    `yaml:"cohort"`
	AccessLog     AccessLog `yaml:"access_log"`
	Trace         Trace     `yaml:"trace"`
	Drain         Drain     `yaml:"drain"`
	Restart       Restart   `yaml:"restart"`
	Log           Log       `yaml:"log"`
}

// Admin is the admin server: metrics, health, readiness, /map, /map/ack, /holds,
// /passports and /mirror. Where it is not on loopback, a token or a client_ca is wanted.
type Admin struct {
	// Listen is where it listens. A port of 0 is a free one.
	Listen string `yaml:"listen" bounds:"host:port"`
	// Token is wanted as a bearer token when not empty.
	Token string   `yaml:"token" bounds:"secret?"`
	TLS   AdminTLS `yaml:"tls"`
}

// AdminTLS makes the admin server speak TLS 1.2 or later.
type AdminTLS struct {
	// Cert is the path of the server's certificate and its chain, in PEM. Empty:
	// no TLS.
	Cert string `yaml:"cert" bounds:"file?"`
	// Key is the path of the certificate's key, in PEM.
	Key string `yaml:"key" bounds:"file?"`
	// ClientCA is the path of the authorities, in PEM, one of which must have
	// signed a client's certificate. Empty: none is asked for.
	ClientCA string `yaml:"client_ca" bounds:"file?"`
}

// The words of Forwarded.
const (
	ForwardedX        = "x-forwarded"
	ForwardedStandard = "forwarded"
	ForwardedBoth     = "both"
)

// The places for AccessLog that are no files.
const (
	AccessStdout = "stdout"
	AccessStderr = "stderr"
	AccessNone   = "none"
)

// DefaultListen is where clients connect when the file says nothing of it.
const DefaultListen = ":8080"

// Default returns the configuration of an empty file. It does not validate:
// an identity, the datacenters and the map have no default.
func Default() Config {
	return Config{
		Listen: DefaultListen, Backlog: 4096,
		Admin: Admin{Listen: admin.DefaultListen},
		Map:   defaultMap(),
		TrustedPeers: []string{
			"127.0.0.0/8", "::1/128", // loopback
			"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", // private
		},
		Forwarded: ForwardedX, Via: "drover",
		Upstream: defaultUpstream(),
		Timeouts: defaultTimeouts(),
		Limits:   defaultLimits(),
		Hold: Hold{
			RequestsMax: 1000, Total: 8000, // fewer than the connections: those not held go on
			Bytes: 64 * config.MiB, WaitMax: 5 * time.Second, ReleaseRate: 50_000,
		},
		ReplayBuffer:   64 * config.KiB, // × 10,000 connections = 640 MiB at worst
		RerouteWaitMax: 2 * time.Second,
		Mirror:         defaultMirror(),
		Passport:       Passport{Slow: time.Second, Recent: 256},
		Cohort:         Cohort{Window: time.Hour},
		AccessLog:      AccessLog{Path: AccessStdout, Format: AccessPassport},
		Trace:          Trace{Sample: 0.01, Service: "drover-proxy"},
		Drain:          Drain{Delay: time.Second, Idle: time.Second, Timeout: 30 * time.Second},
		Restart:        Restart{ReadyTimeout: 30 * time.Second},
		Log:            Log{Level: "info", Format: logging.FormatJSON},
	}
}

// Load reads the file at path over the defaults, completes it and validates
// the result.
func Load(path string) (*Config, error) {
	c := Default()
	c.Listen = "" // so that one which the file gives is noticed beside listeners
	if err := config.Load(path, &c); err != nil {
		return nil, err
	}
	if c.Listen == "" && len(c.Listeners) == 0 {
		c.Listen = DefaultListen
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &c, nil
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

// AllListeners returns Listeners, or the one that Listen is short for.
func (c *Config) AllListeners() []Listener {
	if len(c.Listeners) == 0 {
		return []Listener{{Address: c.Listen, ProxyProtocol: ProxyOff}}
	}
	return c.Listeners
}
