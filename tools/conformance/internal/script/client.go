package script

import (
	"errors"
	"net"
	"sync"
	"syscall"

	"drover/tools/conformance/internal/wire"
)

// Final is one final answer at a client, with those that came before it.
type Final struct {
	*wire.Message
	Interim []*wire.Message
}

// client is one client's connection.
type client struct {
	*net.TCPConn
	board *board
	waits sync.WaitGroup

	// Under the board's lock.
	sent, bytes  []byte
	ended, reset bool
	hungUp       bool // by the client itself
}

func dial(board *board, address string) (*client, error) {
	conn, err := net.Dial("tcp4", address) //nolint:noctx // loopback: it connects or fails at once
	if err != nil {
		return nil, err
	}
	c := &client{TCPConn: conn.(*net.TCPConn), board: board}
	c.waits.Go(c.receive)
	return c, nil
}

func (c *client) receive() {
	buffer := make([]byte, readBytes)
	for {
		n, err := c.Read(buffer)
		c.board.update(func() {
			c.bytes = append(c.bytes, buffer[:n]...)
			c.ended = c.ended || err != nil
			c.reset = c.reset || errors.Is(err, syscall.ECONNRESET)
		})
		if err != nil || len(c.bytes) > connBytesMax {
			return
		}
	}
}

func (c *client) send(text string) {
	c.board.update(func() { c.sent = append(c.sent, text...) })
	write(c.TCPConn, text)
}

func (c *client) close() {
	_ = c.Close()
	c.waits.Wait()
}

// Seen is what one client saw.
type Seen struct {
	Finals []Final
	// Pending are 1xx answers with no final one behind them.
	Pending []*wire.Message
	// Tail is what came behind the last answer, or is none.
	Tail          string
	Closed, Reset bool
}

// seen reads what has come so far. It is called under the board's lock.
func (c *client) seen() Seen {
	s := Seen{Closed: c.ended, Reset: c.reset}
	rest, requests := c.bytes, c.sent
	for len(rest) != 0 {
		request := wire.Request(requests)
		m := wire.Answer(rest, request.Method() == "HEAD", c.ended)
		if !m.HasHead {
			break
		}
		if status := m.Status(); status/100 == 1 && status != 101 {
			s.Pending = append(s.Pending, m)
			rest = rest[m.Size:]
			continue
		}
		s.Finals = append(s.Finals, Final{Message: m, Interim: s.Pending})
		s.Pending = nil
		if !m.Whole {
			return s
		}
		rest = rest[m.Size:]
		if request.Whole {
			requests = requests[request.Size:]
		}
	}
	s.Tail = string(rest)
	return s
}

// whole returns how many final answers are whole.
func (c *client) whole() int {
	n := 0
	for _, f := range c.seen().Finals {
		if f.Whole {
			n++
		}
	}
	return n
}

// answered says whether every request that was sent, in whole or in part, has
// its whole answer: only then can the proxy have none under way.
func (c *client) answered() bool {
	requests := 0
	for rest := c.sent; len(rest) != 0; requests++ {
		m := wire.Request(rest)
		if !m.Whole {
			requests++
			break
		}
		rest = rest[m.Size:]
	}
	return c.whole() >= requests
}
