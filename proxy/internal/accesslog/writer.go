package accesslog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	// bufferMax bounds the lines that wait to be written: at 400 bytes each,
	// 2,600 of them. There are two such buffers, one being filled and one being
	// written.
	bufferMax = 1 << 20 // × 2 = 2 MiB
	// bufferEarly is how full the buffer is when its lines are written before
	// flushWait is over.
	bufferEarly = 64 << 10
	// bufferKept bounds what a buffer holds on to after a burst.
	bufferKept = 256 << 10
	// flushWait is how long a line waits for others, so that a busy log is
	// written in few writes.
	flushWait = 50 * time.Millisecond
	// flushMax bounds the last flush, at the program's end.
	flushMax = time.Second
)

// Counter counts lines that were dropped.
type Counter interface{ Add(n float64) }

// Log is an access log.
type Log struct {
	format  Format
	dropped Counter
	wake    chan struct{} // 1: there are lines
	early   chan struct{} // 1: there are many

	mu      sync.Mutex // guards what follows; never held while writing
	pending []byte     // whole lines
	spare   []byte     // the buffer that was written last

	writing sync.Mutex // guards what follows; held while writing
	place   place
}

// Write takes one line, or several, whole. It never waits for the file. It
// always returns len(lines): what is dropped is counted instead.
func (l *Log) Write(lines []byte) (int, error) {
	l.mu.Lock()
	if len(l.pending)+len(lines) > bufferMax {
		l.mu.Unlock()
		l.drop(lines)
		signal(l.early)
		return len(lines), nil
	}
	if l.pending == nil {
		l.pending, l.spare = l.spare[:0], nil
	}
	before := len(l.pending)
	l.pending = append(l.pending, lines...)
	after := len(l.pending)
	l.mu.Unlock()
	if before == 0 {
		signal(l.wake)
	}
	if before < bufferEarly && after >= bufferEarly {
		signal(l.early)
	}
	return len(lines), nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is due already
	}
}

func (l *Log) drop(lines []byte) {
	if n := bytes.Count(lines, []byte{'\n'}); n != 0 && l.dropped != nil {
		l.dropped.Add(float64(n))
	}
}

// Run writes lines as they come, until ctx ends, and then what is left. It
// returns nil: a write that failed has dropped its lines.
func (l *Log) Run(ctx context.Context) error {
	if l == nil {
		<-ctx.Done()
		return nil
	}
	timer := time.NewTimer(flushWait)
	defer timer.Stop()
	for {
		select {
		case <-l.wake:
		case <-l.early:
		case <-ctx.Done():
			l.last(ctx)
			return nil
		}
		timer.Reset(flushWait)
		select {
		case <-timer.C:
		case <-l.early:
		case <-ctx.Done():
		}
		l.flush(ctx)
	}
}

// last flushes when the context has ended.
func (l *Log) last(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushMax)
	defer cancel()
	l.flush(ctx)
}

// flush writes what is pending. When ctx ends first, because a pipe takes no
// more, what is left goes back before what came meanwhile.
func (l *Log) flush(ctx context.Context) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	lines := l.pending
	l.pending = nil
	l.mu.Unlock()
	if len(lines) == 0 {
		return
	}
	n, err := l.place.write(ctx, lines)
	rest := lines[n:]
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
	case errors.Is(err, errNotReady) && len(rest)+len(l.pending) <= bufferMax:
		l.pending = append(rest, l.pending...)
		return
	default:
		l.drop(rest)
	}
	if cap(lines) <= bufferKept {
		l.spare = lines[:0]
	}
}

// Close writes what is left, for a bounded time, and closes the file. Run has
// returned.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.last(context.Background())
	l.mu.Lock()
	l.drop(l.pending)
	l.pending = nil
	l.mu.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.place.close()
}

var _ io.Writer = (*Log)(nil)
