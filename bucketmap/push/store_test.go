package push

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

func TestStoreWithoutProxies(t *testing.T) {
	storetest.Run(t, func(t *testing.T) bucketmap.Store { return open(t, Options{}) })
}

// network is the fleet of a place of maps. A proxy joins it when it watches or
// acknowledges for the first time.
type network struct {
	dir string

	mu    sync.Mutex // guards edges and watchers
	edges map[string]*edge
	count int
}

func (n *network) addresses(context.Context) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []string
	for _, e := range n.edges {
		list = append(list, e.server.URL)
	}
	return list, nil
}

func (n *network) join(t testing.TB, id string) *edge {
	n.mu.Lock()
	defer n.mu.Unlock()
	if id == "" {
		n.count++
		id = fmt.Sprintf("watcher-%d", n.count)
	}
	if e := n.edges[id]; e != nil {
		return e
	}
	e := newEdge(t, setup{id: id})
	n.edges[id] = e
	return e
}

// bothEnds publishes by a Store and reads by Receivers, over real connections.
type bothEnds struct {
	*Store
	t       testing.TB
	network *network
}

func (b *bothEnds) Load(ctx context.Context) (*bucketmap.Snapshot, error) { return b.Store.Load(ctx) }

func (b *bothEnds) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := b.network.join(b.t, "")
	_ = b.Push(ctx) // there may be no map yet
	return e.Watch(ctx, changed)
}

func (b *bothEnds) Ack(ctx context.Context, ack bucketmap.Ack) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !bucketmap.ValidName(ack.Proxy) {
		_, err := NewReceiver(ReceiverOptions{Proxy: ack.Proxy})
		return err
	}
	return b.network.join(b.t, ack.Proxy).Ack(ctx, ack)
}

func (n *network) open(t testing.TB) *bothEnds {
	s := open(t, Options{Dir: n.dir, Discover: n.addresses, Recheck: 20 * time.Millisecond})
	return &bothEnds{Store: s, t: t, network: n}
}

func newBothEnds(t *testing.T) bucketmap.Store {
	n := &network{dir: t.TempDir(), edges: map[string]*edge{}}
	return n.open(t)
}

func TestStoreAndReceivers(t *testing.T) { storetest.Run(t, newBothEnds) }

func TestTwoStoresOnOneFolderAndReceivers(t *testing.T) {
	storetest.RunShared(t, newBothEnds, func(t *testing.T, first bucketmap.Store) bucketmap.Store {
		return first.(*bothEnds).network.open(t)
	})
}

func TestOptionsReportEveryProblem(t *testing.T) {
	_, err := Open(Options{
		Proxies:  []string{"10.0.0.1:9901", "https://a:1", "https://A:1/", "http://u:secret@b:1", "https://c:1?x=1", "ftp://d", "http://"},
		Token:    "two words",
		Sign:     make([]byte, 3),
		Discover: func(context.Context) ([]string, error) { return nil, nil },
	})
	if err == nil {
		t.Fatal("no error")
	}
	wantText(t, err.Error(), "no Dir", "10.0.0.1:9901", "https://a:1 is there twice", "proxy address of b:1 has a user name",
		"https://c:1?x=1", "ftp://d", `"http://"`, "Token", "Sign of 3 bytes", "both Proxies and Discover")
	wantNoText(t, err.Error(), "secret")
	for _, options := range []ReceiverOptions{{}, {Proxy: "a/b"}, {Proxy: "p1", Keys: append(ReceiverOptions{}.Keys, []byte("short"))}} {
		if _, err := NewReceiver(options); err == nil {
			t.Errorf("%+v was accepted", options)
		}
	}
}
