package mirror

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/http1"
)

// restAfter is for how long an upstream that failed is passed over, unless all
// of them have.
const restAfter = time.Second

// sender sends to one datacenter, by connections of its own: what the mirror
// does is no sign of health, and takes no place, among the edge's own.
type sender struct {
	datacenter bucketmap.Datacenter
	options    *Options
	scheme     string
	hosts      []host
	next       atomic.Uint64
	transport  *http.Transport
}

type host struct {
	address string
	resting atomic.Int64 // until then, in ns of the wall clock
}

func newSender(dc bucketmap.Datacenter, t Target, o *Options) *sender {
	dialer := &net.Dialer{Timeout: o.Connect}
	s := &sender{
		datacenter: dc, options: o, scheme: "http", hosts: make([]host, len(t.Upstreams)),
		transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: o.Connect,
			MaxConnsPerHost: o.Concurrency, MaxIdleConnsPerHost: o.Concurrency, IdleConnTimeout: o.KeepAlive,
			MaxResponseHeaderBytes: int64(o.HeaderBytes), DisableCompression: true,
			TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1, as the edge speaks
		},
	}
	for i, address := range t.Upstreams {
		s.hosts[i].address = address
	}
	if t.TLS != nil {
		s.scheme, s.transport.TLSClientConfig = "https", t.TLS
	}
	return s
}

func (s *sender) close() { s.transport.CloseIdleConnections() }

// pick returns the next host that did not fail just now.
func (s *sender) pick(now time.Time) *host {
	n := uint64(len(s.hosts))
	first := s.next.Add(1)
	for i := range n {
		if h := &s.hosts[(first+i)%n]; h.resting.Load() <= now.UnixNano() {
			return h
		}
	}
	return &s.hosts[first%n]
}

// errMisdirected is an application that answers that it is not the home: a map
// is on its way to it, and there is nothing to compare.
var errMisdirected = errors.New("it answered 421 with Drover-Map-Version: it does not serve this user now")

// send sends a sample's request and returns the answer.
func (s *sender) send(ctx context.Context, sample *Sample) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	h := s.pick(time.Now())
	request, err := s.request(ctx, sample, h)
	if err != nil {
		return nil, err
	}
	// RoundTrip, and no client: nothing follows a redirect or keeps a cookie.
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		h.resting.Store(time.Now().Add(restAfter).UnixNano())
		return nil, fmt.Errorf("%s: %w", h.address, err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusMisdirectedRequest && response.Header.Get("Drover-Map-Version") != "" {
		return nil, fmt.Errorf("%s: %w", h.address, errMisdirected)
	}
	a := &answer{status: response.StatusCode, toHead: sample.method == methodHead}
	for name, values := range response.Header {
		for _, v := range values {
			a.fields = append(a.fields, field{strings.ToLower(name), v})
		}
	}
	a.body, err = io.ReadAll(io.LimitReader(response.Body, int64(s.options.BodyMax)+1))
	if err != nil {
		return nil, fmt.Errorf("%s: the answer broke off: %w", h.address, err)
	}
	if len(a.body) > s.options.BodyMax {
		a.body, a.over = a.body[:s.options.BodyMax], true
	}
	return a, nil
}

// request makes the sample's request one to this datacenter: the head that the
// user's own request had, and the mark.
func (s *sender) request(ctx context.Context, sample *Sample, h *host) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, sample.method, s.scheme+"://"+h.address+"/", nil)
	if err != nil {
		return nil, err
	}
	r.URL = s.target(sample.target(), h)
	r.Host = ""
	r.Header = http.Header{}
	_, lines, _ := bytes.Cut(sample.head, []byte("\r\n"))
	for len(lines) != 0 {
		line, rest, _ := bytes.Cut(lines, []byte("\r\n"))
		lines = rest
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		text := string(bytes.TrimSpace(value))
		switch http1.KindOf(name) {
		case http1.Host:
			r.Host = text
		case http1.UserAgent:
			r.Header.Set("User-Agent", text)
		case http1.ContentLength, http1.TransferEncoding, http1.Connection, http1.KeepAlive, http1.ProxyConnection,
			http1.ProxyAuthorization, http1.TE, http1.Trailer, http1.Upgrade, http1.HTTP2Settings, http1.Expect:
		default:
			r.Header[string(name)] = append(r.Header[string(name)], text) // spelled as it came
		}
	}
	if r.Header["User-Agent"] == nil {
		r.Header["User-Agent"] = []string{""} // none is sent
	}
	r.Header[Header] = []string{"1"}
	r.Header["Drover-Datacenter"] = []string{string(s.datacenter)}
	return r, nil
}

// target is the request's target, byte for byte. One that begins with two
// slashes would be taken for an authority: it goes as a path.
func (s *sender) target(text string, h *host) *url.URL {
	u := &url.URL{Scheme: s.scheme, Host: h.address}
	if !strings.HasPrefix(text, "//") {
		u.Opaque = text
		return u
	}
	path, query, ask := strings.Cut(text, "?")
	u.RawQuery, u.ForceQuery = query, ask && query == ""
	u.Path, u.RawPath = path, path
	if plain, err := url.PathUnescape(path); err == nil {
		u.Path = plain
	}
	return u
}

// isTimeout says whether an answer did not come in time.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
