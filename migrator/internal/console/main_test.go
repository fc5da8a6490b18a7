package console

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"drover/bucketmap"
	"drover/bucketmap/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	operator = "operators-0123456789"
	reader   = "readers-0123456789"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// talker is a source that says what the test says.
type talker struct {
	topic string
	says  chan told
}

func newTalker(topic string) *talker { return &talker{topic, make(chan told)} }

func (s *talker) Topic() string { return s.topic }

func (s *talker) Watch(ctx context.Context, tell func(any)) error {
	for {
		select {
		case t := <-s.says:
			if t.err != nil {
				return t.err
			}
			tell(t.value)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// bell is an action that remembers who rang it.
type bell struct {
	mu   sync.Mutex
	rung []By
	err  error
}

func (*bell) Name() string { return "ring" }

func (*bell) Confirm(arguments json.RawMessage) (string, error) {
	var a struct{ Word string }
	if err := json.Unmarshal(arguments, &a); err != nil || a.Word == "" {
		return "", errors.New("want a word")
	}
	return a.Word, nil
}

func (b *bell) Do(_ context.Context, by By, _ json.RawMessage) (any, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	b.rung = append(b.rung, by)
	return map[string]int{"rung": len(b.rung)}, nil
}

func (b *bell) times() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.rung)
}

// yard is a console on loopback with a map in a file store.
type yard struct {
	t      *testing.T
	store  *file.Store
	talker *talker
	bell   *bell
	url    string
	server *Server
}

func firstMap(t testing.TB, buckets uint32) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(buckets)
	d.Version = 1
	d.Default = bucketmap.Default{Datacenter: "legacy", Auto: true, Source: "legacy", Target: "cloud"}
	must(t, d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	must(t, d.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "cloud"}))
	must(t, d.SetHome(0, bucketmap.BucketID(buckets-1), "alpha"))
	snap, err := d.Snapshot()
	must(t, err)
	return snap
}

// open starts a console; change may change its options.
func open(t *testing.T, change func(*Options)) *yard {
	t.Helper()
	store, err := file.Open(t.TempDir(), file.Options{})
	must(t, err)
	y := &yard{t: t, store: store, talker: newTalker("talk"), bell: &bell{}}
	must(t, store.Publish(t.Context(), firstMap(t, 64), bucketmap.Change{Who: "tester"}))
	o := Options{Listen: "127.0.0.1:0", Access: Access{OperatorToken: operator, ReaderToken: reader}, Maps: store,
		Sources: []Source{y.talker}, Actions: []Action{y.bell}}
	if change != nil {
		change(&o)
	}
	y.server, err = Listen(t.Context(), o)
	must(t, err)
	y.url = "http://" + y.server.Addr().String()
	if o.TLS != nil {
		y.url = "https://" + y.server.Addr().String()
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- y.server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		must(t, store.Close())
	})
	return y
}

// move publishes a map with buckets first to last at gamma.
func (y *yard) move(first, last bucketmap.BucketID) {
	y.t.Helper()
	_, err := bucketmap.Update(y.t.Context(), y.store, bucketmap.Change{Who: "tester"}, func(d *bucketmap.Draft) error {
		return d.SetHome(first, last, "gamma")
	})
	must(y.t, err)
}

// browser is a client with a jar of cookies, that does not follow redirections.
func (y *yard) browser(config *tls.Config) *http.Client {
	y.t.Helper()
	jar, err := cookiejar.New(nil)
	must(y.t, err)
	transport := &http.Transport{TLSClientConfig: config}
	y.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// send sends a request and returns its status and body.
func (y *yard) send(c *http.Client, method, path, body string, headers ...string) (int, string) {
	y.t.Helper()
	request, err := http.NewRequestWithContext(y.t.Context(), method, y.url+path, strings.NewReader(body))
	must(y.t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := c.Do(request)
	must(y.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(y.t, err)
	return answer.StatusCode, string(text)
}

// login logs in and returns the session's word.
func (y *yard) login(c *http.Client, token string) string {
	y.t.Helper()
	code, _ := y.send(c, http.MethodPost, "/login", url.Values{"token": {token}, "name": {"ann"}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if code != http.StatusSeeOther {
		y.t.Fatalf("login: %d", code)
	}
	return y.word(c)
}

func (y *yard) word(c *http.Client) string {
	y.t.Helper()
	_, text := y.send(c, http.MethodGet, "/api/me", "")
	var me struct{ Csrf string }
	must(y.t, json.Unmarshal([]byte(text), &me))
	return me.Csrf
}

// line is a stream of events that is read.
type line struct {
	t    *testing.T
	end  context.CancelFunc
	scan *bufio.Scanner
}

// happened is one event.
type happened struct{ id, topic, data string }

// follow opens the stream of events.
func (y *yard) follow(lastID string) *line {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.t.Context(), time.Minute)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, y.url+"/events", nil)
	must(y.t, err)
	request.Header.Set("Authorization", "Bearer "+reader)
	if lastID != "" {
		request.Header.Set("Last-Event-ID", lastID)
	}
	client := y.browser(nil)
	answer, err := client.Do(request)
	must(y.t, err)
	y.t.Cleanup(func() { cancel(); answer.Body.Close() })
	if answer.StatusCode != http.StatusOK {
		y.t.Fatalf("events: %s", answer.Status)
	}
	scan := bufio.NewScanner(answer.Body)
	scan.Buffer(nil, 2*topicBytesMax)
	return &line{t: y.t, end: cancel, scan: scan}
}

// next returns the next event that is no beat.
func (l *line) next() happened {
	l.t.Helper()
	var h happened
	for l.scan.Scan() {
		key, value, _ := strings.Cut(l.scan.Text(), ": ")
		switch {
		case key == "id":
			h.id = value
		case key == "event":
			h.topic = value
		case key == "data":
			h.data = value
		case l.scan.Text() == "" && h.topic != "" && h.topic != "beat":
			return h
		case l.scan.Text() == "":
			h = happened{}
		}
	}
	l.t.Fatalf("the stream ended: %v", l.scan.Err())
	return h
}

// await reads until an event of the topic has the words.
func (l *line) await(topic, words string) happened {
	l.t.Helper()
	for {
		if h := l.next(); h.topic == topic && strings.Contains(h.data, words) {
			return h
		}
	}
}

// rings presses the button.
func (y *yard) rings(c *http.Client, headers ...string) (int, string) {
	y.t.Helper()
	return y.send(c, http.MethodPost, "/api/actions/ring", `{"typed": "ding", "why": "a test", "arguments": {"word": "ding"}}`,
		append([]string{"Content-Type", "application/json"}, headers...)...)
}

func (y *yard) status(want, got int, body string) {
	y.t.Helper()
	if got != want {
		y.t.Errorf("status %d, want %d: %s", got, want, body)
	}
}

var errTalk = fmt.Errorf("the talker %w", io.ErrUnexpectedEOF)
