package edge

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"drover/proxy/internal/passport"
	"drover/proxy/internal/socket"
)

// tunnel passes bytes both ways after the application has switched protocols,
// until both sides have ended, or nothing has moved for the tunnel timeout.
func (c *conn) tunnel() {
	r := &c.request
	a := r.answer
	c.closing = true
	out := append(c.buffer(), "HTTP/1.1 "...)
	out = append(append(out, a.Head.Line...), "\r\n"...)
	out = appendAnswerLines(out, a.Head, true)
	out = append(out, "Connection: Upgrade\r\n"...)
	out = appendLine(out, "Upgrade", a.Head.Protocol)
	out = append(append(out, "\r\n"...), a.Rest()...)
	if err := c.write(out, nil); err != nil {
		c.broken(err)
		return
	}
	r.passport.HeadSent()
	gauge := r.edge.options.Metrics.Tunnels
	gauge.Inc()
	defer gauge.Dec()
	up, down := &a.Link().Link, &c.accepted.Link
	for _, l := range []*socket.Link{up, down} {
		l.Socket.SetReadTimeout(r.edge.options.Timeouts.Tunnel)
		l.Socket.SetWriteTimeout(r.edge.options.Timeouts.Tunnel)
		l.Socket.SetReadLimit(time.Time{})
		l.Socket.SetWriteLimit(time.Time{})
	}
	down.Socket.OnGone(nil) // one who has said all may still listen
	ahead := c.reader.Bytes()
	var moved atomic.Int64
	moved.Store(time.Now().UnixNano())
	done := make(chan int64)
	go func() {
		n := int64(0)
		if _, err := up.Write(ahead); err == nil {
			n = c.pipe(up, down, &moved)
		} else {
			down.Socket.Interrupt()
		}
		done <- n + int64(len(ahead))
	}()
	r.passport.BytesOut = c.pipe(down, up, &moved)
	in := <-done
	c.reader.Drop()
	r.passport.BytesIn = in
	if r.edge.over.Load() {
		r.passport.Fail(passport.EndShuttingDown, passport.WhoDrain)
	}
}

// pipe passes bytes one way until their end, which it passes on. A side that
// breaks ends both.
func (c *conn) pipe(to, from *socket.Link, moved *atomic.Int64) int64 {
	buffers := c.edge.options.Buffers
	buffer := buffers.Get(4 * socket.BufferMin)
	defer buffers.Put(buffer)
	total := int64(0)
	for {
		n, err := from.Read(*buffer)
		if n > 0 {
			if _, err := to.Write((*buffer)[:n]); err != nil {
				break
			}
			total += int64(n)
			moved.Store(time.Now().UnixNano())
			continue
		}
		// Silence one way is no idle tunnel.
		if timedOut(err) && time.Since(time.Unix(0, moved.Load())) < c.edge.options.Timeouts.Tunnel {
			continue
		}
		if errors.Is(err, io.EOF) && to.CloseWrite() == nil {
			return total
		}
		break
	}
	from.Socket.Interrupt()
	to.Socket.Interrupt()
	return total
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
