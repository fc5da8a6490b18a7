package consul

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/valyala/fasthttp"
	"golang.org/x/net/http/httpguts"
)

const (
	// lineReadBytes bounds an answer's header, which must fit in: Consul's has
	// 0.5 KiB, and a gateway before it adds some.
	lineReadBytes = 32 << 10
	// lineKeepBytes bounds what is kept of an answer's and a request's buffer:
	// a pointer has 175 KiB at most. Two lines keep 0.6 MiB at worst.
	lineKeepBytes = 256 << 10
)

// line is one connection to Consul for the two requests that every version
// costs a proxy: the blocking query on the pointer, and the acknowledgement.
// They go past Consul's client, because that and net/http take ten times the
// CPU: two goroutines a connection, to which each request is handed over, and
// a value that is decoded from base64 in JSON.
//
// Both requests may be sent twice. So one that finds the connection closed, as
// it is after the agent was restarted, is sent again on a new one, once.
//
// It needs no goroutine, and only one may use it at a time.
type line struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	address string      // host:port
	tls     *tls.Config // nil for none
	token   tokenSource
	head    fasthttp.RequestHeader
	path    string // what is before a key
	query   string // what every request has: datacenter, namespace, partition; ends with & or is empty

	conn    net.Conn // nil for none
	reader  *bufio.Reader
	used    time.Time // when the connection was last used
	request []byte
	answer  fasthttp.Response
}

// newLine returns a line to where the transport leads. It does not connect.
func newLine(o Options, transport *http.Transport) (*line, error) {
	address, _, err := o.endpoint()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	name, err := httpguts.PunycodeHostPort(u.Hostname())
	if err != nil {
		return nil, err
	}
	host, err := httpguts.PunycodeHostPort(u.Host)
	if err != nil {
		return nil, err
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(address, u.Scheme+"://"), "/") // a gateway's, which the client takes as it is
	if path != "" {
		path = "/" + path
	}
	l := &line{
		dial:    transport.DialContext, // knows of a socket, too
		address: net.JoinHostPort(name, port),
		token:   newTokenSource(o),
		path:    path + "/v1/kv/",
		reader:  bufio.NewReaderSize(nil, lineReadBytes),
	}
	if u.Scheme == "https" {
		l.tls = transport.TLSClientConfig.Clone()
		if l.tls == nil {
			l.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if l.tls.ServerName == "" {
			l.tls.ServerName = name
		}
	}
	if bare, zone, ok := strings.Cut(host, "%"); ok { // the zone of an address is nobody else's business
		host = bare + zone[strings.Index(zone, "]"):]
	}
	l.head.SetHost(host)
	l.head.SetUserAgent("drover")
	l.query = everyQuery(o)
	return l, nil
}

// everyQuery is what Consul's client adds to every request.
func everyQuery(o Options) string {
	environment := api.DefaultConfig() // reads the namespace and the partition
	values := url.Values{}
	for name, value := range map[string]string{"dc": o.Datacenter, "ns": environment.Namespace, "partition": environment.Partition} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if len(values) == 0 {
		return ""
	}
	return values.Encode() + "&"
}

// get asks for a key's value. The query is that of a blocking one; the value
// is nil where there is no such key, and good until the next request.
func (l *line) get(ctx context.Context, key, query string, limit time.Duration) (value []byte, index uint64, err error) {
	defer func() { err = named(fasthttp.MethodGet, key, err) }()
	if err := l.prepare(fasthttp.MethodGet, key, "raw&"+query, nil); err != nil {
		return nil, 0, err
	}
	if err := l.send(ctx, limit); err != nil {
		return nil, 0, err
	}
	index, err = strconv.ParseUint(string(l.answer.Header.Peek("X-Consul-Index")), 10, 64)
	value = l.answer.Body()
	switch code := l.answer.StatusCode(); {
	case code != fasthttp.StatusOK && code != fasthttp.StatusNotFound:
		return nil, 0, l.status()
	case err != nil:
		return nil, 0, fmt.Errorf("status %d without an index: this is not Consul's answer: %w", code, err)
	case len(l.answer.Header.ContentEncoding()) != 0:
		return nil, 0, fmt.Errorf("an answer in the encoding %q, which nobody asked for", l.answer.Header.ContentEncoding())
	case code == fasthttp.StatusNotFound:
		return nil, index, nil
	case l.answer.ConnectionClose() && !json.Valid(value):
		// One that has no length ends with its connection, whether or not that is all.
		return nil, 0, errors.New("an answer that was cut off")
	}
	return slices.Grow(value, 1), index, nil // also an empty one is not nil
}

// acquire writes a key and locks it by a session. It says false where another
// session has the key.
func (l *line) acquire(ctx context.Context, key, session string, value []byte, limit time.Duration) (got bool, err error) {
	defer func() { err = named(fasthttp.MethodPut, key, err) }()
	if err := l.prepare(fasthttp.MethodPut, key, "acquire="+url.QueryEscape(session), value); err != nil {
		return false, err
	}
	if err := l.send(ctx, limit); err != nil {
		return false, err
	}
	if l.answer.StatusCode() != fasthttp.StatusOK {
		return false, l.status()
	}
	switch word := strings.TrimSpace(string(l.answer.Body())); word {
	case "true":
		return true, nil
	case "false":
		return false, nil
	default:
		return false, fmt.Errorf("the answer %.80q: want true or false", word)
	}
}

// named says of which request an error is.
func named(method, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", method, key, err)
}

// prepare makes the request's text.
func (l *line) prepare(method, key, query string, body []byte) error {
	token, err := l.token.read()
	if err != nil {
		return err
	}
	l.head.SetMethod(method)
	l.head.SetRequestURI((&url.URL{Path: l.path + key, RawQuery: l.query + query}).RequestURI())
	l.head.Del("X-Consul-Token")
	if token != "" {
		l.head.Set("X-Consul-Token", token)
	}
	l.head.Del(fasthttp.HeaderContentLength)
	l.head.Del(fasthttp.HeaderContentType)
	if method == fasthttp.MethodPut {
		l.head.SetContentType("application/octet-stream")
		l.head.SetContentLength(len(body))
	}
	l.answer.ReleaseBody(lineKeepBytes)
	if cap(l.request) > lineKeepBytes {
		l.request = nil
	}
	l.request = append(l.head.AppendBytes(l.request[:0]), body...)
	return nil
}

// send sends the request and reads the answer. It ends with the context, and
// when an answer takes longer than the limit.
func (l *line) send(ctx context.Context, limit time.Duration) error {
	for {
		reused, err := l.connect(ctx)
		if err != nil {
			return err
		}
		began, err := l.exchange(ctx, limit)
		if err == nil {
			return nil
		}
		l.close()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("no answer within %v", limit)
		case !reused || began:
			return err
		}
		// The agent closed a connection that nobody used. The next one is new.
	}
}

// connect sees to a connection, and says whether it had one.
func (l *line) connect(ctx context.Context) (reused bool, err error) {
	if l.conn != nil && time.Since(l.used) < idleMax {
		return true, nil
	}
	l.close()
	conn, err := l.dial(ctx, "tcp", l.address)
	if err != nil {
		return false, err
	}
	if l.tls != nil {
		bounded, cancel := context.WithTimeoutCause(ctx, dialMax, fmt.Errorf("no TLS within %v", dialMax))
		defer cancel()
		secure := tls.Client(conn, l.tls)
		if err := secure.HandshakeContext(bounded); err != nil {
			return false, errors.Join(err, conn.Close())
		}
		conn = secure
	}
	l.conn = conn
	l.reader.Reset(conn)
	return false, nil
}

// exchange is one try. It says whether the answer began.
func (l *line) exchange(ctx context.Context, limit time.Duration) (began bool, err error) {
	conn := l.conn
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return false, err
	}
	uncut := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !uncut() {
			l.close() // it is cut off, now or in a moment
		}
	}()
	if _, err := conn.Write(l.request); err != nil {
		return false, err
	}
	if _, err := l.reader.Peek(1); err != nil {
		return false, err
	}
	err = l.answer.ReadLimitBody(l.reader, responseMax)
	if l.used = time.Now(); err != nil {
		return true, l.broken(err)
	}
	if l.answer.ConnectionClose() || l.reader.Buffered() != 0 {
		l.close()
	}
	return true, nil
}

// broken is why an answer that began could not be read.
func (l *line) broken(err error) error {
	if errors.Is(err, fasthttp.ErrBodyTooLarge) {
		return errResponseMax
	}
	return err
}

// status is an answer that is an error.
func (l *line) status() error {
	text := l.answer.Body()
	return &statusError{code: l.answer.StatusCode(), text: strings.TrimSpace(string(text[:min(len(text), statusTextMax)]))}
}

// close ends the connection, if there is one. The next request makes another.
func (l *line) close() {
	if l.conn == nil {
		return
	}
	_ = l.conn.Close() // nothing is under way that could be lost
	l.conn = nil
	l.reader.Reset(nil)
}
