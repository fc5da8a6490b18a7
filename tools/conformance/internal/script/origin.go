package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"drover/tools/conformance/internal/wire"
)

const (
	connBytesMax = 16 << 20 // read on one connection of a case; the suite's largest message is 2 MiB
	readBytes    = 64 << 10
	writeWaitMax = 4 * time.Second
)

// Origin is the application server behind a proxy.
type Origin struct {
	listener net.Listener
	waits    sync.WaitGroup
	mu       sync.Mutex
	scene    *scene        // the case under way, or the one before
	marker   string        // the address of a connection of the origin's own
	marked   chan struct{} // closed once that is accepted
}

// Listen returns an origin on a free port of loopback.
func Listen(ctx context.Context) (*Origin, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start an origin: %w", err)
	}
	o := &Origin{listener: listener}
	o.waits.Go(o.accept)
	return o, nil
}

// Addr returns where the origin listens.
func (o *Origin) Addr() string { return o.listener.Addr().String() }

// Close ends the origin.
func (o *Origin) Close() {
	_ = o.listener.Close()
	o.waits.Wait()
}

func (o *Origin) accept() {
	for {
		conn, err := o.listener.Accept()
		if err != nil {
			return // closed
		}
		o.mu.Lock()
		switch {
		case conn.RemoteAddr().String() == o.marker:
			close(o.marked)
			o.marker = ""
			reset(conn)
		case o.scene == nil || !o.scene.take(conn.(*net.TCPConn)):
			reset(conn)
		}
		o.mu.Unlock()
	}
}

// drain returns once every connection that was made before has been accepted,
// and so belongs to the scene that it was made for: a listener's queue is first
// in first out, so a connection of one's own marks its end.
func (o *Origin) drain() error {
	// Under the lock: the address is known before the connection is accepted.
	o.mu.Lock()
	conn, err := net.Dial("tcp4", o.Addr()) //nolint:noctx // loopback: it connects or fails at once
	if err != nil {
		o.mu.Unlock()
		return fmt.Errorf("drain the origin: %w", err)
	}
	defer conn.Close()
	marked := make(chan struct{})
	o.marker, o.marked = conn.LocalAddr().String(), marked
	o.mu.Unlock()
	select {
	case <-marked:
		return nil
	case <-time.After(awaitMax):
		return errors.New("drain the origin: its own connection was not accepted")
	}
}

// play makes a scene the one that connections belong to.
func (o *Origin) play(s *scene) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.scene = s
}

// Received is one request at the origin.
type Received struct {
	*wire.Message
	Conn int // which connection, from 0
}

// scene is the origin's side of one case.
type scene struct {
	board   *board
	replies []Reply
	waits   sync.WaitGroup

	// Under the board's lock.
	conns    []*originConn
	requests []*Received // by the time of their heads
	over     bool        // no more connections are taken
}

type originConn struct {
	*net.TCPConn
	// Under the board's lock.
	bytes   []byte
	read    int       // of bytes, by whole requests
	request *Received // under way, or nil
	ended   bool      // by the proxy
	reset   bool
}

// take takes a connection, and says whether it did.
func (s *scene) take(conn *net.TCPConn) bool {
	c, taken := &originConn{TCPConn: conn}, false
	s.board.update(func() {
		if taken = !s.over; taken {
			index := len(s.conns)
			s.conns = append(s.conns, c)
			s.waits.Go(func() { s.serve(c, index) })
		}
	})
	return taken
}

// serve reads requests and writes the replies.
func (s *scene) serve(c *originConn, index int) {
	buffer := make([]byte, readBytes)
	for {
		n, err := c.Read(buffer)
		var replies []func()
		s.board.update(func() {
			c.bytes = append(c.bytes, buffer[:n]...)
			replies = s.parse(c, index)
			c.ended = c.ended || err != nil
			c.reset = c.reset || errors.Is(err, syscall.ECONNRESET)
		})
		for _, reply := range replies {
			reply()
		}
		if err != nil || len(c.bytes) > connBytesMax {
			return
		}
	}
}

// parse reads what has come, and returns the replies that are due.
func (s *scene) parse(c *originConn, index int) []func() {
	var due []func()
	for c.read < len(c.bytes) {
		m := wire.Request(c.bytes[c.read:])
		if !m.HasHead {
			break
		}
		if c.request == nil {
			c.request = &Received{Conn: index}
			s.requests = append(s.requests, c.request)
			reply := s.reply(len(s.requests)-1, m)
			due = append(due, func() { reply.atHead(c) })
		}
		c.request.Message = m
		if !m.Whole {
			break
		}
		reply := s.reply(s.index(c.request), m)
		due = append(due, func() { reply.atBody(c) })
		c.read += m.Size
		c.request = nil
	}
	return due
}

func (s *scene) index(r *Received) int {
	for i, other := range s.requests {
		if other == r {
			return i
		}
	}
	return 0
}

func (s *scene) reply(index int, m *wire.Message) Reply {
	if len(s.replies) == 0 {
		if m.Method() == "HEAD" {
			return Answer("HTTP/1.1 200 OK", "Content-Length: 2", "", "")
		}
		return Answer("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")
	}
	return s.replies[min(index, len(s.replies)-1)]
}

func (r Reply) atHead(c *originConn) {
	write(c.TCPConn, r.AtHead)
	if r.AtBody == "" && (r.AtHead != "" || r.AtOnce) {
		end(c.TCPConn, r.Then)
	}
}

func (r Reply) atBody(c *originConn) {
	if r.AtBody != "" {
		write(c.TCPConn, r.AtBody)
	}
	if r.AtBody != "" || r.AtHead == "" && !r.AtOnce {
		end(c.TCPConn, r.Then)
	}
}

// write writes, bounded. Who does not get it shows it.
func write(conn *net.TCPConn, text string) {
	if text == "" {
		return
	}
	_ = conn.SetWriteDeadline(time.Now().Add(writeWaitMax)) // it is closed already
	_, _ = io.Copy(conn, strings.NewReader(text))
}

func end(conn *net.TCPConn, how End) {
	switch how {
	case Close:
		_ = conn.CloseWrite()
	case Reset:
		reset(conn)
	case Keep:
	}
}

func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// idle says whether no request is under way on a connection that is open.
func (s *scene) idle() bool {
	for _, c := range s.conns {
		if !c.ended && (c.request != nil || c.read < len(c.bytes)) {
			return false
		}
	}
	return true
}

// close ends the scene's connections, as the proxy sees too when it returns: none
// is left that a request of the next scene could be sent on.
func (s *scene) close() {
	var conns []*originConn
	s.board.update(func() { s.over, conns = true, s.conns })
	for _, c := range conns {
		part(c.TCPConn)
	}
	s.waits.Wait()
}
