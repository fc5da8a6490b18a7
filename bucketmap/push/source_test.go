package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/storetest"
)

// reader is a proxy that takes its maps from Watch and says by Ack what became
// of them: its Receiver has no Offer.
type reader struct {
	*Receiver
	server *httptest.Server
	seen   chan error // what Watch gave: nil for a map

	mu    sync.Mutex // guards guard
	guard bucketmap.Guard
}

func newReader(t *testing.T) *reader {
	t.Helper()
	receiver, err := NewReceiver(ReceiverOptions{Proxy: "p1", ForceWait: testMax})
	must(t, err)
	r := &reader{Receiver: receiver, server: httptest.NewServer(receiver), seen: make(chan error, 16)}
	t.Cleanup(r.server.Close)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		var current *bucketmap.Snapshot
		ended <- receiver.Watch(ctx, func(next *bucketmap.Snapshot, err error) {
			r.seen <- err
			if next == nil {
				return
			}
			ack := bucketmap.Ack{Proxy: "p1", Since: time.Now()}
			r.mu.Lock()
			err = r.guard.Check(current, next)
			r.mu.Unlock()
			if err != nil {
				ack.Refused, ack.Reason = next.Version(), err.Error()
			} else {
				current = next
			}
			if current != nil {
				ack.Version, ack.Digest = current.Version(), current.Digest()
			}
			if err := receiver.Ack(ctx, ack); err != nil {
				t.Error(err)
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v", err)
		}
	})
	if err := <-r.seen; !errors.Is(err, bucketmap.ErrNoMap) {
		t.Fatalf("Watch begins with %v", err)
	}
	return r
}

func TestWithoutOfferAMapIsInForceWhenItIsAcknowledged(t *testing.T) {
	ctx := testContext(t)
	r := newReader(t)
	s := open(t, Options{Proxies: []string{r.server.URL}, Timeout: testMax})
	first(t, ctx, s)
	if ack, _, _ := r.acknowledged(); ack.Version != 1 {
		t.Fatalf("Publish has returned, and the proxy acknowledged %d", ack.Version)
	}
	m := more(t, ctx, s)
	got, err := r.Load(ctx)
	must(t, err)
	if !got.Equal(m) {
		t.Fatal("Load gives another map")
	}
	r.mu.Lock()
	r.guard.Datacenters = map[bucketmap.Datacenter]bool{"legacy": true}
	r.mu.Unlock()
	third := more(t, ctx, s)
	status, body, _ := request(t, http.MethodPut, r.server.URL+"/map", nil, bytes.NewReader(binary.Append(nil, third, nil)))
	if status != http.StatusConflict || !strings.Contains(body, "cloud") {
		t.Fatalf("got %d %s", status, body)
	}
	// The one in force is still what deltas change.
	delta := binary.AppendDelta(nil, binary.MakeDelta(m, mustVersion(t, secondOf(t, m), 4)), nil)
	status, body, _ = request(t, http.MethodPut, r.server.URL+"/map", typed(ContentTypeDelta), bytes.NewReader(delta))
	if status != http.StatusConflict {
		t.Fatalf("got %d %s", status, body)
	}
	status, body, _ = request(t, http.MethodPut, r.server.URL+"/map", nil, bytes.NewReader(binary.Append(nil, mustVersion(t, m, 1), nil)))
	if status != http.StatusConflict || !strings.Contains(body, `"rule":"version"`) {
		t.Fatalf("got %d %s", status, body)
	}
}

func TestWatchTellsOfWhatCannotBeReadAndOfWhatIsNotSigned(t *testing.T) {
	r := newReader(t)
	if status, _, _ := request(t, http.MethodPut, r.server.URL+"/map", nil, strings.NewReader("nonsense")); status != 400 {
		t.Fatalf("got %d", status)
	}
	var refused *bucketmap.RefusedError
	if err := <-r.seen; !errors.As(err, &refused) || refused.Rule != bucketmap.RuleUnreadable || refused.Remedy == "" {
		t.Fatalf("Watch gave %v", err)
	}
	if status, body, _ := request(t, http.MethodPut, r.server.URL+"/map", nil, bytes.NewReader(yamlOf(t, storetest.First(t)))); status != 200 {
		t.Fatalf("got %d %s", status, body)
	}
	if err := <-r.seen; err != nil {
		t.Fatalf("Watch gave %v", err)
	}
}

func TestAProxyThatBeganWithItsLastGoodMapTakesDeltasAtOnce(t *testing.T) {
	ctx := testContext(t)
	e := newEdge(t, setup{id: "p1"})
	one := storetest.First(t)
	e.mu.current = one // from its own disk
	got, err := e.Load(ctx)
	must(t, err)
	if !got.Equal(one) {
		t.Fatal("Load gives another map")
	}
	two := secondOf(t, one)
	delta := binary.AppendDelta(nil, binary.MakeDelta(one, two), nil)
	if status, body, _ := request(t, http.MethodPut, e.server.URL+"/map", typed(ContentTypeDelta), bytes.NewReader(delta)); status != 200 {
		t.Fatalf("got %d %s", status, body)
	}
	if e.version() != 2 {
		t.Fatalf("version %d", e.version())
	}
}

func TestAnAckOfAnotherProxyIsNotTaken(t *testing.T) {
	e := newEdge(t, setup{id: "p1"})
	if err := e.Ack(testContext(t), bucketmap.Ack{Proxy: "p2", Version: 1}); err == nil {
		t.Fatal("no error")
	}
}

func getAck(t testing.TB, e *edge, query, tag string) (int, wireAck, string) {
	t.Helper()
	header := map[string]string{}
	if tag != "" {
		header["If-None-Match"] = tag
	}
	status, body, answered := request(t, http.MethodGet, e.server.URL+"/map/ack"+query, header, nil)
	var ack wireAck
	if status == 200 {
		must(t, json.Unmarshal([]byte(body), &ack))
	}
	return status, ack, answered.Get("ETag")
}

func TestAProxyThatHasNoMapSaysSo(t *testing.T) {
	e := newEdge(t, setup{id: "p1"})
	if status, ack, _ := getAck(t, e, "", ""); status != 200 || ack.Proxy != "p1" || ack.Version != 0 {
		t.Fatalf("got %d %+v", status, ack)
	}
}

func TestAQuestionWaitsForNews(t *testing.T) {
	e := newEdge(t, setup{id: "p1"})
	must(t, e.offer(t.Context(), storetest.First(t)))
	_, ack, tag := getAck(t, e, "", "")
	if status, again, _ := getAck(t, e, "?after=0&wait=60s", ""); status != 200 || again != ack {
		t.Fatalf("after an older version: got %d %+v, want %+v at once", status, again, ack)
	}
	if status, _, _ := getAck(t, e, "?after=1&wait=20ms", tag); status != http.StatusNotModified {
		t.Fatalf("nothing new: got %d", status)
	}
	if status, _, _ := getAck(t, e, "", tag); status != http.StatusNotModified {
		t.Fatalf("nothing new, and no wait: got %d", status)
	}
	if status, again, _ := getAck(t, e, "?after=1&wait=20ms", ""); status != 200 || again != ack {
		t.Fatalf("nothing new, and no tag: got %d %+v", status, again)
	}
	for name, c := range map[string]struct{ query, tag string }{
		"by version": {"?after=1&wait=60s", ""},
		"by tag":     {"?wait=60s", tag},
		"by both":    {"?after=1&wait=60s", tag},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, setup{id: "p1"})
			given := bucketmap.Ack{Proxy: "p1", Version: ack.Version, Digest: storetest.First(t).Digest(), Since: ack.Since}
			must(t, e.Ack(t.Context(), given))
			type got struct {
				status int
				ack    wireAck
			}
			answered := make(chan got, 1)
			go func() {
				status, ack, _ := getAck(t, e, c.query, c.tag)
				answered <- got{status, ack}
			}()
			e.awaitWaiting(t, 1)
			select {
			case g := <-answered:
				t.Fatalf("got %+v before there was news", g)
			default:
			}
			given.Refused, given.Reason = 2, "a refusal is news, too"
			must(t, e.Ack(t.Context(), given))
			if g := <-answered; g.status != 200 || g.ack.Refused != 2 {
				t.Fatalf("got %+v", g)
			}
		})
	}
}

// awaitWaiting waits until so many questions are kept open.
func (e *edge) awaitWaiting(t testing.TB, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx := testContext(t); len(e.waits) != n; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d questions are open, want %d", len(e.waits), n)
		}
	}
}

func TestQuestionsThatAreKeptOpenAreBounded(t *testing.T) {
	e := newEdge(t, setup{id: "p1"})
	_, _, tag := getAck(t, e, "", "")
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	var group sync.WaitGroup
	for range waitsMax {
		group.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.server.URL+"/map/ack?wait=60s", nil)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("If-None-Match", tag)
			if resp, err := (&http.Client{Transport: transport}).Do(req); err == nil {
				resp.Body.Close()
				t.Error("answered without news")
			}
		})
	}
	e.awaitWaiting(t, waitsMax)
	if status, _, _ := getAck(t, e, "?wait=60s", tag); status != http.StatusNotModified {
		t.Fatalf("one too many: got %d, want an answer at once", status)
	}
	cancel() // the clients go away, and their places are free
	group.Wait()
	e.awaitWaiting(t, 0)
}

func TestABadQuestionIsRefused(t *testing.T) {
	e := newEdge(t, setup{id: "p1"})
	for _, query := range []string{"?wait=soon", "?wait=1", "?after=-1", "?after=x", "?after=99999999999999999999"} {
		if status, _, _ := getAck(t, e, query, ""); status != 400 {
			t.Errorf("%s: got %d", query, status)
		}
	}
	if status, _, _ := getAck(t, e, "?wait=-5s&after=1", ""); status != 200 {
		t.Errorf("a wait of less than nothing: got %d", status)
	}
}
