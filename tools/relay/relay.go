// Package relay stands between a client and a server: it can be slow, and it
// can be cut.
//
// A relay (1) listens on a loopback port of its own; (2) connects each client
// to the server; (3) carries bytes both ways, each delayed by half a round
// trip; (4) when cut, resets every connection and refuses new ones until it is
// healed. It never looks at the bytes. All methods may be called concurrently.
package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// chunk × backlog is what one direction of a connection may hold while it
	// is delayed: 32 KiB × 256 = 8 MiB, and memory only as it is used.
	chunk   = 32 << 10
	backlog = 256
	// dialMax bounds connecting to a server on this machine.
	dialMax = 5 * time.Second
)

// Relay carries connections to one server.
type Relay struct {
	listener net.Listener
	server   func() string // its address now
	delay    time.Duration // of each direction
	work     sync.WaitGroup

	mu struct {
		sync.Mutex
		cut, closed bool
		open        map[net.Conn]struct{}
	}
}

// Start listens. server is asked for its address at each connection.
func Start(ctx context.Context, server func() string, roundTrip time.Duration) (*Relay, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &Relay{listener: listener, server: server, delay: roundTrip / 2}
	r.mu.open = map[net.Conn]struct{}{}
	r.work.Go(r.accept)
	return r, nil
}

// Addr is where clients connect.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Cut resets every connection, and every new one until Heal.
func (r *Relay) Cut() { r.set(true, false) }

// Heal lets new connections through again.
func (r *Relay) Heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.cut = false
}

// Close ends everything and waits for it.
func (r *Relay) Close() error {
	r.set(true, true)
	err := r.listener.Close()
	r.work.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (r *Relay) set(cut, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.cut, r.mu.closed = cut, closed || r.mu.closed
	for conn := range r.mu.open {
		reset(conn)
	}
}

// reset closes a connection so that its peer gets an error, not an end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a connection that is closed already needs none
	}
	_ = conn.Close()
}

// keep notes a connection, or resets it where the link is cut.
func (r *Relay) keep(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.cut || r.mu.closed {
		reset(conn)
		return false
	}
	r.mu.open[conn] = struct{}{}
	return true
}

func (r *Relay) drop(conn net.Conn) {
	r.mu.Lock()
	delete(r.mu.open, conn)
	r.mu.Unlock()
	_ = conn.Close()
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		if r.keep(client) {
			r.work.Go(func() { r.carry(client) })
		}
	}
}

// carry is one client's connection to its end.
func (r *Relay) carry(client net.Conn) {
	defer r.drop(client)
	dialer := net.Dialer{Timeout: dialMax}
	server, err := dialer.DialContext(context.Background(), "tcp", r.server())
	if err != nil {
		reset(client)
		return
	}
	if !r.keep(server) {
		return
	}
	defer r.drop(server)
	var both sync.WaitGroup
	both.Go(func() { r.pump(server, client) })
	both.Go(func() { r.pump(client, server) })
	both.Wait()
}

// parcel is bytes and when they may go on.
type parcel struct {
	data []byte
	due  time.Time
}

// pump carries one direction. Either end's end closes both.
func (r *Relay) pump(to, from net.Conn) {
	queue := make(chan parcel, backlog)
	var sender sync.WaitGroup
	sender.Go(func() {
		for p := range queue {
			if wait := time.Until(p.due); wait > 0 {
				time.Sleep(wait)
			}
			if _, err := to.Write(p.data); err != nil {
				_ = from.Close()
			}
		}
		_ = to.Close()
	})
	for {
		data := make([]byte, chunk)
		n, err := from.Read(data)
		if n > 0 {
			queue <- parcel{data[:n], time.Now().Add(r.delay)}
		}
		if err != nil {
			break
		}
	}
	close(queue)
	sender.Wait()
	_ = from.Close()
}
