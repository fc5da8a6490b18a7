package push

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"drover/bucketmap/file"
)

// ProxiesMax is the most proxies that a Store sends to: WatchAcks keeps one
// connection to each, of about 16 KiB.
const ProxiesMax = 4096

// tries is how often a proxy is sent one map before it is left for later: once
// more for what passes at once, a restart or a busy moment.
const (
	tries     = 2
	tryPause  = 50 * time.Millisecond
	idleMax   = 90 * time.Second
	dialMax   = 10 * time.Second // the Timeout is shorter, or what an operator set
	headerMax = 16 << 10
)

// Options are those of a Store. A zero field has its default.
type Options struct {
	// Dir is the folder of the map and its history.
	Dir string
	// Proxies are the base addresses of the proxies' admin servers, such as
	// https://10.0.0.1:9901; a path before /map is kept.
	Proxies []string
	// Discover, when not nil, gives the proxies in the place of Proxies, for
	// fleets that change. It is asked at each call, and by WatchAcks every
	// Recheck.
	Discover func(ctx context.Context) ([]string, error)
	// Client sends the requests; nil: one of the store's own, with TLS. It
	// must have no timeout of its own below Timeout plus AckWait.
	Client *http.Client
	// TLS is what the store's own client speaks to https addresses: roots, and
	// a certificate where proxies want one.
	TLS *tls.Config
	// Token, when not empty, is sent to every proxy as "Authorization: Bearer".
	Token string
	// Sign signs the maps that are sent; nil: none is signed.
	Sign ed25519.PrivateKey
	// Timeout bounds what is done for one proxy: a map with all its tries, or
	// a question beyond AckWait. 2 s.
	Timeout time.Duration
	// Parallel is how many proxies are sent to, or asked by Acks, at once. 32.
	Parallel int
	// AckWait is how long a proxy may keep WatchAcks' question open when it
	// has nothing new. A proxy that dies without a word is seen after AckWait
	// plus Timeout. 2 s.
	AckWait time.Duration
	// Recheck is how often WatchAcks looks which proxies there are and whether
	// another process has published. 2 s.
	Recheck time.Duration
	// Folder are the folder's own options.
	Folder file.Options
}

func (o Options) withDefaults() Options {
	setDefault(&o.Timeout, 2*time.Second)
	setDefault(&o.Parallel, 32)
	setDefault(&o.AckWait, 2*time.Second)
	setDefault(&o.Recheck, 2*time.Second)
	return o
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// check reports everything that is wrong.
func (o Options) check() error {
	var problems []error
	if o.Dir == "" {
		problems = append(problems, errors.New("no Dir: name the folder that keeps the map and its history"))
	}
	if o.Client != nil && o.TLS != nil {
		problems = append(problems, errors.New("both Client and TLS: give the client its own TLS"))
	}
	if n := len(o.Sign); n != 0 && n != ed25519.PrivateKeySize {
		problems = append(problems, fmt.Errorf("a Sign of %d bytes: an Ed25519 private key has %d", n, ed25519.PrivateKeySize))
	}
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r < '!' || r > '~' }) {
		problems = append(problems, errors.New("a Token with a space or a character that cannot be sent: use letters, digits and punctuation"))
	}
	if o.Discover != nil && len(o.Proxies) != 0 {
		problems = append(problems, errors.New("both Proxies and Discover: use one of them"))
	}
	_, err := baseAddresses(o.Proxies)
	return errors.Join(append(problems, err)...)
}

// baseAddresses returns addresses in one form, without repetition, and reports
// every one that is none.
func baseAddresses(list []string) ([]string, error) {
	if len(list) > ProxiesMax {
		return nil, fmt.Errorf("%d proxies: at most %d can be sent to", len(list), ProxiesMax)
	}
	var problems []error
	known := make(map[string]bool, len(list))
	addresses := make([]string, 0, len(list))
	for _, text := range list {
		address, err := baseAddress(text)
		switch {
		case err != nil:
			problems = append(problems, err)
		case known[address]:
			problems = append(problems, fmt.Errorf("proxy %s is there twice: name each proxy once", address))
		default:
			known[address] = true
			addresses = append(addresses, address)
		}
	}
	return addresses, errors.Join(problems...)
}

func baseAddress(text string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		return "", fmt.Errorf("proxy address: %w: write it as https://10.0.0.1:9901", err)
	}
	if u.User != nil {
		// Not shown: it holds a password.
		return "", fmt.Errorf("proxy address of %s has a user name: use Token, or a client's certificate", u.Host)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return "", fmt.Errorf("proxy address %q: want http or https, a host and a port, such as https://10.0.0.1:9901", text)
	}
	u.Host = strings.ToLower(u.Host)
	u.RawPath, u.Path = "", strings.TrimRight(u.Path, "/")
	u.ForceQuery = false
	return u.String(), nil
}

// client returns the client to use, and what closes its idle connections.
func (o Options) client() (client *http.Client, closeIdle func()) {
	var c http.Client
	if o.Client != nil {
		c = *o.Client
		closeIdle = func() {} // its owner's
	} else {
		transport := &http.Transport{
			TLSClientConfig:        o.TLS.Clone(),
			TLSHandshakeTimeout:    dialMax,
			MaxIdleConnsPerHost:    2, // a question and a map
			IdleConnTimeout:        idleMax,
			MaxResponseHeaderBytes: headerMax,
			// Maps are small already, and an answer may not grow on the way.
			DisableCompression: true,
		}
		c.Transport = transport
		closeIdle = transport.CloseIdleConnections
	}
	// A redirect would take the token and the map to an address that nobody
	// configured.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c, closeIdle
}
