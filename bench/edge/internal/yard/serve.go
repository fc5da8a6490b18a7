package yard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"drover/bench/edge/internal/scene"
	"drover/bench/internal/proc"
)

const (
	// commandMax bounds a command: 5,000 users are about 200 KiB.
	commandMax = 4 << 20
	// memoryMax is where the garbage collector comes on after all: 5,000
	// connections on both sides are about 60 MiB.
	memoryMax = 1 << 30
)

// Serve is the process's main: it takes commands from in, a pipe, and answers
// to out until in ends.
func Serve(in *os.File, out io.Writer) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryMax)
	// Waits end when they are due, not up to 50 µs later.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("ask for exact waits: %w", err)
	}
	l, err := newLoop()
	if err != nil {
		return err
	}
	s := &server{loop: l, in: int(in.Fd())}
	made, err := scene.New()
	if err != nil {
		return err
	}
	s.users = made.Users
	var origins [2]*origin
	for i := range origins {
		if origins[i], err = newOrigin(l, i, &s.seen); err != nil {
			return err
		}
	}
	if err := l.add(s.in, s, unix.EPOLLIN); err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	if err := encoder.Encode(hello{Origins: [2]string{origins[0].address, origins[1].address}}); err != nil {
		return fmt.Errorf("tell where the origins are: %w", err)
	}
	return s.serve(encoder)
}

// server takes the commands. It is the handler of its standard input: the
// loop goes on for the origins while there is nothing to do.
type server struct {
	loop  *loop
	users []scene.User
	seen  arrivals
	crowd *crowd
	in    int
	line  []byte
	ended error
}

func (s *server) ready(uint32) {
	chunk := make([]byte, 64<<10)
	n, errno := read(s.in, chunk)
	switch {
	case errno == unix.EINTR || errno == unix.EAGAIN:
	case errno != 0:
		s.ended = errno
	case n == 0:
		s.ended = io.EOF
	case len(s.line)+n > commandMax:
		s.ended = fmt.Errorf("a command is longer than %d bytes", commandMax)
	default:
		s.line = append(s.line, chunk[:n]...)
	}
}

func (s *server) serve(encoder *json.Encoder) error {
	for s.ended == nil {
		if err := s.loop.turn(-1); err != nil {
			return err
		}
		line, rest, whole := bytes.Cut(s.line, []byte("\n"))
		if !whole {
			continue
		}
		var c Command
		if err := json.Unmarshal(line, &c); err != nil {
			return fmt.Errorf("understand a command: %w", err)
		}
		s.line = bytes.Clone(rest)
		result, err := s.do(c)
		if err != nil {
			result.Error = err.Error()
		}
		if err := encoder.Encode(result); err != nil {
			return fmt.Errorf("answer a command: %w", err)
		}
		runtime.GC() // between measurements
	}
	if errors.Is(s.ended, io.EOF) {
		return nil
	}
	return s.ended
}

func (s *server) do(c Command) (r Result, err error) {
	switch c.Op {
	case OpLoad:
		err = proc.Pinned(c.Core, func() error {
			r, err = newLoad(s.loop, c, s.users).run()
			return err
		})
	case OpOpen:
		s.crowd, err = openCrowd(s.loop, &s.seen, c.Target, c.Connections)
	case OpSend, OpCollect, OpClose:
		if s.crowd == nil {
			return r, errors.New("no connections are open: send open first")
		}
		switch c.Op {
		case OpSend:
			err = s.crowd.send(c.First, c.Users)
		case OpCollect:
			r, err = s.crowd.collect(c.Last)
		default:
			s.crowd.close()
			s.crowd = nil
		}
	default:
		err = fmt.Errorf("there is no command %q", c.Op)
	}
	return r, err
}
