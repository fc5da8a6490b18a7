package consul

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
)

// crash ends a store as the death of its process does: nothing is said to
// Consul.
func crash(s *Store) {
	s.end()
	s.acks.group.Wait()
	s.transport.CloseIdleConnections()
}

func crashing(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	must(t, err)
	t.Cleanup(func() { crash(s) })
	return s
}

// awaitAcks waits until the acknowledgements are as wanted.
func awaitAcks(t testing.TB, s *Store, what string, want func([]bucketmap.Ack) bool) {
	t.Helper()
	var last []bucketmap.Ack
	err := s.WatchAcks(within(t), func(acks []bucketmap.Ack) bool {
		last = acks
		return !want(acks)
	})
	if err != nil {
		t.Fatalf("%s: %v; last seen %+v", what, err, last)
	}
}

func TestAckOfACrashedProcessEndsWithItsSession(t *testing.T) {
	t.Parallel()
	o := options()
	o.SessionTTL = time.Second
	watcher, proxy := open(t, o), crashing(t, o)
	must(t, proxy.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: 3}))
	awaitAcks(t, watcher, "the ack", func(a []bucketmap.Ack) bool { return len(a) == 1 && a[0].Version == 3 })
	// It outlives its time, because it is renewed.
	if wait(t.Context(), 3*o.SessionTTL) {
		acks, err := watcher.Acks(within(t))
		if err != nil || len(acks) != 1 {
			t.Fatalf("%v, %v of a live process", acks, err)
		}
	}
	crash(proxy)
	awaitAcks(t, watcher, "the death", func(a []bucketmap.Ack) bool { return len(a) == 0 })
}

func TestCloseTakesTheAcksBackAtOnce(t *testing.T) {
	o := options()
	watcher, proxy := open(t, o), open(t, o)
	for _, id := range []string{"p1", "p2"} {
		must(t, proxy.Ack(within(t), bucketmap.Ack{Proxy: id, Version: 3}))
	}
	must(t, proxy.Close())
	if acks, err := watcher.Acks(within(t)); err != nil || len(acks) != 0 {
		t.Fatalf("%v, %v", acks, err)
	}
	must(t, proxy.Close())
	if err := proxy.Ack(within(t), bucketmap.Ack{Proxy: "p1"}); !errors.Is(err, ErrClosed) {
		t.Fatalf("%v", err)
	}
}

func TestLostSessionIsMadeAnewWithTheNewestAck(t *testing.T) {
	t.Parallel()
	o := options()
	o.SessionTTL = time.Second
	watcher, proxy := open(t, o), open(t, o)
	for version := range bucketmap.Version(3) {
		must(t, proxy.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: version}))
	}
	destroy := func() {
		pair, _, err := raw(proxy).Get(proxy.ackKey("p1"), nil)
		must(t, err)
		_, err = proxy.client.Session().Destroy(pair.Session, nil)
		must(t, err)
	}
	destroy()
	awaitAcks(t, watcher, "the ack again", func(a []bucketmap.Ack) bool { return len(a) == 1 && a[0].Version == 2 })
	// Also when the next Ack finds out first, and when the key alone is gone.
	destroy()
	must(t, proxy.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: 3}))
	awaitAcks(t, watcher, "the next ack", func(a []bucketmap.Ack) bool { return len(a) == 1 && a[0].Version == 3 })
	deleteRaw(t, proxy, proxy.ackKey("p1"))
	awaitAcks(t, watcher, "the key again", func(a []bucketmap.Ack) bool { return len(a) == 1 && a[0].Version == 3 })
}

// A request that was cut off comes to Consul after the one that followed it.
func TestALateAckDoesNotStayInThePlaceOfTheNewest(t *testing.T) {
	s := open(t, options())
	must(t, s.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: 1}))
	late, _, err := raw(s).Get(s.ackKey("p1"), nil)
	must(t, err)
	must(t, s.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: 2}))
	got, _, err := raw(s).Acquire(late, nil)
	if err != nil || !got {
		t.Fatalf("%v, %v", got, err)
	}
	must(t, s.renewOnce())
	if acks, err := s.Acks(within(t)); err != nil || len(acks) != 1 || acks[0].Version != 2 {
		t.Fatalf("%v, %v", acks, err)
	}
}

// A proxy that starts under the id of one that crashed, or still runs, never
// passes for having said what that one said.
func TestStartingProcessTakesItsIDFromAnOlderOne(t *testing.T) {
	o := options()
	watcher, old := open(t, o), open(t, o)
	must(t, old.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: 7}))
	young := open(t, o)
	must(t, young.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: 5}))
	wantFive := func() {
		t.Helper()
		if acks, err := watcher.Acks(within(t)); err != nil || len(acks) != 1 || acks[0].Version != 5 {
			t.Fatalf("%v, %v", acks, err)
		}
	}
	wantFive()
	if err := old.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: 8}); !errors.Is(err, ErrProxyTaken) {
		t.Fatalf("%v", err)
	}
	must(t, old.renewOnce()) // does not take it back either
	wantFive()
	must(t, old.Close())
	wantFive()
	must(t, young.Close())
	if acks, err := watcher.Acks(within(t)); err != nil || len(acks) != 0 {
		t.Fatalf("%v, %v", acks, err)
	}
}

func TestKeysOfNobodyAreNoAcksAndGarbageIsAnError(t *testing.T) {
	s := open(t, options())
	putRaw(t, s, s.ackKey("p1"), []byte("by hand"))
	putRaw(t, s, s.ackKey("p1/x"), []byte("by hand"))
	if acks, err := s.Acks(within(t)); err != nil || len(acks) != 0 {
		t.Fatalf("%v, %v", acks, err)
	}
	must(t, s.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: 1, Reason: strings.Repeat("é", reasonMax)}))
	acks, err := s.Acks(within(t))
	if err != nil || len(acks) != 1 || len(acks[0].Reason) > reasonMax || !strings.HasSuffix(acks[0].Reason, "é…") {
		t.Fatalf("%v, %v", acks, err)
	}
	pair, _, err := raw(s).Get(s.ackKey("p1"), nil)
	must(t, err)
	for _, garbage := range []string{"", "{", `{"proxy":"p2"}`} {
		pair.Value = []byte(garbage)
		_, _, err := raw(s).Acquire(pair, nil)
		must(t, err)
		if _, err := s.Acks(within(t)); !errors.Is(err, errBadAck) || !strings.Contains(err.Error(), pair.Key) {
			t.Errorf("%q: %v", garbage, err)
		}
	}
}

func TestCloseEndsWatches(t *testing.T) {
	s := open(t, options())
	ended := make(chan error)
	started := make(chan struct{}, 2)
	go func() { ended <- s.Watch(t.Context(), func(*bucketmap.Snapshot, error) { started <- struct{}{} }) }()
	go func() {
		ended <- s.WatchAcks(t.Context(), func([]bucketmap.Ack) bool { started <- struct{}{}; return true })
	}()
	<-started
	<-started
	must(t, s.Close())
	for range 2 {
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	}
	if _, err := s.Acks(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}
