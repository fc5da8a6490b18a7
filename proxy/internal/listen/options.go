package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"drover/proxy/internal/socket"
)

// What a listener wants of a PROXY header.
const (
	ProxyOff = "off" // none
	ProxyV1  = "v1"  // the one for people
	ProxyV2  = "v2"  // the binary one
	ProxyAny = "any" // either
)

// Config is one listener.
type Config struct {
	Address       string     // host:port
	TLS           *TLSConfig // nil: plain
	ProxyProtocol string     // off, v1, v2 or any; empty is off
	HTTP2         bool       // offered in the TLS handshake
}

// Pair is the files of a certificate chain and its key, PEM.
type Pair struct{ Cert, Key string }

// TLSConfig is a listener's TLS. The cipher suites are Go's own choice.
type TLSConfig struct {
	// Certificates are chosen from by the name the client asks for: the exact
	// name, then the wildcard, then the first of all. Of several for one name
	// the first that the client can use is taken.
	Certificates []Pair
	Reload       time.Duration // how often the files are looked at; 0: only by Set.Reload
	MinVersion   uint16        // default TLS 1.2
	ClientCA     string        // the file of the authorities of clients' certificates, PEM
	ClientAuth   tls.ClientAuthType
	// SessionTickets lets clients resume. The keys are made here, are another
	// one each day, and are never written anywhere.
	SessionTickets bool
}

// Sockets is where listening sockets come from.
type Sockets interface {
	Listen(network, address string, lc *net.ListenConfig) (net.Listener, error)
}

// Counters are told what happens; each may be nil and must not wait.
type Counters struct {
	Accepted func(address string)
	// Failed is told of each Pending.Open that fails, by a reason of Reasons.
	Failed func(address, reason string)
	// AcceptError is told of each accept that the system refused.
	AcceptError func(address string)
	Reloaded    func(address string, ok bool)
}

// Options are what Open wants.
type Options struct {
	Listeners []Config
	Trusted   []netip.Prefix // whose PROXY header and identity are believed
	TrustMTLS bool           // a client with a verified certificate is trusted
	ReusePort bool           // several processes may listen side by side
	Backlog   int            // 0: the system's most
	Handshake time.Duration  // bound of the TLS handshake; 0: handshakeMax
	Header    time.Duration  // bound of the PROXY header; 0: headerMax
	Sockets   Sockets        // nil: opened here
	Watcher   *socket.Watcher
	Log       *zap.Logger
	Counters  Counters
}

// The bounds where the options have none.
const (
	handshakeMax = 10 * time.Second
	headerMax    = 3 * time.Second
)

// direct opens sockets itself.
type direct struct{}

func (direct) Listen(network, address string, lc *net.ListenConfig) (net.Listener, error) {
	return listenNow(network, address, lc)
}

func (o *Options) defaults() {
	if o.Sockets == nil {
		o.Sockets = direct{}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Handshake <= 0 {
		o.Handshake = handshakeMax
	}
	if o.Header <= 0 {
		o.Header = headerMax
	}
	c := &o.Counters
	if c.Accepted == nil {
		c.Accepted = func(string) {}
	}
	if c.Failed == nil {
		c.Failed = func(string, string) {}
	}
	if c.AcceptError == nil {
		c.AcceptError = func(string) {}
	}
	if c.Reloaded == nil {
		c.Reloaded = func(string, bool) {}
	}
}

// validate reports every problem at once.
func (o *Options) validate() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(o.Listeners) == 0 {
		problem("no listener: name one address at least")
	}
	if o.Backlog < 0 {
		problem("backlog %d: must be 0 (the system's most) or more", o.Backlog)
	}
	for i, c := range o.Listeners {
		name := fmt.Sprintf("listener %d (%s)", i+1, c.Address)
		switch c.ProxyProtocol {
		case "", ProxyOff:
		case ProxyV1, ProxyV2, ProxyAny:
			if len(o.Trusted) == 0 {
				problem("%s: a PROXY header is wanted, but no peer is trusted to send one: name the balancers as trusted peers", name)
			}
		default:
			problem("%s: proxy protocol %q: must be off, v1, v2 or any", name, c.ProxyProtocol)
		}
		switch {
		case c.TLS == nil && c.HTTP2:
			problem("%s: HTTP/2 is agreed on in the TLS handshake: configure TLS, or turn HTTP/2 off", name)
		case c.TLS != nil:
			errs = append(errs, c.TLS.validate(name)...)
		}
	}
	return errors.Join(errs...)
}

func (c *TLSConfig) validate(name string) (errs []error) {
	problem := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(name+": "+format, args...))
	}
	if len(c.Certificates) == 0 {
		problem("TLS without a certificate: name the files of one at least")
	}
	if c.Reload < 0 {
		problem("reload %v: must be 0 (never) or more", c.Reload)
	}
	if c.MinVersion != 0 && (c.MinVersion < tls.VersionTLS10 || c.MinVersion > tls.VersionTLS13) {
		problem("lowest TLS version %#x: must be one of 1.0 to 1.3", c.MinVersion)
	}
	verifies := c.ClientAuth == tls.VerifyClientCertIfGiven || c.ClientAuth == tls.RequireAndVerifyClientCert
	if verifies && c.ClientCA == "" {
		problem("clients' certificates are verified, but against nothing: name the file of their authorities")
	}
	if !verifies && c.ClientCA != "" {
		problem("authorities of clients' certificates are named, but none is verified: set the client authentication to verify")
	}
	return errs
}
