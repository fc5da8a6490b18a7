package edge

import (
	"io"
	"os"
	"time"

	"drover/proxy/internal/socket"
)

// body2 is the body of a request of HTTP/2. A wait for more of a stream ends
// only with the stream, but a request that is answered 421 wants to give up
// waiting and go on later. So a goroutine of the body's own reads it, a piece at
// a time; what it has when nobody waits is there for the next who does.
type body2 struct {
	edge   *Edge
	from   io.ReadCloser
	buffer *[]byte // nil: nobody has asked for anything yet
	timer  *time.Timer
	given  bool  // the reader waits until the last piece is done with
	err    error // behind the last piece, for good

	pieces chan piece2   // by the reader
	taken  chan struct{} // to the reader: it may read on
	wake   chan struct{} // one who waits stops waiting
	over   chan struct{} // the reader is to end
	ended  chan struct{} // it has
}

// piece2 is so much of the buffer, and what came behind it.
type piece2 struct {
	n   int
	err error
}

// begin makes b the body that is read from a stream.
func (b *body2) begin(e *Edge, from io.ReadCloser) {
	b.edge, b.from, b.given, b.err = e, from, false, nil
}

// start starts the reader.
func (b *body2) start() {
	b.buffer = b.edge.options.Buffers.Get(4 * outFlush)
	b.pieces, b.taken = make(chan piece2), make(chan struct{})
	b.wake, b.over, b.ended = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go b.read()
}

func (b *body2) read() {
	defer close(b.ended)
	for {
		n, err := b.from.Read(*b.buffer)
		select {
		case b.pieces <- piece2{n, err}:
		case <-b.over:
			return
		}
		if err != nil {
			return
		}
		select {
		case <-b.taken:
		case <-b.over:
			return
		}
	}
}

// next is Source's Next. No wait is longer than the idle timeout, nor past the
// end of the time for the whole body.
func (b *body2) next(wait bool, end time.Time) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	if b.buffer == nil {
		b.start()
	}
	if b.given {
		b.given = false
		b.taken <- struct{}{} // the reader waits for it
	}
	select {
	case p := <-b.pieces:
		return b.take(p)
	default:
	}
	if !wait {
		return nil, nil
	}
	longest := min(b.edge.options.Timeouts.Idle, time.Until(end))
	if b.timer == nil {
		b.timer = time.NewTimer(longest)
	} else {
		b.timer.Reset(longest)
	}
	defer b.timer.Stop()
	select {
	case p := <-b.pieces:
		return b.take(p)
	case <-b.wake:
		return nil, socket.ErrInterrupted
	case <-b.timer.C:
		return nil, os.ErrDeadlineExceeded
	}
}

func (b *body2) take(p piece2) ([]byte, error) {
	b.err, b.given = p.err, p.err == nil
	return (*b.buffer)[:p.n], unexpectedBefore(p)
}

// unexpectedBefore keeps an end, and makes what else came an end too early.
func unexpectedBefore(p piece2) error {
	if p.err == nil || p.err == io.EOF { //nolint:errorlint // what Read returns, unwrapped
		return p.err
	}
	return io.ErrUnexpectedEOF
}

// interrupt ends a next that waits; resume makes b usable again.
func (b *body2) interrupt() {
	if b.buffer == nil {
		return
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *body2) resume() {
	if b.buffer == nil {
		return
	}
	select {
	case <-b.wake:
	default:
	}
}

// end ends the reader and waits for it.
func (b *body2) end() {
	if b.buffer == nil {
		return
	}
	close(b.over)
	b.from.Close() // ends a Read that waits
	<-b.ended
	b.edge.options.Buffers.Put(b.buffer)
	b.buffer, b.from = nil, nil
}
