package upstream

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"drover/proxy/internal/http1"
	"drover/proxy/internal/pool"
)

// lastWriteMax bounds the wait for a last write that is under way when the
// answer is over: most often it is done already.
const lastWriteMax = 50 * time.Millisecond

// pump sends the rest of a body while the answer may come already. It is a
// goroutine of its own only for bodies that were not there as a whole when
// their head was sent.
type pump struct {
	exchange *Exchange
	conn     *pool.Conn
	done     chan struct{} // nil: there is no pump
	stopping atomic.Bool
	last     atomic.Bool // the end of the body is being written
	// ended is when all was sent, in ns since begun; 0: not yet.
	ended atomic.Int64
	begun time.Time

	// After done:
	err    error // of the upstream
	failed bool  // of the body; see its Err
}

// start begins to send what is left of the body.
func (p *pump) start(x *Exchange, c *pool.Conn) {
	p.exchange, p.conn, p.err, p.failed = x, c, nil, false
	p.stopping.Store(false)
	p.last.Store(false)
	p.ended.Store(0)
	p.begun = time.Now()
	p.done = make(chan struct{})
	go p.run(p.done)
}

// running says whether something is still to be sent. It takes in the end of a
// pump that is over.
func (p *pump) running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		p.done = nil
		return false
	default:
		return true
	}
}

// sentFor says for how long everything has been sent.
func (p *pump) sentFor() time.Duration {
	ended := p.ended.Load()
	if ended == 0 {
		return 0
	}
	return max(time.Since(p.begun)-time.Duration(ended), 1)
}

// finish waits for a last write that is under way: the application has read it
// most often, and only the pump has not been told yet.
func (p *pump) finish() {
	if p.done == nil || !p.last.Load() {
		return
	}
	timer := time.NewTimer(lastWriteMax)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
}

// stop ends the pump and waits for it. What it had not sent stays with the
// client's connection. It says whether the body had been sent as a whole.
func (p *pump) stop() bool {
	if p.done == nil {
		return p.err == nil && !p.failed
	}
	p.finish()
	p.stopping.Store(true)
	body := p.exchange.request.Body
	if p.running() {
		p.conn.Socket.InterruptWrite() // the answer can still be read
		body.source.Interrupt()
		<-p.done
		p.done = nil
		body.source.Resume()
		return false
	}
	return p.err == nil && !p.failed
}

func (p *pump) run(done chan struct{}) {
	defer close(done)
	defer func() {
		if bug := recover(); bug != nil { // ends this request, and no other
			p.failed = true
			p.exchange.request.Body.err = fmt.Errorf("a bug of the edge: %v", bug)
			p.conn.Socket.Interrupt()
		}
	}()
	x, body := p.exchange, p.exchange.request.Body
	buffer := x.fleet.buffers.Get(0)
	defer x.fleet.buffers.Put(buffer)
	out := (*buffer)[:0]
	for {
		data, err := body.next(true)
		if p.stopping.Load() {
			p.failed = true
			return
		}
		if err != nil && !errors.Is(err, io.EOF) {
			p.failed = true
			p.conn.Socket.Interrupt() // the one who waits for the answer
			return
		}
		over := err != nil || body.done()
		if over {
			p.last.Store(true)
		}
		out, err = x.send(p.conn, out[:0], data, over)
		if err != nil {
			p.err = err
			if timedOut(err) {
				p.conn.Socket.Interrupt()
			}
			return // closed or broken: the answer may be there all the same
		}
		if over {
			p.ended.Store(int64(max(time.Since(p.begun), 1)))
			return
		}
	}
}

// send sends a piece of the body, and the end behind the last.
func (x *Exchange) send(c *pool.Conn, out, data []byte, last bool) ([]byte, error) {
	if x.request.Body.Length() >= 0 {
		_, err := c.Write(data)
		return out, err
	}
	if len(data) == 0 {
		if last {
			out = x.appendEnd(out)
		}
		_, err := c.Write(out)
		return out, err
	}
	out = http1.AppendChunkHead(out, len(data))
	if _, err := c.Writev(out, data); err != nil {
		return out, err
	}
	out = append(out[:0], "\r\n"...)
	if last {
		out = x.appendEnd(out)
	}
	_, err := c.Write(out)
	return out, err
}

// appendEnd appends the last chunk and the trailers that may go on.
func (x *Exchange) appendEnd(out []byte) []byte {
	out = append(out, "0\r\n"...)
	fields, lines := x.request.Body.Trailers()
	for i, f := range fields {
		if x.request.Trailer == nil || !x.request.Trailer(f, lines[i].Kind) {
			continue
		}
		out = append(append(out, f.Name...), ": "...)
		out = append(append(out, f.Value...), "\r\n"...)
	}
	return append(out, "\r\n"...)
}
