package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/config"
)

// keepAliveClient sends POSTs over one connection as long as it may: it obeys
// Connection: close, and connects again until nobody listens. It returns how
// many were answered, and why one was not.
func keepAliveClient(address string, stop <-chan struct{}) (answered int, err error) {
	var c net.Conn
	var r *bufio.Reader
	for i := 0; ; i++ {
		select {
		case <-stop:
			if c != nil {
				c.Close()
			}
			return answered, nil
		default:
		}
		if c == nil {
			c, err = net.Dial("tcp", address)
			if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) {
				return answered, nil // nothing was sent
			}
			if err != nil {
				return answered, fmt.Errorf("connect: %w", err)
			}
			c.SetDeadline(time.Now().Add(2 * patience)) //nolint:errcheck // a test's
			r = bufio.NewReader(c)
		}
		if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: h\r\nX-User-Id: u%d\r\nContent-Length: 4\r\n\r\nbody", i); err != nil {
			return answered, fmt.Errorf("write: %w", err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return answered, fmt.Errorf("read: %w", err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			return answered, fmt.Errorf("read the body: %w", err)
		}
		if resp.StatusCode != http.StatusOK {
			return answered, fmt.Errorf("status %d", resp.StatusCode)
		}
		answered++
		if resp.Close {
			c.Close()
			c = nil
		}
	}
}

func TestADrainThatBeginsUnderFullLoadLosesNoRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) {
		c.Passport.Sample = 0
		c.Drain = config.Drain{Delay: 100 * time.Millisecond, Idle: 200 * time.Millisecond, Timeout: patience}
	})
	var clients sync.WaitGroup
	var answered atomic.Int64
	stop := make(chan struct{})
	for range 16 {
		clients.Go(func() {
			n, err := keepAliveClient(r.clients, stop)
			answered.Add(int64(n))
			if err != nil {
				t.Errorf("a request was lost: %v", err)
			}
		})
	}
	r.eventually("load", func() bool { return r.apps[legacy].served.Load() > 500 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	clients.Wait() // each ends by itself: nobody listens any more
	close(stop)
	if served := r.apps[legacy].served.Load(); served != answered.Load() {
		t.Errorf("%d requests served, %d answered", served, answered.Load())
	}
}

func TestDrainReleasesHeldRequestsAndFinishesThoseUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	proceed := make(chan struct{})
	started := make(chan struct{})
	r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("X-User-Id") == "bob" {
			close(started)
			<-proceed
		}
		fmt.Fprint(w, "done")
	})
	r.publish(holdBucket(bucketOf("ann"), time.Minute))
	held, slow := r.later("POST", "ann", ""), r.later("GET", "bob", "")
	<-started
	r.eventuallyHeld(1)
	r.cancel()
	r.want(<-held, 200, "done")
	if body := r.adminGet("/readyz"); !strings.Contains(body, "draining") {
		t.Errorf("ready: %s", body)
	}
	close(proceed)
	r.want(<-slow, 200, "done")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.Drain.Timeout = 100 * time.Millisecond })
	hang := make(chan struct{})
	r.apps[legacy].handle(func(http.ResponseWriter, *http.Request) { <-hang })
	slow := r.later("GET", "ann", "")
	r.eventually("it hangs", func() bool { return r.apps[legacy].served.Load() == 1 })
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begun); d > patience/2 {
		t.Errorf("took %s", d)
	}
	close(hang)
	if got := <-slow; got.err == nil && got.status == 200 {
		t.Errorf("got %v", got)
	}
}

// The whole of it: buckets move to and fro, with holds, without, and step back,
// and no client may see anything but 200. 32 moves, and 60 with
// DROVER_SOAK=1.
func TestNoRequestFailsWhileBucketsMove(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t, func(c *config.Config) { c.Passport.Sample = 0 })
	fleet := newOwners()
	for dc, a := range r.apps {
		a.handle(fleet.handler(dc))
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var done atomic.Int64
	for i := range 12 {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				user := fmt.Sprintf("u%d", (i*7+n)%200)
				var got answer
				if n%3 == 0 {
					got = r.get(user)
				} else {
					got = r.do("POST", "/", user, strings.NewReader("body"))
				}
				done.Add(1)
				if got.err != nil || got.status != 200 {
					t.Errorf("user %s of bucket %d: %v", user, bucketOf(user), got)
					return
				}
			}
		})
	}
	for i := range rounds(32, 60) {
		b := bucketmap.BucketID(random.IntN(buckets))
		from, to := fleet.ends(b)
		switch how := i % 4; how {
		case 0, 1: // with a hold
			r.publish(holdBucket(b, patience))
			fleet.freeze(b)
			time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond) // stands for the tail
			fleet.own(b, to)
			r.publish(moveTo(t, b, to))
		case 2: // without one
			fleet.freeze(b)
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // stands for the tail
			fleet.own(b, to)
			r.publish(moveTo(t, b, to))
		case 3: // steps back
			fleet.freeze(b)
			time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond) // stands for a lag
			fleet.own(b, from)
		}
	}
	close(stop)
	clients.Wait()
	t.Logf("%d requests, %v re-routes, %v held", done.Load(), r.metric("drover_proxy_reroutes_total"), r.metric("drover_proxy_holds_entered_total"))
}

// owners stands for the fence rows of all shards.
type owners struct {
	mu   sync.Mutex
	home map[bucketmap.BucketID]bucketmap.Datacenter // none: frozen
}

func newOwners() *owners {
	o := &owners{home: map[bucketmap.BucketID]bucketmap.Datacenter{}}
	for b := range bucketmap.BucketID(buckets) {
		o.home[b] = legacy
	}
	return o
}

func (o *owners) ends(b bucketmap.BucketID) (from, to bucketmap.Datacenter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.home[b] == legacy {
		return legacy, cloud
	}
	return cloud, legacy
}

func (o *owners) freeze(b bucketmap.BucketID) { o.own(b, "") }

func (o *owners) own(b bucketmap.BucketID, dc bucketmap.Datacenter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.home[b] = dc
}

func (o *owners) handler(dc bucketmap.Datacenter) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		b := bucketOf(req.Header.Get("X-User-Id"))
		o.mu.Lock()
		home := o.home[b]
		o.mu.Unlock()
		if req.Method == http.MethodPost && (home != dc || string(body) != "body") {
			w.Header().Set("Drover-Map-Version", req.Header.Get("Drover-Map-Version"))
			w.WriteHeader(http.StatusMisdirectedRequest)
			return
		}
		fmt.Fprint(w, dc)
	}
}
