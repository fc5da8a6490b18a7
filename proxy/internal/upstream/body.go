package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Body is a request's body as it comes from the client. What is read is also
// kept, up to the replay buffer, so that it can be read again.
type Body struct {
	source io.Reader
	conn   net.Conn // of the client, for deadlines
	length int64    // -1: chunked, its length is not known
	limit  int64
	idle   time.Duration
	// deadline of the whole request.
	deadline time.Time

	read    int64 // from source
	ended   bool
	err     error // of source, for good
	kept    []byte
	keepMax int
	lost    bool // more was read than kept
	at      int  // of kept, to read again; beyond it comes source
}

// BodyOptions are what NewBody wants.
type BodyOptions struct {
	Source   io.Reader
	Conn     net.Conn
	Length   int64 // -1: not known
	Limit    int64
	KeepMax  int
	Idle     time.Duration
	Deadline time.Time
}

// NewBody returns the body of a request. A length of 0 is no body.
func NewBody(o BodyOptions) *Body {
	return &Body{
		source: o.Source, conn: o.Conn, length: o.Length, limit: o.Limit, keepMax: o.KeepMax, idle: o.Idle,
		deadline: o.Deadline, ended: o.Length == 0,
	}
}

// Length returns the body's length, -1 when it is not known.
func (b *Body) Length() int64 { return b.length }

// Replayable says whether Rewind would succeed.
func (b *Body) Replayable() bool { return !b.lost }

// Rewind begins the body again from its first byte, if all that was read is
// still kept. What was not yet read comes from the client as before.
func (b *Body) Rewind() bool {
	if b.lost {
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

// Read reads the body; io.EOF is its end.
func (b *Body) Read(p []byte) (int, error) {
	if b.at < len(b.kept) {
		n := copy(p, b.kept[b.at:])
		b.at += n
		return n, nil
	}
	if n, err, done := b.over(); done {
		return n, err
	}
	if err := b.conn.SetReadDeadline(earliest(time.Now().Add(b.idle), b.deadline)); err != nil {
		return 0, b.fail(fmt.Errorf("%w: %w", ErrBodyTruncated, err))
	}
	n, err := b.source.Read(p)
	return b.took(p, n, err)
}

// ReadReady reads what is there without waiting for the client: 0 bytes when
// nothing is. Only a body of known length can be read so, since giving up in
// the middle of a chunk's size would lose the place.
func (b *Body) ReadReady(p []byte) (int, error) {
	if b.at < len(b.kept) {
		return b.Read(p)
	}
	if n, err, done := b.over(); done {
		return n, err
	}
	if b.length < 0 || len(p) == 0 {
		return 0, nil
	}
	// In the past: only what the connection's reader holds already is read.
	if err := b.conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return 0, b.fail(fmt.Errorf("%w: %w", ErrBodyTruncated, err))
	}
	total := 0
	for total < len(p) {
		n, err := b.source.Read(p[total:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			b.keep(p[total : total+n])
			return total + n, nil
		}
		n, err = b.took(p[total:], n, err)
		total += n
		if err != nil || b.ended {
			return total, err
		}
	}
	return total, nil
}

func (b *Body) over() (int, error, bool) { //nolint:revive // the error is Read's
	switch {
	case b.err != nil:
		return 0, b.err, true
	case b.ended:
		return 0, io.EOF, true
	default:
		return 0, nil, false
	}
}

// took accounts for n bytes of p that were read from the client.
func (b *Body) took(p []byte, n int, err error) (int, error) {
	b.keep(p[:n])
	switch {
	case b.read > b.limit:
		return 0, b.fail(ErrBodyTooLarge)
	case errors.Is(err, io.EOF) && (b.length >= 0 && b.read < b.length || b.length < 0 && !b.trueEnd()):
		return n, b.fail(ErrBodyTruncated)
	case errors.Is(err, io.EOF):
		b.ended = true
		if n > 0 {
			err = nil
		}
		return n, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, b.fail(ErrBodyTimeout)
	case err != nil:
		return n, b.fail(fmt.Errorf("%w: %w", ErrBodyTruncated, err))
	}
	if b.length >= 0 && b.read == b.length {
		b.ended = true
	}
	return n, nil
}

// trueEnd tells the last chunk of a body from a connection that ended between
// two chunks: the server's reader says io.EOF to both. Asked again, it says so
// at once after the last chunk; else it asks the connection, which has no time
// left.
func (b *Body) trueEnd() bool {
	if b.conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	var none [1]byte
	n, err := b.source.Read(none[:])
	return n == 0 && errors.Is(err, io.EOF)
}

func (b *Body) keep(p []byte) {
	b.read += int64(len(p))
	if b.lost || len(p) == 0 {
		return
	}
	if len(b.kept)+len(p) > b.keepMax {
		b.lost, b.kept, b.at = true, nil, 0
		return
	}
	b.kept = append(b.kept, p...)
	b.at = len(b.kept)
}

func (b *Body) fail(err error) error {
	b.err = err
	return err
}

func earliest(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Discard reads the rest of the body away: at most max bytes, for at most
// wait.
func (b *Body) Discard(max int64, wait time.Duration) {
	if b.length >= 0 && b.length-b.read > max {
		return
	}
	b.at, b.deadline = len(b.kept), earliest(time.Now().Add(wait), b.deadline)
	end := b.read + max
	buffer := make([]byte, 4<<10)
	for !b.ended && b.err == nil && b.read < end {
		b.Read(buffer) //nolint:errcheck // kept in err
	}
}
