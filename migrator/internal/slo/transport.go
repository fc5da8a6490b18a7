package slo

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// secretFileMax bounds a file with a token or certificates: far above any.
const secretFileMax = 1 << 20

// client makes the client that asks the source. It follows no redirect: what
// answers instead is not what was configured, and would get the token.
func (s *Source) client() (*http.Client, error) {
	transport := &http.Transport{Proxy: nil, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: queriesMax,
		IdleConnTimeout: time.Minute}
	if s.CAFile != "" {
		text, err := readSmall(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("source.ca_file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("source.ca_file: %s has no certificate in PEM", s.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	var next http.RoundTripper = transport
	if s.TokenFile != "" {
		text, err := readSmall(s.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("source.token_file: %w", err)
		}
		token, _, err := bufio.NewReader(strings.NewReader(string(text))).ReadLine()
		if err != nil || len(token) == 0 {
			return nil, fmt.Errorf("source.token_file: %s has no token in its first line", s.TokenFile)
		}
		next = &bearer{transport, string(token)}
	}
	return &http.Client{Transport: next, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, secretFileMax))
}

// bearer adds a token to requests.
type bearer struct {
	next  http.RoundTripper
	token string
}

// CloseIdleConnections is http.Client's, which looks for it.
func (b *bearer) CloseIdleConnections() { closeIdle(b.next) }

func closeIdle(t http.RoundTripper) {
	if c, ok := t.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// errTooLong says that an answer was cut off.
var errTooLong = errors.New("the answer is longer than source.answer_max")

// bounded ends answers that are too long with an error.
type bounded struct {
	next http.RoundTripper
	max  int64
}

// CloseIdleConnections is http.Client's, which looks for it.
func (b *bounded) CloseIdleConnections() { closeIdle(b.next) }

func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &boundedBody{answer.Body, b.max}
	return answer, nil
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}
