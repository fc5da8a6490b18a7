package promote

import (
	"net"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/migrator/internal/shards"
	"drover/shardlib"
	"drover/tools/testservers"
)

// relay is the network between a migrator and a server. It can hold what the
// migrator sends, and be cut.
type relay struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu     sync.Mutex
	cond   *sync.Cond
	held   bool
	cutOff bool
	ended  bool
	conns  map[net.Conn]bool
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &relay{listener: listener, target: target, conns: map[net.Conn]bool{}}
	r.cond = sync.NewCond(&r.mu)
	r.running.Go(r.accept)
	t.Cleanup(func() {
		r.mu.Lock()
		r.ended, r.held = true, false
		r.mu.Unlock()
		r.cond.Broadcast()
		_ = listener.Close()
		r.cut()
		r.running.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", r.target)
		r.mu.Lock()
		if err != nil || r.cutOff || r.ended {
			r.mu.Unlock()
			_ = client.Close()
			if server != nil {
				_ = server.Close()
			}
			continue
		}
		r.conns[client], r.conns[server] = true, true
		r.mu.Unlock()
		r.running.Go(func() { r.pump(server, client, true) })
		r.running.Go(func() { r.pump(client, server, false) })
	}
}

func (r *relay) pump(to, from net.Conn, holds bool) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
		r.mu.Lock()
		delete(r.conns, to)
		delete(r.conns, from)
		r.mu.Unlock()
	}()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if n != 0 {
			r.mu.Lock()
			for holds && r.held {
				r.cond.Wait()
			}
			r.mu.Unlock()
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *relay) hold() { r.mu.Lock(); r.held = true; r.mu.Unlock() }

func (r *relay) release() {
	r.mu.Lock()
	r.held = false
	r.mu.Unlock()
	r.cond.Broadcast()
}

// cut ends every connection and refuses new ones, until mend.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cutOff = true
	for c := range r.conns {
		_ = c.Close()
	}
}

func (r *relay) mend() { r.mu.Lock(); r.cutOff = false; r.mu.Unlock() }

// through finds the servers by another list.
func (w *world) through(list shardlib.ShardList) *shards.Shards {
	found := shards.New(list, w.store, database.Account{User: testservers.AccountDrover, Password: testservers.Password})
	w.t.Cleanup(func() { _ = found.Close() })
	return found
}

// planned begins a promotion to cloud and leaves it there.
func (w *world) planned() *Promotion {
	w.t.Helper()
	p, err := w.engine().Start(w.t.Context(), Plan{Shard: alpha, Target: cloud, Who: "test"})
	must(w.t, err)
	return p
}

func TestALinkThatIsCutAtAnyStateLeavesOnePrimary(t *testing.T) {
	w := newWorld(t)
	ways := map[bucketmap.Datacenter]*relay{legacy: newRelay(t, w.a.Addr()), cloud: newRelay(t, w.b.Addr())}
	points := []string{"freezing.after_freeze"}
	if soak() {
		points = points[:0]
		for _, p := range forwardPoints {
			points = append(points, string(p))
		}
	}
	list := w.list
	list.Shards = map[bucketmap.ShardName]map[bucketmap.Datacenter]string{alpha: {legacy: ways[legacy].addr(), cloud: ways[cloud].addr()}}
	w.list, w.shards = list, w.through(list)
	ws := w.startWriters()
	for _, point := range points {
		for _, cut := range []bucketmap.Datacenter{legacy, cloud} {
			at, epoch := w.lives().Datacenter, w.lives().Epoch
			w.points = &crash.Points{}
			w.limits.Reverse = 300 * time.Millisecond
			must(t, w.points.ArmFunc(point, ways[cut].cut))
			e := w.engine()
			p, err := e.Start(t.Context(), Plan{Shard: alpha, Target: other(at), Who: "test"})
			if err == nil {
				ctx, cancel := contextOf(t, 2)
				mended := make(chan struct{})
				go func() { defer close(mended); <-ctx.Done(); ways[cut].mend() }()
				err = e.Run(t.Context(), p)
				cancel()
				<-mended
			}
			ways[cut].mend()
			w.points = &crash.Points{}
			w.limits.Reverse = 20 * time.Second
			if err != nil {
				t.Logf("%s, %s cut: %v", point, cut, err)
				w.goOn()
			}
			if s := w.lives(); s.Datacenter != at {
				epoch++
			}
			w.settled(w.lives().Datacenter, epoch)
			if t.Failed() {
				t.Fatalf("%s, %s cut", point, cut)
			}
		}
	}
	at := w.lives().Datacenter
	ws.check(at)
}
