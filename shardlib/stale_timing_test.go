package shardlib

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"drover/tools/relay"
	"github.com/go-sql-driver/mysql"
)

// trips counts what is sent to the primary and to the replica.
type trips struct{ primary, replica atomic.Int64 }

func (n *trips) driver(c *mysql.Config) {
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if address == pair.replica.Addr() {
			return countedConn{conn, &n.replica}, nil
		}
		return countedConn{conn, &n.primary}, nil
	}
}

type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.sent.Add(1)
	return c.Conn.Write(b)
}

func TestAReplicaIsReadInThreeRoundTripsAndNoneToThePrimary(t *testing.T) {
	w, replica := newPairWorld(t)
	n := new(trips)
	l := w.open("cloud", withReplicas, func(c *Config) { c.Driver = n.driver })
	w.update(l, alice)
	w.caughtUp(replica)
	w.wantStale(l, loose, 1, "replica", whyProven) // connects, and takes a sample
	l.samplers.work.Wait()
	primary, local := n.primary.Load(), n.replica.Load()
	w.wantStale(l, loose, 1, "replica", whyProven)
	if primary, local = n.primary.Load()-primary, n.replica.Load()-local; primary != 0 || local != 3 {
		t.Errorf("%d round trips to the primary, %d to the replica: want 0 and 3", primary, local)
	}
	primary = n.primary.Load()
	var value int64
	if err := l.View(t.Context(), alice, read(alice, &value)); err != nil {
		t.Fatal(err)
	}
	if primary = n.primary.Load() - primary; primary != 4 {
		t.Errorf("a View is %d round trips: want 4", primary)
	}
	primary = n.primary.Load()
	w.update(l, alice)
	if primary = n.primary.Load() - primary; primary != 3 {
		t.Errorf("an Update whose COMMIT tells its GTID is %d round trips: want 3", primary)
	}
}

// BenchmarkViewFromFar reads by a View and by a ViewStale, where a round trip to
// the primary takes 20 ms.
func BenchmarkViewFromFar(b *testing.B) {
	w, replica := newPairWorld(b)
	far, err := relay.Start(b.Context(), pair.primary.Addr, 20*time.Millisecond)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := far.Close(); err != nil {
			b.Error(err)
		}
	}()
	l := w.open("cloud", withReplicas, func(c *Config) {
		c.Driver = func(c *mysql.Config) {
			c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == pair.primary.Addr() {
					address = far.Addr()
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			}
		}
	})
	if err := l.Update(b.Context(), alice, add(alice)); err != nil {
		b.Fatal(err)
	}
	w.caughtUp(replica)
	b.Run("primary", func(b *testing.B) {
		var n int64
		for b.Loop() {
			if err := l.View(b.Context(), alice, read(alice, &n)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("replica", func(b *testing.B) {
		served := 0
		for b.Loop() {
			_, fromReplica, err := stale(b.Context(), l, alice, Staleness{Max: time.Second, WithoutToken: true})
			if err != nil {
				b.Fatal(err)
			}
			if fromReplica {
				served++
			}
		}
		b.ReportMetric(float64(served)/float64(b.N), "replica/op")
	})
}

// BenchmarkUpdateThatTells writes with a COMMIT that tells its GTID.
func BenchmarkUpdateThatTells(b *testing.B) {
	w := newWorld(b)
	l := w.open("legacy", withReplicas)
	for b.Loop() {
		if err := l.Update(b.Context(), alice, add(alice)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpdateOfOneUser is BenchmarkUpdateThatTells with a plain COMMIT.
func BenchmarkUpdateOfOneUser(b *testing.B) {
	w := newWorld(b)
	l := w.open("legacy")
	for b.Loop() {
		if err := l.Update(b.Context(), alice, add(alice)); err != nil {
			b.Fatal(err)
		}
	}
}
