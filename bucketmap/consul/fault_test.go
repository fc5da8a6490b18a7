package consul

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
	"drover/tools/testservers"
)

func TestWatchAndAckOutliveTheAgent(t *testing.T) {
	t.Parallel()
	server := startConsul(t, "agent", nil)
	o := Options{Address: server.Addr(), Prefix: prefix()}
	publisher, proxy := open(t, o), open(t, o)
	now := publishTo(t, publisher, 2)
	calls := watching(t, proxy)
	awaitVersion(t, calls, 2)
	must(t, proxy.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: 2}))
	must(t, server.Kill())
	if _, err := publisher.Load(within(t)); !errors.Is(err, ErrUnreachable) {
		t.Errorf("load from a dead agent: %v", err)
	}
	err := publisher.Publish(short(t), edit(t, now), bucketmap.Change{})
	if err == nil || errors.Is(err, bucketmap.ErrOutcomeUnknown) {
		t.Errorf("publish to a dead agent: %v", err) // nothing was sent
	}
	if c := next(t, calls); !errors.Is(c.err, ErrUnreachable) || c.snapshot != nil {
		t.Errorf("watched %v, %v", c.snapshot, c.err)
	}
	must(t, server.Restart(t.Context()))
	// The reader hears that all is well again.
	if got := awaitVersion(t, calls, 2); !got.Equal(now) {
		t.Error("another map")
	}
	awaitAcks(t, publisher, "the ack after the restart", func(a []bucketmap.Ack) bool { return len(a) == 1 && a[0].Version == 2 })
	now = publish(t, publisher, edit(t, now))
	awaitVersion(t, calls, 3)
	must(t, proxy.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: 3}))
	wantLoad(t, open(t, o), now)
}

// short ends before a publication gives up on its own.
func short(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), retryMin*5)
	t.Cleanup(cancel)
	return ctx
}

// history notes what two publishers believe.
type ledger struct {
	mu      sync.Mutex
	success map[bucketmap.Version]string // who was told that it published it
	unknown map[bucketmap.Version][]string
}

// publishMany publishes until it was told count times that it did.
func (l *ledger) publishMany(t *testing.T, ctx context.Context, s *Store, who string, count int, after func(int)) error {
	for done := 0; done < count; {
		current, err := s.Load(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			continue // between two leaders
		}
		d := current.Edit()
		d.Whitelist[fmt.Sprintf("%s-%d-%d", who, done, d.Version)] = "cloud"
		m, err := d.Snapshot()
		if err != nil {
			return err
		}
		err = s.Publish(ctx, m, bucketmap.Change{Who: who, Why: fmt.Sprint(done)})
		l.mu.Lock()
		switch {
		case err == nil:
			if other, ok := l.success[m.Version()]; ok {
				t.Errorf("version %d was published by %s and by %s", m.Version(), other, who)
			}
			l.success[m.Version()] = who
			done++
			after(done)
		case errors.Is(err, bucketmap.ErrOutcomeUnknown):
			l.unknown[m.Version()] = append(l.unknown[m.Version()], who)
		}
		l.mu.Unlock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// TestNoVersionIsLostOrDoubledWhenLeadersDie kills the leader twice under two
// publishers and a watcher.
func TestNoVersionIsLostOrDoubledWhenLeadersDie(t *testing.T) {
	t.Parallel()
	const count, kills = 60, 2
	cluster, err := shared.fleet.ConsulCluster(t.Context(), "cluster-"+rand.Text(), testservers.ConsulOptions{})
	must(t, err)
	t.Cleanup(func() {
		for _, server := range cluster.Servers {
			must(t, server.Kill())
		}
	})
	place := prefix()
	ctx := within(t)
	leader, err := cluster.Leader(ctx)
	must(t, err)
	var followers []*testservers.Consul
	for _, server := range cluster.Servers {
		if server != leader {
			followers = append(followers, server)
		}
	}
	at := func(server *testservers.Consul) *Store {
		return open(t, Options{Address: server.Addr(), Prefix: place})
	}
	one, two, reader := at(followers[0]), at(followers[1]), at(followers[0])
	publish(t, one, storetest.First(t))
	calls := watching(t, reader)
	awaitVersion(t, calls, 1)
	must(t, reader.Ack(ctx, bucketmap.Ack{Proxy: "p1", Version: 1}))

	l := ledger{success: map[bucketmap.Version]string{}, unknown: map[bucketmap.Version][]string{}}
	turn := make(chan struct{}, kills)
	after := func(done int) {
		if done == 10 || done == 30 {
			turn <- struct{}{}
		}
	}
	var group sync.WaitGroup
	errs := make([]error, 3)
	group.Go(func() { errs[0] = l.publishMany(t, ctx, one, "one", count, after) })
	group.Go(func() { errs[1] = l.publishMany(t, ctx, two, "two", count, func(int) {}) })
	group.Go(func() { errs[2] = killLeaders(ctx, cluster, leader, turn, kills) })
	ended := make(chan struct{})
	go func() { group.Wait(); close(ended) }()
	var newest bucketmap.Version
	for running := true; running; {
		select {
		case <-ended:
			running = false
		case c := <-calls:
			if c.snapshot != nil && c.snapshot.Version() < newest {
				t.Errorf("version %d after %d", c.snapshot.Version(), newest)
			}
			if c.snapshot != nil {
				newest = c.snapshot.Version()
			}
		}
	}
	must(t, errors.Join(errs...))

	records, err := one.History(within(t))
	must(t, err)
	for i, r := range records {
		if want := bucketmap.Version(len(records) - i); r.Version != want {
			t.Fatalf("record %d is of version %d, want %d", i, r.Version, want)
		}
		who, told := l.success[r.Version]
		if told && who != r.Who {
			t.Errorf("version %d is of %s, and %s was told that it published it", r.Version, r.Who, who)
		}
		if !told && r.Version != 1 && len(l.unknown[r.Version]) == 0 {
			t.Errorf("version %d of %s is in the history, and nobody knows of it", r.Version, r.Who)
		}
	}
	if len(records) < 1+2*count {
		t.Errorf("%d versions, want %d at least", len(records), 1+2*count)
	}
	t.Logf("%d versions, unknown outcomes: %v", len(records), l.unknown)
	must(t, cluster.Await(ctx))
	if newest < records[0].Version {
		awaitVersion(t, calls, records[0].Version)
	}
	acks, err := two.Acks(within(t))
	if err != nil || len(acks) != 1 {
		t.Errorf("acknowledgements %v, %v", acks, err)
	}
}

// killLeaders kills the one that leads, which the publishers do not talk to, and
// starts it again: first as leader, then, perhaps, as follower.
func killLeaders(ctx context.Context, cluster *testservers.ConsulCluster, leader *testservers.Consul, turn <-chan struct{}, kills int) error {
	for range kills {
		select {
		case <-turn:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := leader.Kill(); err != nil {
			return err
		}
		if err := cluster.Await(ctx); err != nil {
			return err
		}
		if err := leader.Restart(ctx); err != nil {
			return err
		}
		var err error
		if leader, err = cluster.Leader(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cutter stands between a store and Consul, and loses answers.
type cutter struct {
	*httptest.Server
	lose    atomic.Int64 // how many answers to transactions are lost from now on
	dead    atomic.Bool  // every request after a lost answer finds nobody
	lost    atomic.Int64
	refuse  atomic.Bool // transactions are lost before they reach Consul
	reached atomic.Int64
}

func newCutter(t *testing.T) *cutter {
	c := new(cutter)
	target, err := url.Parse("http://" + shared.server.Addr())
	must(t, err)
	transport := &http.Transport{}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.Transport = transport
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.dead.Load() && c.lost.Load() > 0 {
			panic(http.ErrAbortHandler)
		}
		if !strings.HasSuffix(r.URL.Path, "/txn") {
			forward.ServeHTTP(w, r)
			return
		}
		if c.refuse.Load() {
			c.lost.Add(1)
			panic(http.ErrAbortHandler)
		}
		c.reached.Add(1)
		if c.lose.Add(-1) >= 0 {
			forward.ServeHTTP(httptest.NewRecorder(), r) // Consul did it, and says so to nobody
			c.lost.Add(1)
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { c.Close(); transport.CloseIdleConnections() })
	return c
}

func (c *cutter) options() Options {
	return Options{Address: c.Listener.Addr().String(), Prefix: prefix()}
}

func TestLostAnswerIsFoundOut(t *testing.T) {
	t.Parallel()
	c := newCutter(t)
	s := open(t, c.options())
	for v := range bucketmap.Version(3) {
		c.lose.Store(int64(v)) // the third is sent three times
		var m *bucketmap.Snapshot
		if v == 0 {
			m = storetest.First(t)
		} else {
			m = edit(t, s.newest())
		}
		publish(t, s, m)
		wantLoad(t, s, m)
	}
	records, err := s.History(within(t))
	if err != nil || len(records) != 3 || c.reached.Load() != 6 {
		t.Errorf("%d transactions for %v, %v", c.reached.Load(), records, err)
	}
}

// Somebody else publishes upon the map whose answer was lost.
func TestLostAnswerIsFoundOutThoughAnotherVersionFollowed(t *testing.T) {
	t.Parallel()
	c := newCutter(t)
	s := open(t, c.options())
	o := s.options
	o.Address = shared.server.Addr()
	rival := open(t, o)
	now := publishTo(t, s, 1)
	c.refuse.Store(true)
	mine := edit(t, now)
	published := make(chan error, 1)
	go func() { published <- s.Publish(within(t), mine, bucketmap.Change{Who: "s"}) }()
	for c.lost.Load() == 0 {
		wait(t.Context(), retryMin/10)
	}
	// The rival wins while the first has no answer: then that one has lost.
	d := now.Edit()
	d.Whitelist["rival"] = "legacy"
	theirs, err := d.Snapshot()
	must(t, err)
	publish(t, rival, theirs)
	c.refuse.Store(false)
	if err := <-published; !errors.Is(err, bucketmap.ErrConflict) || errors.Is(err, bucketmap.ErrOutcomeUnknown) {
		t.Errorf("%v, want a conflict", err)
	}
	// The same map, by the same edit, is another publication.
	same := edit(t, theirs)
	publish(t, rival, same)
	if err := s.Publish(within(t), same, bucketmap.Change{}); !errors.Is(err, bucketmap.ErrConflict) {
		t.Errorf("%v, want a conflict", err)
	}
}

func TestOutcomeIsUnknownWhenConsulIsGoneAfterTheCommit(t *testing.T) {
	t.Parallel()
	c := newCutter(t)
	s := open(t, c.options())
	now := publishTo(t, s, 1)
	c.lose.Store(1)
	c.dead.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for c.lost.Load() == 0 {
			wait(ctx, retryMin/10)
		}
		cancel() // the caller has no patience
	}()
	err := s.Publish(ctx, edit(t, now), bucketmap.Change{Who: "s"})
	if !errors.Is(err, bucketmap.ErrOutcomeUnknown) {
		t.Fatalf("%v, want ErrOutcomeUnknown", err)
	}
	c.dead.Store(false)
	got, err := s.Load(within(t))
	if err != nil || got.Version() != 2 {
		t.Errorf("%v", err) // it was in force
	}
}

func TestOutcomeIsFoundOutThoughTheCallerWentAway(t *testing.T) {
	t.Parallel()
	c := newCutter(t)
	s := open(t, c.options())
	now := publishTo(t, s, 1)
	c.lose.Store(1 << 40)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for c.lost.Load() == 0 {
			wait(ctx, retryMin/10)
		}
		cancel()
	}()
	if err := s.Publish(ctx, edit(t, now), bucketmap.Change{Who: "s"}); err != nil {
		t.Errorf("%v; it is in force, and Consul can say so", err)
	}
}

func TestTooLongAReasonIsRefused(t *testing.T) {
	s := open(t, options())
	m := storetest.First(t)
	for _, change := range []bucketmap.Change{{Who: strings.Repeat("x", whoMax+1)}, {Why: strings.Repeat("x", whyMax+1)}} {
		if err := s.Publish(within(t), m, change); !errors.Is(err, errBadChange) || errors.Is(err, ErrUnreachable) {
			t.Errorf("%v", err)
		}
	}
	// The longest that are taken, of bytes that JSON makes six of each, with the
	// largest delta.
	publish(t, s, m)
	d := m.Edit()
	for i := range 1400 {
		d.Whitelist[fmt.Sprintf("%x-%d", strings.Repeat("\xff", 20)+fmt.Sprint(i*7919), i)] = "cloud"
	}
	next, err := d.Snapshot()
	must(t, err)
	must(t, s.Publish(within(t), next, bucketmap.Change{Who: strings.Repeat("\x01", whoMax), Why: strings.Repeat("\x01", whyMax)}))
	wantLoad(t, open(t, s.options), next)
}

func TestAnswersAreBounded(t *testing.T) {
	body := &boundedBody{ReadCloser: http.NoBody, left: 0}
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, errResponseMax) {
		t.Errorf("%v", err)
	}
}
