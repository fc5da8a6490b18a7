package pool

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// full returns a host whose only connection is in use.
func full(t *testing.T, settings Settings) (*Host, *Conn, *tally) {
	t.Helper()
	s := newServer(t, "127.0.0.1:0", echo)
	counts := newTally()
	settings.ConnectionsMax, settings.Counters = 1, counts
	_, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{s.address()}})
	h := p.Pick(nil)
	return h, acquire(t, h, false), counts
}

type got struct {
	number int
	conn   *Conn
	err    error
}

// enqueue has requests 0 to n-1 wait, in that order.
func enqueue(t *testing.T, h *Host, n int, of func(i int) (Client, bool)) <-chan got {
	t.Helper()
	results := make(chan got, n)
	for i := range n {
		who, fresh := of(i)
		before := h.waiting()
		go func() {
			c, err := h.Acquire(who, time.Time{}, fresh)
			results <- got{i, c, err}
		}()
		until(t, "it waits", func() bool { return h.waiting() == before+1 })
	}
	return results
}

func nobody(int) (Client, bool) { return nil, false }

func TestAReleasedConnectionGoesToTheOldestWaiter(t *testing.T) {
	h, c, counts := full(t, testSettings())
	results := enqueue(t, h, 10, nobody)
	for i := range 10 {
		h.Release(c)
		r := <-results
		if r.err != nil || r.number != i || r.conn != c || !r.conn.Reused {
			t.Fatalf("release %d: got %+v", i, r)
		}
	}
	if n := counts.of(QueueServed); n != 10 {
		t.Errorf("%d counted as served", n)
	}
}

func TestADiscardedConnectionsPlaceGoesToTheOldestWaiter(t *testing.T) {
	h, c, _ := full(t, testSettings())
	results := enqueue(t, h, 5, nobody)
	for i := range 5 {
		h.Discard(c)
		r := <-results
		if r.err != nil || r.number != i || r.conn == c || r.conn.Reused {
			t.Fatalf("discard %d: got %+v", i, r)
		}
		c = r.conn
	}
	if n := h.opened(); n != 1 {
		t.Errorf("%d are open", n)
	}
}

func TestAWaiterThatAskedForAFreshConnectionGetsOne(t *testing.T) {
	h, c, _ := full(t, testSettings())
	results := enqueue(t, h, 1, func(int) (Client, bool) { return nil, true })
	h.Release(c)
	if r := <-results; r.err != nil || r.conn == c || r.conn.Reused || h.opened() != 1 {
		t.Errorf("got %+v with %d open", r, h.opened())
	}
}

func TestAWaiterIsNotHandedAConnectionThatHasEnded(t *testing.T) {
	s := newServer(t, "127.0.0.1:0", func(c net.Conn) {
		io.ReadFull(c, make([]byte, 1)) //nolint:errcheck // closed either way
	})
	settings := testSettings()
	settings.ConnectionsMax = 1
	_, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{s.address()}})
	h := p.Pick(nil)
	c := acquire(t, h, false)
	results := enqueue(t, h, 1, nobody)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	until(t, "the host has closed", func() bool { return c.Look() != 0 })
	h.Release(c)
	if r := <-results; r.err != nil || r.conn == c {
		t.Errorf("got %+v", r)
	}
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	settings := testSettings()
	settings.Queue = 2
	h, c, counts := full(t, settings)
	results := enqueue(t, h, 2, nobody)
	if _, err := h.Acquire(nil, time.Time{}, false); !errors.Is(err, ErrQueueFull) {
		t.Errorf("got %v", err)
	}
	for range 2 {
		h.Release(c)
		<-results
	}
	if counts.of(QueueFull) != 1 || counts.of(QueueServed) != 2 {
		t.Errorf("counted %v", counts.queued)
	}
}

func TestAQueueOfNoneRefusesAtOnce(t *testing.T) {
	settings := testSettings()
	settings.Queue, settings.QueueTimeout = 0, 0
	h, _, _ := full(t, settings)
	if _, err := h.Acquire(nil, time.Time{}, false); !errors.Is(err, ErrQueueFull) {
		t.Errorf("got %v", err)
	}
}

func TestAWaitEndsAfterTheQueuesTimeOrTheRequestsOwnLimit(t *testing.T) {
	settings := testSettings()
	settings.QueueTimeout = 20 * time.Millisecond
	h, _, counts := full(t, settings)
	if _, err := h.Acquire(nil, time.Time{}, false); !errors.Is(err, ErrQueueTimeout) {
		t.Errorf("got %v", err)
	}
	h, _, _ = full(t, testSettings())
	for _, limit := range []time.Duration{20 * time.Millisecond, -time.Second} {
		if _, err := h.Acquire(nil, time.Now().Add(limit), false); !errors.Is(err, ErrQueueTimeout) {
			t.Errorf("limit %v: got %v", limit, err)
		}
	}
	if h.waiting() != 0 || counts.of(QueueTimeout) != 1 {
		t.Errorf("%d wait still, counted %v", h.waiting(), counts.queued)
	}
}

func TestAWaiterWhoseClientLeavesIsOutAtOnceAndTheOthersKeepTheirOrder(t *testing.T) {
	h, c, counts := full(t, testSettings())
	clients := make([]*client, 6)
	results := enqueue(t, h, 6, func(i int) (Client, bool) {
		clients[i] = &client{}
		return clients[i], false
	})
	for i := range clients { // queued is before listening
		until(t, "it listens", clients[i].listening)
	}
	for _, i := range []int{3, 0, 5} { // in the middle, first, last
		clients[i].leave()
		if r := <-results; r.number != i || !errors.Is(r.err, ErrGone) {
			t.Fatalf("got %+v", r)
		}
	}
	if n := h.waiting(); n != 3 {
		t.Errorf("%d wait, want 3", n)
	}
	for _, i := range []int{1, 2, 4} {
		h.Release(c)
		if r := <-results; r.number != i || r.err != nil {
			t.Fatalf("got %+v, want %d", r, i)
		}
		if clients[i].listening() {
			t.Error("it listens to its client still")
		}
	}
	if counts.of(QueueGone) != 3 {
		t.Errorf("counted %v", counts.queued)
	}
}

func TestAClientThatIsGoneAlreadyDoesNotWait(t *testing.T) {
	h, _, _ := full(t, testSettings())
	c := &client{}
	c.leave()
	if _, err := h.Acquire(c, time.Time{}, false); !errors.Is(err, ErrGone) || h.waiting() != 0 {
		t.Errorf("got %v, %d wait", err, h.waiting())
	}
}

func TestANewcomerDoesNotOvertakeTheQueue(t *testing.T) {
	h, c, _ := full(t, testSettings())
	results := enqueue(t, h, 2, nobody)
	h.Release(c) // is the first waiter's, whether it has noticed or not
	late := enqueue(t, h, 1, nobody)
	if r := <-results; r.number != 0 {
		t.Fatalf("got %+v", r)
	}
	h.Release(c)
	if r := <-results; r.number != 1 {
		t.Fatalf("got %+v", r)
	}
	h.Release(c)
	if r := <-late; r.err != nil {
		t.Fatal(r.err)
	}
}

// Requests of every kind at a host with few places: no more connections are
// open than may be, each is one request's, and nobody is forgotten.
func TestUnderAnyLoadTheLimitHoldsAndNobodyIsForgotten(t *testing.T) {
	const limit, workers, each = 3, 24, 150
	s := newServer(t, "127.0.0.1:0", func(c net.Conn) {
		b := make([]byte, 1)
		for n := 0; ; n++ {
			if _, err := c.Read(b); err != nil || n == 20 {
				return // the host closes now and then
			}
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	})
	counts := newTally()
	settings := testSettings()
	settings.ConnectionsMax, settings.Queue, settings.Counters = limit, workers, counts
	settings.KeepAlive = 50 * time.Millisecond
	r, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{s.address()}})
	r.run(t)
	h := p.Pick(nil)
	var busy, served atomic.Int64
	var owners sync.Map
	var group sync.WaitGroup
	for w := range workers {
		dice := rand.New(rand.NewPCG(7, uint64(w)))
		group.Go(func() {
			for range each {
				var who Client
				if dice.IntN(4) == 0 {
					c := &client{}
					who = c
					if dice.IntN(2) == 0 {
						group.Go(c.leave)
					}
				}
				var until time.Time
				if dice.IntN(8) == 0 {
					until = time.Now().Add(time.Duration(dice.IntN(300)) * time.Microsecond)
				}
				c, err := h.Acquire(who, until, dice.IntN(5) == 0)
				if err != nil {
					var failed *ConnectError
					own := errors.As(err, &failed) && failed.Limit
					if errors.Is(err, ErrQueueFull) || !own && who == nil && until.IsZero() {
						t.Errorf("got %v", err)
					}
					continue
				}
				if n := busy.Add(1); n > limit {
					t.Errorf("%d are in use", n)
				}
				if n := openNow(t, p); n > limit {
					t.Errorf("%v are open", n)
				}
				if _, taken := owners.LoadOrStore(c, w); taken {
					t.Error("one connection has two owners")
				}
				served.Add(1)
				c.Socket.SetReadTimeout(long)
				_, err = c.Write([]byte("x"))
				if err == nil {
					_, err = c.Read(make([]byte, 1))
				}
				owners.Delete(c)
				busy.Add(-1)
				if err != nil || dice.IntN(10) == 0 {
					h.Discard(c)
				} else {
					h.Release(c)
				}
			}
		})
	}
	group.Wait()
	if served.Load() < workers*each/2 || h.waiting() != 0 {
		t.Errorf("%d served, %d forgotten", served.Load(), h.waiting())
	}
	until(t, "all are closed", func() bool { open, _, _ := s.counts(); return h.opened() == 0 && open == 0 })
	if counts.of(QueueServed) == 0 || counts.of(QueueGone) == 0 {
		t.Errorf("the test met too little: %v", counts.queued)
	}
	if n := openNow(t, p); n != 0 {
		t.Errorf("the gauge says %v connections", n)
	}
}

// openNow returns the connections made and not closed.
func openNow(t *testing.T, p *Pool) float64 {
	t.Helper()
	var m dto.Metric
	if err := p.conns.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetGauge().GetValue()
}
