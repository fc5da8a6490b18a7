package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The places that are no files.
const (
	PathStdout = "stdout"
	PathStderr = "stderr"
	PathNone   = "none"
)

// fileMode lets the owner's group read the log, and nobody else.
const fileMode = 0o640

// Options say where the log is, and how.
type Options struct {
	Path           string // stdout, stderr, none or a file's, which is appended to
	Format         Format
	Stdout, Stderr io.Writer
	Dropped        Counter // nil: drops are not counted
}

// Open opens the log; nil for none. Nothing runs yet. Every method of a nil
// Log does nothing, but Write, which Configure does not set then.
func Open(o Options) (*Log, error) {
	l := &Log{
		format: o.Format, dropped: o.Dropped,
		wake: make(chan struct{}, 1), early: make(chan struct{}, 1),
	}
	switch o.Path {
	case PathNone, "":
		return nil, nil //nolint:nilnil // a nil Log is none, as said above
	case PathStdout:
		l.place.out = o.Stdout
	case PathStderr:
		l.place.out = o.Stderr
	default:
		f, err := openFile(o.Path)
		if err != nil {
			return nil, err
		}
		l.place = place{path: o.Path, out: f}
	}
	return l, nil
}

func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, fileMode)
	if err != nil {
		return nil, fmt.Errorf("open the access log (is its folder there, and writable?): %w", err)
	}
	return f, nil
}

// Reopen opens the file anew, for whoever has renamed it. When that fails, the
// log goes on in the file it has. Stdout and stderr stay as they are.
func (l *Log) Reopen() error {
	if l == nil || l.place.path == "" {
		return nil
	}
	f, err := openFile(l.place.path)
	if err != nil {
		return err
	}
	l.writing.Lock()
	old := l.place.out
	l.place.out = f
	l.writing.Unlock()
	if c, ok := old.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// place is where lines go.
type place struct {
	path string // of a file of our own; else empty. Never changes
	out  io.Writer
}

func (p *place) close() error {
	if c, ok := p.out.(io.Closer); ok && p.path != "" {
		return c.Close()
	}
	return nil
}

// pieceMax is how much a pipe takes without waiting once it says that it takes
// anything: one page, PIPE_BUF.
const pieceMax = 4 << 10

// errNotReady says that the context ended before everything was written.
var errNotReady = errors.New("the access log's reader takes no more: read from the pipe, or write the log to a file")

// write writes lines and returns how much it wrote, in whole lines where that
// can be. A file is written at once. A pipe or a terminal is asked before each
// piece whether it takes it, so that a reader which has stopped reading holds
// nothing up past the end of ctx.
func (p *place) write(ctx context.Context, lines []byte) (int, error) {
	f, ok := p.out.(*os.File)
	if !ok || isRegular(f) {
		return p.out.Write(lines)
	}
	written := 0
	for written < len(lines) {
		if err := waitWritable(ctx, f); err != nil {
			return written, err
		}
		piece := lines[written:]
		if len(piece) > pieceMax {
			piece = piece[:pieceMax]
			if end := bytes.LastIndexByte(piece, '\n'); end >= 0 {
				piece = piece[:end+1]
			}
		}
		n, err := f.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func isRegular(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// pollWait is how often a reader that does not read is given up waiting for,
// to look whether the context has ended.
const pollWait = 100 // ms

func waitWritable(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	for {
		ready := false
		var pollErr error
		err := raw.Control(func(fd uintptr) {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			var n int
			n, pollErr = unix.Poll(fds, pollWait)
			ready = n > 0 // also when there is no reader any more: the write says so
		})
		switch {
		case err != nil:
			return err
		case ready:
			return nil
		case pollErr != nil && !errors.Is(pollErr, unix.EINTR):
			return fmt.Errorf("ask whether the access log can be written: %w", pollErr)
		case ctx.Err() != nil:
			return fmt.Errorf("%w (%w)", errNotReady, ctx.Err())
		}
	}
}
