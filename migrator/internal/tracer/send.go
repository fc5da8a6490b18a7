package tracer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"drover/bucketmap"
)

// userAgent marks what tracers send, for the applications' own statistics.
const userAgent = "drover-tracer/1"

// The headers in which a proxy with expose_headers says what it decided.
const (
	headerDatacenter = "Drover-Datacenter"
	headerRoute      = "Drover-Route"
	headerVersion    = "Drover-Map-Version"
)

// exchange is one request and what came back.
type exchange struct {
	request   *Request
	id, path  string // the path without its query, as it was sent
	sent, got time.Time
	times     Times
	status    int
	document  document
	err       error
}

// newClient makes a client that stays on its connections, retries nothing that
// was written, and follows nobody.
func newClient(secure *tls.Config, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{TLSClientConfig: secure, MaxIdleConnsPerHost: lanes, MaxConnsPerHost: 2 * lanes,
			IdleConnTimeout: time.Minute, DisableCompression: true, MaxResponseHeaderBytes: answerMax},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fill puts the values into a template, each by quote.
func fill(text string, values [3]string, quote func(string) string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	return strings.NewReplacer("{user}", quote(values[0]), "{id}", quote(values[1]), "{date}", quote(values[2])).Replace(text)
}

// quoteJSON is a text as it stands between the quotes of a JSON string.
func quoteJSON(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil || len(quoted) < 2 { // a string always can be
		return text
	}
	return string(quoted[1 : len(quoted)-1])
}

// build makes the request of a template.
func (t *Tracer) build(ctx context.Context, p *door, r *Request, user, id string) (*http.Request, error) {
	values := [3]string{user, id, t.date}
	request, err := http.NewRequestWithContext(ctx, r.Method, p.URL+fill(r.Path, values, url.PathEscape),
		strings.NewReader(fill(r.Body, values, quoteJSON)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", userAgent)
	if r.Body != "" {
		request.Header.Set("Content-Type", "application/json")
	} else {
		request.Body, request.GetBody = http.NoBody, nil
	}
	for name, value := range r.Headers {
		request.Header.Set(name, fill(value, values, func(s string) string { return s }))
	}
	request.Host = t.options.Host
	return request, nil
}

// clock notes the stages of one request. The transport may call after the end.
type clock struct {
	mu    sync.Mutex
	begun time.Time
	times Times
}

func (c *clock) note(field *float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*field = milliseconds(time.Since(c.begun))
}

func (c *clock) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			if !i.Reused {
				c.note(&c.times.ConnectedMS)
			}
		},
		WroteRequest:         func(httptrace.WroteRequestInfo) { c.note(&c.times.SentMS) },
		GotFirstResponseByte: func() { c.note(&c.times.FirstByteMS) },
	}
}

// send sends one request and reads its answer.
func (t *Tracer) send(ctx context.Context, p *door, r *Request, user, id string) *exchange {
	c := &clock{begun: time.Now()}
	e := &exchange{request: r, id: id, sent: c.begun}
	e.err = e.do(httptrace.WithClientTrace(ctx, c.trace()), t, p, user)
	e.got = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	e.times = c.times
	e.times.TotalMS = milliseconds(e.got.Sub(e.sent))
	return e
}

func (e *exchange) do(ctx context.Context, t *Tracer, p *door, user string) error {
	request, err := t.build(ctx, p, e.request, user, e.id)
	if err != nil {
		return err
	}
	e.path = request.URL.EscapedPath()
	response, err := t.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	e.status, e.document.header = response.StatusCode, response.Header
	e.document.body, err = io.ReadAll(io.LimitReader(response.Body, answerMax+1))
	if err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	if len(e.document.body) > answerMax {
		return fmt.Errorf("an answer of more than %d bytes: name a smaller one in the configuration", answerMax)
	}
	if e.status != e.request.Status {
		return fmt.Errorf("status %d, want %d: %.*q", e.status, e.request.Status, whyMax, strings.TrimSpace(string(e.document.body)))
	}
	return nil
}

// sentBy reads what the proxy says that it decided. A version of 0 is not known.
func (e *exchange) sentBy() (Sent, error) {
	s := Sent{Datacenter: bucketmap.Datacenter(e.document.header.Get(headerDatacenter)), Reason: e.document.header.Get(headerRoute)}
	text := e.document.header.Get(headerVersion)
	if text == "" {
		return s, nil
	}
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil || version == 0 {
		return s, fmt.Errorf("%s is %.40q, want a version", headerVersion, text)
	}
	s.Version = bucketmap.Version(version)
	return s, nil
}

// served reads what the application says of itself, all that is configured.
func (e *exchange) served() (s Served, err error) {
	text := func(f Field) string {
		if !f.Named() {
			return ""
		}
		value, failed := e.document.value(f)
		err = errors.Join(err, failed)
		return value
	}
	s.Datacenter = bucketmap.Datacenter(text(e.request.Datacenter))
	s.Shard = bucketmap.ShardName(text(e.request.Shard))
	s.Instance = text(e.request.Instance)
	return s, err
}
