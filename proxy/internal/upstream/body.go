package upstream

import (
	"errors"
	"fmt"
	"io"
	"os"

	"drover/proxy/internal/http1"
	"drover/proxy/internal/socket"
)

// Source is where a request's body comes from. It is used by one goroutine at
// a time, but for Interrupt.
type Source interface {
	// Next returns bytes of the body, which stay until the next call. Without
	// wait it returns only what is there, which may be nothing. io.EOF is the
	// body's end.
	Next(wait bool) ([]byte, error)
	// Trailers are those behind a chunked body, after io.EOF.
	Trailers() ([]http1.Field, []http1.Line)
	// Interrupt ends a Next that waits, and Resume makes it usable again.
	Interrupt()
	Resume()
}

// Body is a request's body as it comes from the client. What is read is also
// kept, up to the replay buffer, so that it can be read again.
type Body struct {
	source  Source
	length  int64 // -1: chunked, its length is not known
	limit   int64
	keepMax int

	read  int64 // from source
	ended bool
	err   error // of source, for good
	kept  []byte
	lost  bool // more was read than kept
	at    int  // of kept, to read again; beyond it comes source
	sent  bool // something of it has left: from here on only what fits is kept
}

// keptIdleMax is how large a replay buffer may stay with a connection whose
// request is over.
const keptIdleMax = 4 << 10

// Init makes b the body of another request. A length of 0 is no body, -1 one
// of unknown length.
func (b *Body) Init(source Source, length, limit int64, keepMax int) {
	kept := b.kept[:0]
	if cap(kept) > keptIdleMax {
		kept = nil
	}
	*b = Body{source: source, length: length, limit: limit, keepMax: keepMax, kept: kept, ended: length == 0}
}

// Length returns the body's length, -1 when it is not known.
func (b *Body) Length() int64 { return b.length }

// Received returns how many bytes of it have come.
func (b *Body) Received() int64 { return b.read }

// Replayable says whether Rewind would succeed.
func (b *Body) Replayable() bool { return !b.lost || b.read == 0 }

// Rewind begins the body again from its first byte, if all that was read is
// still kept. What was not yet read comes from the client as before.
func (b *Body) Rewind() bool {
	if !b.Replayable() || b.err != nil {
		return false
	}
	b.at = 0
	return true
}

// Finished says whether the client's body was read to its end, so that the
// next byte of the connection is the next request's.
func (b *Body) Finished() bool { return b.ended && b.err == nil }

// Err returns why the client's body cannot be read, nil when it can.
func (b *Body) Err() error { return b.err }

// Trailers are those behind the body, once Finished.
func (b *Body) Trailers() ([]http1.Field, []http1.Line) { return b.source.Trailers() }

// done says whether all of it has been given out.
func (b *Body) done() bool { return b.ended && b.at == len(b.kept) }

// next returns the body's next bytes, which stay until the next call; io.EOF is
// its end. Without wait it returns only what is there.
func (b *Body) next(wait bool) ([]byte, error) {
	if b.at < len(b.kept) {
		p := b.kept[b.at:]
		b.at = len(b.kept)
		return p, nil
	}
	switch {
	case b.err != nil:
		return nil, b.err
	case b.ended:
		return nil, io.EOF
	}
	p, err := b.source.Next(wait)
	b.read += int64(len(p))
	if b.read > b.limit {
		b.err = ErrBodyTooLarge
		return nil, b.err
	}
	b.keep(p)
	switch {
	case errors.Is(err, io.EOF):
		b.ended = true
		if len(p) != 0 {
			err = nil
		}
		return p, err
	case err != nil:
		return nil, b.fail(err)
	}
	if b.length > 0 && b.read == b.length {
		b.ended = true
	}
	return p, nil
}

func (b *Body) fail(err error) error {
	switch {
	case errors.Is(err, socket.ErrInterrupted):
		return err // not for good
	case errors.Is(err, http1.ErrChunk):
		b.err = fmt.Errorf("%w: %w", ErrBodyMalformed, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.err = ErrBodyTimeout
	default:
		b.err = fmt.Errorf("%w: %w", ErrBodyTruncated, err)
	}
	return b.err
}

func (b *Body) keep(p []byte) {
	if b.lost || len(p) == 0 {
		return
	}
	if b.sent && len(b.kept)+len(p) > b.keepMax {
		b.lost, b.kept, b.at = true, nil, 0
		return
	}
	b.kept = append(b.kept, p...)
	b.at = len(b.kept)
}

// leaves notes that something of the body is on its way. Until then all that
// was read of it is kept, since it is in nobody's hands but ours.
func (b *Body) leaves() {
	b.sent = true
	if len(b.kept) > b.keepMax || b.length > int64(b.keepMax) {
		b.lost, b.kept, b.at = true, nil, 0
	}
}

// Discard reads the rest of the body away: at most max bytes. Each wait is
// bounded by the source's.
func (b *Body) Discard(max int64) {
	if b.length >= 0 && b.length-b.read > max {
		return
	}
	b.lost, b.at = true, len(b.kept)
	for end := b.read + max; !b.ended && b.err == nil && b.read < end; {
		if _, err := b.next(true); err != nil {
			return
		}
	}
}
