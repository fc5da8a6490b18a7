package script

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// awaitMax bounds every wait for something that has to come.
const awaitMax = 4 * time.Second

// Step is one thing that a case does.
type Step struct {
	what string
	do   func(*stage) error
}

// Send sends bytes on the first client's connection.
func Send(text string) Step { return SendOn(0, text) }

// SendOn sends bytes on a client's connection, from 0, opened when needed.
func SendOn(i int, text string) Step {
	return Step{fmt.Sprintf("client %d sends %.40q", i, text), func(s *stage) error {
		c, err := s.client(i)
		if err == nil {
			c.send(text)
		}
		return err
	}}
}

// HalfClose ends the sending side of the first client.
func HalfClose() Step {
	return Step{"the client ends its side", func(s *stage) error {
		c, err := s.client(0)
		if err == nil {
			_ = c.CloseWrite()
		}
		return err
	}}
}

// Leave closes the first client's connection.
func Leave() Step { return leave("closes", func(c *client) { _ = c.Close() }) }

// LeaveByReset resets the first client's connection.
func LeaveByReset() Step { return leave("resets", func(c *client) { reset(c.TCPConn) }) }

func leave(how string, do func(*client)) Step {
	return Step{"the client " + how, func(s *stage) error {
		c, err := s.client(0)
		if err != nil {
			return err
		}
		s.board.update(func() { c.hungUp = true })
		do(c)
		return nil
	}}
}

// Pause waits. It must never decide a result.
func Pause(d time.Duration) Step {
	return Step{fmt.Sprintf("a pause of %v", d), func(*stage) error { time.Sleep(d); return nil }}
}

// await is a step that waits for a condition.
func await(what string, holds func(*stage) bool) Step {
	return Step{"wait: " + what, func(s *stage) error {
		if !s.board.wait(awaitMax, func() bool { return holds(s) }) {
			return fmt.Errorf("%s: not within %v", what, awaitMax)
		}
		return nil
	}}
}

// AwaitHead waits until the origin has so many requests' heads.
func AwaitHead(n int) Step {
	return await(fmt.Sprintf("the origin has %d heads", n), func(s *stage) bool { return len(s.scene.requests) >= n })
}

// AwaitRequest waits until the origin has so many whole requests.
func AwaitRequest(n int) Step {
	return await(fmt.Sprintf("the origin has %d whole requests", n), func(s *stage) bool {
		whole := 0
		for _, r := range s.scene.requests {
			if r.Whole {
				whole++
			}
		}
		return whole >= n
	})
}

// AwaitBody waits until the body of the origin's last request holds the text.
func AwaitBody(text string) Step {
	return await(fmt.Sprintf("the origin has the body bytes %q", text), func(s *stage) bool {
		n := len(s.scene.requests)
		return n != 0 && strings.Contains(s.scene.requests[n-1].Body, text)
	})
}

// AwaitText waits until the first client has the text.
func AwaitText(text string) Step {
	return await(fmt.Sprintf("the client has %q", text), func(s *stage) bool {
		return s.clients[0] != nil && bytes.Contains(s.clients[0].bytes, []byte(text))
	})
}

// AwaitAnswer waits until a client has so many whole answers, or its
// connection has ended.
func AwaitAnswer(i, n int) Step {
	return await(fmt.Sprintf("client %d has %d answers", i, n), func(s *stage) bool {
		return s.clients[i] != nil && (s.clients[i].ended || s.clients[i].whole() >= n)
	})
}

// AwaitGone waits until the proxy has closed the connection on which the
// origin's last request came.
func AwaitGone() Step {
	return await("the origin's connection is closed by the proxy", func(s *stage) bool {
		c := s.last()
		return c != nil && c.ended
	})
}

// OriginSends writes on the connection of the origin's last request.
func OriginSends(text string) Step {
	return originDoes(fmt.Sprintf("the origin sends %.40q", text), func(c *originConn) { write(c.TCPConn, text) })
}

// OriginEnds ends the connection of the origin's last request.
func OriginEnds(how End) Step {
	return originDoes("the origin ends its connection", func(c *originConn) { end(c.TCPConn, how) })
}

func originDoes(what string, do func(*originConn)) Step {
	return Step{what, func(s *stage) error {
		var c *originConn
		s.board.look(func() { c = s.last() })
		if c == nil {
			return fmt.Errorf("%s: it has no request", what)
		}
		do(c)
		return nil
	}}
}

// AwaitOriginText waits until the text has come to the origin, on any
// connection: behind a 101 there are no requests.
func AwaitOriginText(text string) Step {
	return await(fmt.Sprintf("the origin has %q", text), func(s *stage) bool {
		for _, c := range s.scene.conns {
			if bytes.Contains(c.bytes, []byte(text)) {
				return true
			}
		}
		return false
	})
}

// AwaitClosed waits until the proxy has ended the first client's connection.
func AwaitClosed() Step {
	return await("the client's connection is closed by the proxy", func(s *stage) bool { return s.clients[0] != nil && s.clients[0].ended })
}
