package consul

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"drover/bucketmap"
)

const (
	defaultAddress    = "127.0.0.1:8500"
	defaultPrefix     = "drover"
	defaultSessionTTL = 15 * time.Second

	prefixMax     = 256 // bytes
	sessionTTLMin = time.Second
	sessionTTLMax = 24 * time.Hour // Consul's own
)

// Options say where Consul is and who this is. The zero value is an agent on
// this machine, without token and signatures.
type Options struct {
	// Address is host:port, http://…, https://… or unix://… of a Consul agent.
	// 127.0.0.1:8500.
	Address string
	// Datacenter is Consul's word for one of its clusters; empty is the agent's.
	Datacenter string
	// Token is the ACL token. TokenFile, instead, names a file with it, which is
	// read again when it changes.
	Token     string
	TokenFile string
	// TLS is for an agent that speaks HTTPS; nil with https:// trusts what the
	// system trusts.
	TLS *TLS
	// Prefix is the folder of keys. Maps of different prefixes know nothing of
	// one another. drover.
	Prefix string
	// Sign signs what is published; nil leaves it unsigned.
	Sign ed25519.PrivateKey
	// Keys are those of which one must have signed every map; none: signatures
	// are not looked at.
	Keys []ed25519.PublicKey
	// SessionTTL is how long, at least, and twice that at most, the
	// acknowledgement of a process that crashed stays. Consul's minimum is 10 s,
	// unless its session_ttl_min says otherwise. 15 s.
	SessionTTL time.Duration
	// Now is the clock of the history's records. time.Now.
	Now func() time.Time
}

// TLS names PEM files. Certificate and key are read again at each connection.
type TLS struct {
	CA         string // authorities; empty: the system's
	Cert, Key  string // the client's certificate; both or neither
	ServerName string // the name in the server's certificate; empty: the address's host
}

// withDefaults fills in what is empty and reports everything that is wrong.
func (o Options) withDefaults() (Options, error) {
	if o.Address == "" {
		o.Address = defaultAddress
	}
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.SessionTTL == 0 {
		o.SessionTTL = defaultSessionTTL
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, _, err := o.endpoint(); err != nil {
		errs = append(errs, err)
	}
	if o.Token != "" && o.TokenFile != "" {
		wrong("token and token file: want one of them")
	}
	if strings.ContainsAny(o.Token, "\r\n") {
		wrong("token: more than one line")
	}
	if o.TLS != nil && (o.TLS.Cert == "") != (o.TLS.Key == "") {
		wrong("client certificate: want both certificate and key, or neither")
	}
	if len(o.Prefix) > prefixMax {
		wrong("prefix of %d bytes: want %d at most", len(o.Prefix), prefixMax)
	}
	for name := range strings.SplitSeq(o.Prefix, "/") {
		if !bucketmap.ValidName(name) {
			wrong("prefix %q: want names of letters, digits, '.', '_' or '-', with '/' between them", o.Prefix)
			break
		}
	}
	if o.Sign != nil && len(o.Sign) != ed25519.PrivateKeySize {
		wrong("private key of %d bytes: want %d", len(o.Sign), ed25519.PrivateKeySize)
	}
	for _, key := range o.Keys {
		if len(key) != ed25519.PublicKeySize {
			wrong("public key of %d bytes: want %d", len(key), ed25519.PublicKeySize)
		}
	}
	if o.SessionTTL < sessionTTLMin || o.SessionTTL > sessionTTLMax {
		wrong("session TTL %v: want %v to %v", o.SessionTTL, sessionTTLMin, sessionTTLMax)
	}
	return o, errors.Join(errs...)
}

// endpoint splits the address into the URL of the agent and the path of its
// socket, which is empty for one on the network.
func (o Options) endpoint() (address, socket string, err error) {
	scheme := "http"
	if o.TLS != nil {
		scheme = "https"
	}
	if path, ok := strings.CutPrefix(o.Address, "unix://"); ok {
		if path == "" || o.TLS != nil {
			return "", "", fmt.Errorf("address %q: want a path after unix://, and no TLS", o.Address)
		}
		return "http://localhost", path, nil
	}
	address = o.Address
	if !strings.Contains(address, "://") {
		address = scheme + "://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", "", fmt.Errorf("address %q: want host:port, http://…, https://… or unix://…", o.Address)
	}
	if u.Scheme == "http" && o.TLS != nil {
		return "", "", fmt.Errorf("address %q with TLS: want https://", o.Address)
	}
	return strings.TrimSuffix(address, "/"), "", nil
}
