package pairs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"drover/tools/testservers"
)

// renewWaitMax bounds the emptying of a pair, which takes some 50 ms: past it two
// new servers cost less.
const renewWaitMax = 10 * time.Second

// Pair is two servers that know nothing of each other.
type Pair struct {
	A, B *testservers.MariaDB
	// began is what the servers had when they were new.
	began [2]state
}

// Lender has a fleet, and the pairs that nobody uses. The zero value is good.
type Lender struct {
	mu    sync.Mutex
	fleet *testservers.Fleet
	idle  []*Pair
	n     int // pairs made
}

// Take returns a pair that is the test's until its end. It fails the test if
// servers cannot be had.
func (l *Lender) Take(t testing.TB) *Pair {
	t.Helper()
	p, err := l.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			p.end()
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.idle = append(l.idle, p)
	})
	return p
}

// Close ends all servers.
func (l *Lender) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fleet == nil {
		return nil
	}
	return l.fleet.Close()
}

func (l *Lender) take(ctx context.Context) (*Pair, error) {
	for {
		p, err := l.next(ctx)
		if p == nil || err != nil {
			break
		}
		if p.renew(ctx) == nil {
			return p, nil
		}
		p.end()
	}
	return l.start(ctx)
}

// next returns an idle pair, or nil.
func (l *Lender) next(ctx context.Context) (*Pair, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.idle) == 0 {
		return nil, ctx.Err()
	}
	p := l.idle[len(l.idle)-1]
	l.idle = l.idle[:len(l.idle)-1]
	return p, nil
}

// start starts a new pair.
func (l *Lender) start(ctx context.Context) (*Pair, error) {
	fleet, n, err := l.number()
	if err != nil {
		return nil, err
	}
	servers, err := fleet.MariaDBs(ctx, fmt.Sprintf("a%d", n), fmt.Sprintf("b%d", n))
	if err != nil {
		return nil, err
	}
	p := &Pair{A: servers[0], B: servers[1]}
	for i, m := range servers {
		if p.began[i], err = look(ctx, m); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (l *Lender) number() (*testservers.Fleet, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fleet == nil {
		// It outlives the test that came first.
		fleet, err := testservers.New(context.Background(), testservers.Options{})
		if err != nil {
			return nil, 0, err
		}
		l.fleet = fleet
	}
	l.n++
	return l.fleet, l.n, nil
}

// renew makes the pair as new, or says why it cannot.
func (p *Pair) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewWaitMax)
	defer cancel()
	// A server whose replica still runs is not left alone: the replica comes again.
	for _, step := range []func(context.Context, *testservers.MariaDB, state) error{stop, empty} {
		var both sync.WaitGroup
		var errs [2]error
		for i, m := range []*testservers.MariaDB{p.A, p.B} {
			both.Go(func() { errs[i] = step(ctx, m, p.began[i]) })
		}
		both.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
	}
	return nil
}

// end kills the servers: their data is nobody's any more. The fleet's end says if
// one cannot be killed.
func (p *Pair) end() {
	_ = p.A.Kill()
	_ = p.B.Kill()
}
