package consul

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	dialMax      = 5 * time.Second
	idleMax      = 90 * time.Second
	idleConnsMax = 2 * parallelMax

	// responseMax bounds what is read of one answer: 100 history records of
	// 180 KiB in base64 are 24 MiB, 10,000 acknowledgements of 5 KiB 67 MiB.
	responseMax = 96 << 20
	// statusTextMax bounds what an error says of an answer.
	statusTextMax = 1 << 10
	tokenFileMax  = 4 << 10
)

var errTokenFile = errors.New("the token file cannot be used")

var errResponseMax = fmt.Errorf("an answer of more than %d bytes", responseMax)

// newClient returns Consul's client on a transport of our own.
func newClient(o Options) (*api.Client, *http.Transport, error) {
	address, socket, err := o.endpoint()
	if err != nil {
		return nil, nil, err
	}
	dialer := &net.Dialer{Timeout: dialMax}
	base := &http.Transport{
		DialContext:         dialer.DialContext,
		MaxIdleConns:        idleConnsMax,
		MaxIdleConnsPerHost: idleConnsMax,
		IdleConnTimeout:     idleMax,
		TLSHandshakeTimeout: dialMax,
		// Values are dense already, and a leader has better to do.
		DisableCompression: true,
	}
	if socket != "" {
		base.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	if base.TLSClientConfig, err = o.TLS.config(); err != nil {
		return nil, nil, err
	}
	own := &transport{base: base, token: newTokenSource(o)}
	if _, err := own.token.read(); err != nil {
		return nil, nil, err
	}
	client, err := api.NewClient(&api.Config{
		Address:    address,
		Scheme:     "http", // an address with a scheme goes before it
		Datacenter: o.Datacenter,
		HttpClient: &http.Client{Transport: own},
	})
	if err != nil {
		return nil, nil, err
	}
	return client, base, nil
}

// config returns nil for no TLS, which trusts what the system trusts.
func (t *TLS) config() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	config := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		text, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read the authorities: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: no certificate in PEM", t.CA)
		}
	}
	if t.Cert != "" {
		load := func() (*tls.Certificate, error) {
			certificate, err := tls.LoadX509KeyPair(t.Cert, t.Key)
			return &certificate, err
		}
		if _, err := load(); err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return config, nil
}

// transport gives requests the token, bounds answers, and makes errors of
// statuses, some of which Consul's client forgets.
type transport struct {
	base  *http.Transport
	token tokenSource
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := t.token.read()
	if err != nil {
		return nil, errors.Join(err, closeBody(r))
	}
	// Nothing but the header is changed: a copy of the rest would be garbage.
	header := r.Header.Clone()
	r = r.WithContext(r.Context())
	r.Header = header
	// Also when there is none: the client takes one from the environment.
	r.Header.Del("X-Consul-Token")
	if token != "" {
		r.Header.Set("X-Consul-Token", token)
	}
	answer, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	switch answer.StatusCode {
	case http.StatusOK, http.StatusNotFound, http.StatusConflict:
		answer.Body = &boundedBody{ReadCloser: answer.Body, left: responseMax}
		return answer, nil
	default:
		defer answer.Body.Close()
		text, err := io.ReadAll(io.LimitReader(answer.Body, statusTextMax))
		if err != nil && len(text) == 0 {
			text = []byte(err.Error())
		}
		return nil, &statusError{code: answer.StatusCode, text: strings.TrimSpace(string(text))}
	}
}

// closeBody does what a transport must, also when it sends nothing.
func closeBody(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errResponseMax
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// tokenSource is the token of the options, or the file that has it.
type tokenSource struct {
	token string
	file  *tokenFile // nil for none
}

func newTokenSource(o Options) tokenSource {
	if o.TokenFile == "" {
		return tokenSource{token: o.Token}
	}
	return tokenSource{file: &tokenFile{path: o.TokenFile}}
}

// read returns the token of the next request; empty is none.
func (t tokenSource) read() (string, error) {
	if t.file == nil {
		return t.token, nil
	}
	return t.file.read()
}

// tokenFile is a token that may be replaced while the process runs.
type tokenFile struct {
	path string

	mu    sync.Mutex
	info  os.FileInfo
	token string
}

func (f *tokenFile) read() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errTokenFile, err)
	}
	if f.info != nil && os.SameFile(f.info, info) && f.info.ModTime().Equal(info.ModTime()) && f.info.Size() == info.Size() {
		return f.token, nil
	}
	if info.Size() > tokenFileMax {
		return "", fmt.Errorf("%w: %s has %d bytes, want one line with a token", errTokenFile, f.path, info.Size())
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errTokenFile, err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, "\r\n") {
		return "", fmt.Errorf("%w: %s, want one line with a token", errTokenFile, f.path)
	}
	f.info, f.token = info, token
	return token, nil
}
