package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drover/bucketmap"
)

func wantText(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in %q", part, text)
		}
	}
}

func wantNoText(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(text, part) {
			t.Errorf("%q is in %q", part, text)
		}
	}
}

func TestFiftyProxiesRunWhatWasPublished(t *testing.T) {
	ctx := testContext(t)
	var edges []*edge
	var addresses []string
	for i := range 50 {
		e := newEdge(t, setup{id: fmt.Sprintf("p%02d", i)})
		edges = append(edges, e)
		addresses = append(addresses, e.server.URL)
	}
	s := open(t, Options{Proxies: addresses, Timeout: testMax})
	first(t, ctx, s)
	for _, e := range edges {
		wantTypes(t, e, ContentTypeMap)
	}
	m := more(t, ctx, s)
	for _, e := range edges {
		if e.version() != 2 {
			t.Errorf("proxy %s runs %d when Publish has returned", e.options.Proxy, e.version())
		}
		wantTypes(t, e, ContentTypeDelta)
	}
	acks, err := s.Acks(ctx)
	must(t, err)
	if len(acks) != 50 || acks[0].Proxy != "p00" || acks[49].Proxy != "p49" || !allRun(m)(acks) {
		t.Fatalf("acknowledgements %+v", acks)
	}
	await(t, ctx, s, allRun(m))
	must(t, s.Push(ctx))
	for _, e := range edges {
		wantTypes(t, e) // nothing is sent to who has it
	}
}

func TestANewPublisherSendsTheDeltaFirst(t *testing.T) {
	ctx := testContext(t)
	e := newEdge(t, setup{id: "p1"})
	dir := t.TempDir()
	first(t, ctx, open(t, Options{Dir: dir, Proxies: []string{e.server.URL}}))
	wantTypes(t, e, ContentTypeMap)
	more(t, ctx, open(t, Options{Dir: dir, Proxies: []string{e.server.URL}}))
	wantTypes(t, e, ContentTypeDelta)
	if e.version() != 2 {
		t.Fatalf("version %d", e.version())
	}
}

func TestProxyOfAnotherVersionGetsTheWholeMap(t *testing.T) {
	ctx := testContext(t)
	e := newEdge(t, setup{id: "p1"})
	dir := t.TempDir()
	alone := open(t, Options{Dir: dir})
	first(t, ctx, alone)
	more(t, ctx, alone)
	s := open(t, Options{Dir: dir, Proxies: []string{e.server.URL}})
	m := more(t, ctx, s) // of this proxy nothing is known, and it has no map
	wantTypes(t, e, ContentTypeDelta, ContentTypeMap)
	await(t, ctx, s, allRun(m))
	more(t, ctx, alone)
	more(t, ctx, s) // the proxy is known to run the version before the last
	wantTypes(t, e, ContentTypeMap)
	if e.version() != 5 {
		t.Fatalf("version %d", e.version())
	}
}

func TestProxyThatIsDownIsListedAndGetsTheMapWhenItIsBack(t *testing.T) {
	ctx := testContext(t)
	up := newEdge(t, setup{id: "up"})
	down := newEdge(t, setup{id: "down"})
	s := open(t, Options{Proxies: []string{up.server.URL, down.server.URL}})
	first(t, ctx, s)
	address := down.server.Listener.Addr().String()
	down.server.CloseClientConnections()
	down.server.Close()
	m := more(t, ctx, s) // no error
	if up.version() != 2 {
		t.Fatalf("the proxy that is up runs %d", up.version())
	}
	acks, err := s.Acks(ctx)
	must(t, err)
	if len(acks) != 2 || acks[0].Proxy != "down" || acks[0].Version != 0 || !strings.HasPrefix(acks[0].Reason, "unreachable: ") {
		t.Fatalf("acknowledgements %+v", acks)
	}
	wantText(t, acks[0].Reason, "unreachable: "+down.server.URL+": ", "connection refused")
	err = s.Push(ctx)
	var failed *ProxyError
	if !errors.As(err, &failed) || failed.Address != down.server.URL {
		t.Fatalf("Push returned %v", err)
	}
	back := make(chan *edge, 1)
	await(t, ctx, s, func(acks []bucketmap.Ack) bool {
		if len(back) == 0 && acks[0].Version == 0 && strings.Contains(acks[0].Reason, "refused") {
			back <- newEdge(t, setup{id: "down", address: address})
		}
		return allRun(m)(acks)
	})
	if e := <-back; e.version() != 2 {
		t.Fatalf("the proxy that is back runs %d", e.version())
	}
}

func TestProxyThatNeverAnsweredHasTheNameOfItsAddress(t *testing.T) {
	ctx := testContext(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	s := open(t, Options{Proxies: []string{gone.URL + "/behind/a-prefix"}})
	acks, err := s.Acks(ctx)
	must(t, err)
	want := strings.NewReplacer("http://", "", ":", "_").Replace(gone.URL) + "_behind_a-prefix"
	if len(acks) != 1 || acks[0].Proxy != want || !bucketmap.ValidName(want) {
		t.Fatalf("acknowledgements %+v, want %s", acks, want)
	}
	for address, want := range map[string]string{
		"https://[::1]:9901": "1__9901", "http://X:80/": "x_80", "http://.-/": "proxy", "http://" + strings.Repeat("a", 99): strings.Repeat("a", 64),
	} {
		normal, err := baseAddress(address)
		must(t, err)
		if got := idOf(normal); got != want || !bucketmap.ValidName(got) {
			t.Errorf("the name of %s is %q, want %q", address, got, want)
		}
	}
}

func TestProxyThatRefusesSaysWhyAndWhatToDo(t *testing.T) {
	ctx := testContext(t)
	e := newEdge(t, setup{id: "p1"})
	s := open(t, Options{Proxies: []string{e.server.URL}})
	first(t, ctx, s)
	e.took()
	e.mu.Lock()
	e.mu.guard.Datacenters = map[bucketmap.Datacenter]bool{"legacy": true}
	e.mu.Unlock()
	m := more(t, ctx, s)
	wantTypes(t, e, ContentTypeDelta) // the whole map would be refused as well
	err := s.Push(ctx)
	var failed *ProxyError
	if !errors.As(err, &failed) || failed.Status != http.StatusConflict || failed.Rule != bucketmap.RuleDatacenter {
		t.Fatalf("Push returned %+v", err)
	}
	wantText(t, err.Error(), e.server.URL, "cloud", "the one in force stays")
	acks, err := s.Acks(ctx)
	must(t, err)
	if acks[0].Version != 1 || acks[0].Refused != 2 || !strings.Contains(acks[0].Reason, "cloud") {
		t.Fatalf("acknowledgements %+v", acks)
	}
	// Once the proxy takes it, WatchAcks brings it.
	e.mu.Lock()
	e.mu.guard.Datacenters = nil
	e.mu.Unlock()
	await(t, ctx, s, allRun(m))
}

func TestSlowProxyCostsItsTimeoutAndDelaysNobody(t *testing.T) {
	ctx := testContext(t)
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer close(release)
	quick := newEdge(t, setup{id: "quick"})
	s := open(t, Options{Proxies: []string{slow.URL, quick.server.URL}, Timeout: 300 * time.Millisecond, Parallel: 1})
	begun := time.Now()
	first(t, ctx, s)
	more(t, ctx, s)
	if took := time.Since(begun); took > testMax/2 {
		t.Fatalf("two publications took %s", took)
	}
	if quick.version() != 2 {
		t.Fatalf("the quick proxy runs %d", quick.version())
	}
	// With one place only, those that answer come first.
	fleet, err := s.fleet(ctx)
	must(t, err)
	if fleet[0].address != quick.server.URL {
		t.Fatal("the silent proxy is before the one that answers")
	}
	acks, err := s.Acks(ctx)
	must(t, err)
	if !slices.ContainsFunc(acks, func(a bucketmap.Ack) bool {
		return a.Version == 0 && strings.Contains(a.Reason, "no answer within 300ms")
	}) {
		t.Fatalf("acknowledgements %+v", acks)
	}
}

func TestWhatIsNoProxyCountsAsUnreachable(t *testing.T) {
	ctx := testContext(t)
	for name, answer := range map[string]http.HandlerFunc{
		"not found": http.NotFound,
		"no json":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") },
		"no id":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version": 99}`) },
		"bad id":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"proxy":"a/b","version": 99}`) },
		"bad digest": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"proxy":"p1","version":99,"digest":"xyz"}`)
		},
		"bad version": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"proxy":"p1","version":-1}`) },
		"huge":        func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(" ", answerMax+1)) },
		"not changed": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) },
		"hangs up":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			defer server.Close()
			s := open(t, Options{Proxies: []string{server.URL}})
			first(t, ctx, s)
			acks, err := s.Acks(ctx)
			must(t, err)
			if len(acks) != 1 || acks[0].Version != 0 || !strings.HasPrefix(acks[0].Reason, "unreachable: ") {
				t.Fatalf("acknowledgements %+v", acks)
			}
			var failed *ProxyError
			if err := s.Push(ctx); !errors.As(err, &failed) {
				t.Fatalf("Push returned %v", err)
			}
		})
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	ctx := testContext(t)
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	s := open(t, Options{Proxies: []string{server.URL}, Token: "secret"})
	first(t, ctx, s)
	_, err := s.Acks(ctx)
	must(t, err)
	if n := asked.Load(); n != 0 {
		t.Fatalf("%d requests with the token went to an address that nobody configured", n)
	}
}

func TestANewProxyOfTheFleetIsFoundAndOneTakenOffIsForgotten(t *testing.T) {
	ctx := testContext(t)
	one, two := newEdge(t, setup{id: "one"}), newEdge(t, setup{id: "two"})
	var mu sync.Mutex
	list := []string{one.server.URL}
	set := func(addresses ...string) {
		mu.Lock()
		defer mu.Unlock()
		list = addresses
	}
	s := open(t, Options{Recheck: 10 * time.Millisecond, Discover: func(context.Context) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		return list, nil
	}})
	m := first(t, ctx, s)
	step := 0
	await(t, ctx, s, func(acks []bucketmap.Ack) bool {
		switch {
		case step == 0 && len(acks) == 1 && allRun(m)(acks):
			step++
			set(one.server.URL, two.server.URL)
		case step == 1 && len(acks) == 2 && allRun(m)(acks): // the new one was brought the map
			step++
			set(two.server.URL)
		case step == 2 && len(acks) == 1 && acks[0].Proxy == "two":
			return true
		}
		return false
	})
	set("nonsense")
	if _, err := s.Acks(ctx); err == nil {
		t.Fatal("a fleet that cannot be read has acknowledgements")
	}
}

func TestAnotherProcessPublicationIsBroughtToAProxyThatMissedIt(t *testing.T) {
	ctx := testContext(t)
	e := newEdge(t, setup{id: "p1"})
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, Proxies: []string{e.server.URL}, Recheck: 10 * time.Millisecond, AckWait: 50 * time.Millisecond})
	first(t, ctx, s)
	other := open(t, Options{Dir: dir}) // it knows of no proxies
	var m *bucketmap.Snapshot
	await(t, ctx, s, func(acks []bucketmap.Ack) bool {
		if m == nil && acks[0].Version == 1 {
			m = more(t, ctx, other)
		}
		return m != nil && allRun(m)(acks)
	})
}

func TestCloseEndsWatchAcks(t *testing.T) {
	e := newEdge(t, setup{id: "p1"})
	s := open(t, Options{Proxies: []string{e.server.URL}})
	err := s.WatchAcks(testContext(t), func(acks []bucketmap.Ack) bool {
		if acks[0].Proxy == "p1" {
			must(t, s.Close())
		}
		return true
	})
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("WatchAcks returned %v", err)
	}
}

func TestPublishersAtOnceLeaveTheNewestMapEverywhere(t *testing.T) {
	ctx := testContext(t)
	e := newEdge(t, setup{id: "p1"})
	dir := t.TempDir()
	options := Options{Dir: dir, Proxies: []string{e.server.URL}, Timeout: testMax}
	stores := []*Store{open(t, options), open(t, options)}
	first(t, ctx, stores[0])
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			_, err := bucketmap.Update(ctx, stores[i%2], bucketmap.Change{}, func(d *bucketmap.Draft) error {
				d.Whitelist[fmt.Sprint("user-", i)] = "cloud"
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if e.version() != 9 {
		t.Fatalf("the proxy runs version %d of 9", e.version())
	}
	must(t, stores[0].Push(ctx))
}
