package push

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

func TestABusyProxyIsTriedOnceMore(t *testing.T) {
	ctx := testContext(t)
	e := newEdge(t, setup{id: "p1"})
	var requests atomic.Int32
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			e.refuse(w, notInForce(errors.New("a busy moment")))
			return
		}
		e.ServeHTTP(w, r)
	}))
	defer busy.Close()
	s := open(t, Options{Proxies: []string{busy.URL}})
	first(t, ctx, s)
	if e.version() != 1 || requests.Load() != 2 {
		t.Fatalf("version %d after %d requests", e.version(), requests.Load())
	}
}

func TestAPublicationIsOneWhenItsCallerGoesAway(t *testing.T) {
	ctx, cancel := context.WithCancel(testContext(t))
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server sees only then that the client is gone
		cancel()
		<-r.Context().Done()
	}))
	defer slow.Close()
	s := open(t, Options{Proxies: []string{slow.URL}, Timeout: testMax})
	must(t, s.Publish(ctx, storetest.First(t), bucketmap.Change{}))
	got, err := s.Load(testContext(t))
	must(t, err)
	if got.Version() != 1 {
		t.Fatalf("version %d", got.Version())
	}
	if fleet, _ := s.fleet(t.Context()); fleet[0].isSilent() {
		t.Fatal("the proxy is taken for silent because its caller went away")
	}
}

func TestAProxyWithAnotherMapOfTheSameVersionDoesNotPassForOneThatRunsIt(t *testing.T) {
	ctx := testContext(t)
	e := newEdge(t, setup{id: "p1"})
	other := secondOf(t, storetest.First(t))
	e.mu.current = other
	must(t, e.Ack(ctx, bucketmap.Ack{Proxy: "p1", Version: 2, Digest: other.Digest()}))
	s := open(t, Options{Proxies: []string{e.server.URL}})
	first(t, ctx, s)
	m := more(t, ctx, s) // version 2, too
	if m.Digest() == other.Digest() {
		t.Fatal("the maps do not differ")
	}
	var failed *ProxyError
	if err := s.Push(ctx); !errors.As(err, &failed) || failed.Rule != bucketmap.RuleVersion {
		t.Fatalf("Push returned %v", err)
	}
	acks, err := s.Acks(ctx)
	must(t, err)
	if acks[0].Version != 2 || acks[0].Digest != other.Digest() {
		t.Fatalf("acknowledgements %+v", acks)
	}
}

func TestPushOfNothingSaysThatThereIsNoMap(t *testing.T) {
	s := open(t, Options{})
	if err := s.Push(testContext(t)); !errors.Is(err, bucketmap.ErrNoMap) {
		t.Fatalf("Push returned %v", err)
	}
}

func TestAnEditByHandIsNotSentWhileItIsBeingWritten(t *testing.T) {
	ctx := testContext(t)
	s := open(t, Options{})
	one := first(t, ctx, s)
	path := filepath.Join(s.options.Dir, mapName)
	write := func(m *bucketmap.Snapshot, age time.Duration) {
		t.Helper()
		must(t, os.WriteFile(path, yamlOf(t, m), 0o600))
		when := time.Now().Add(-age)
		must(t, os.Chtimes(path, when, when))
	}
	want := func(version bucketmap.Version) {
		t.Helper()
		must(t, s.refresh(ctx))
		if got := s.newest().snapshot.Version(); got != version {
			t.Fatalf("version %d would be sent, want %d", got, version)
		}
	}
	two := secondOf(t, one)
	write(two, -time.Hour) // by a clock that is ahead: it looks as if it were being written
	want(1)
	write(mustVersion(t, two, 3), -2*time.Hour)
	want(1)
	want(3) // it has stayed the same
	write(mustVersion(t, two, 4), time.Hour)
	want(4)
}
