package config

import "time"

// Listener is one place where clients connect.
type Listener struct {
	// Address is where it listens. An empty host is every address of the
	// machine.
	Address string `yaml:"address" bounds:"host:port"`
	// TLS makes clients speak TLS. Without it they speak plain HTTP.
	TLS *ListenerTLS `yaml:"tls"`
	// HTTP2 offers HTTP/2 beside HTTP/1.1. It needs TLS: without it the default
	// is false.
	HTTP2 bool `yaml:"http2" bounds:"true|false"`
	// ProxyProtocol is which version of the PROXY protocol's header begins each
	// connection. A peer must be in trusted_peers to send it; from any other
	// the connection is closed.
	ProxyProtocol string `yaml:"proxy_protocol" bounds:"off|v1|v2|any"`
}

// ListenerTLS is what a listener shows its clients, and what it wants of them.
type ListenerTLS struct {
	// Certificates are what is shown: the first that fits the name that the
	// client asks for, else the first of all.
	Certificates []Certificate `yaml:"certificates" count:"1..256"`
	// ReloadInterval is how often the files are looked at: new certificates are
	// taken with no restart.
	ReloadInterval time.Duration `yaml:"reload_interval" bounds:"1s..24h"`
	// MinVersion is the oldest version of TLS that is spoken.
	MinVersion string `yaml:"min_version" bounds:"1.2|1.3"`
	// ClientCA is the path of the authorities of clients' certificates, in PEM.
	// Empty: none is asked for.
	ClientCA string `yaml:"client_ca" bounds:"file?"`
	// ClientAuth says whether a client needs a certificate: none asks for none,
	// request verifies one that is shown, require refuses clients without one.
	// Empty is request with a client_ca, else none.
	ClientAuth string `yaml:"client_auth" bounds:"none|request|require?"`
	// SessionTickets lets clients resume a session with no new handshake.
	SessionTickets bool `yaml:"session_tickets" bounds:"true|false"`
}

// Certificate is one certificate and its key.
type Certificate struct {
	// Cert is the path of the certificate and its chain, in PEM.
	Cert string `yaml:"cert" bounds:"file"`
	// Key is the path of the certificate's key, in PEM.
	Key string `yaml:"key" bounds:"file"`
}

// The words of Listener.ProxyProtocol.
const (
	ProxyOff = "off"
	ProxyV1  = "v1"
	ProxyV2  = "v2"
	ProxyAny = "any"
)

// The words of ListenerTLS.ClientAuth.
const (
	ClientAuthNone    = "none"
	ClientAuthRequest = "request"
	ClientAuthRequire = "require"
)

// The words of MinVersion.
const (
	TLS12 = "1.2"
	TLS13 = "1.3"
)

// DefaultListener returns what an entry of listeners leaves out, where it has
// TLS.
func DefaultListener() Listener { return Listener{HTTP2: true, ProxyProtocol: ProxyOff} }

// DefaultListenerTLS returns what a listener's TLS leaves out.
func DefaultListenerTLS() ListenerTLS {
	return ListenerTLS{ReloadInterval: 10 * time.Second, MinVersion: TLS12, SessionTickets: true}
}

// UnmarshalYAML reads a listener over its defaults. It reads it twice: a key
// that says the same over false and over true was given.
func (l *Listener) UnmarshalYAML(decode func(any) error) error {
	type plain Listener
	over := func(http2 bool) (plain, error) {
		v := plain(DefaultListener())
		v.HTTP2 = http2
		err := decode(&v)
		return v, err
	}
	low, err := over(false)
	if err != nil {
		return err
	}
	high, err := over(true)
	if err != nil {
		return err
	}
	*l = Listener(high)
	if given := low.HTTP2 == high.HTTP2; !given {
		l.HTTP2 = l.TLS != nil
	}
	return nil
}

// UnmarshalYAML reads a listener's TLS over its defaults.
func (t *ListenerTLS) UnmarshalYAML(decode func(any) error) error {
	type plain ListenerTLS
	v := plain(DefaultListenerTLS())
	if err := decode(&v); err != nil {
		return err
	}
	*t = ListenerTLS(v)
	return nil
}

func (l *Listener) complete() {
	orDefault(&l.ProxyProtocol, ProxyOff)
	if l.TLS == nil {
		return
	}
	d := DefaultListenerTLS()
	orDefault(&l.TLS.ReloadInterval, d.ReloadInterval)
	orDefault(&l.TLS.MinVersion, d.MinVersion)
	if l.TLS.ClientCA != "" {
		orDefault(&l.TLS.ClientAuth, ClientAuthRequest)
	}
	orDefault(&l.TLS.ClientAuth, ClientAuthNone)
}
