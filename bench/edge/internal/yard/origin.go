package yard

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"drover/bench/edge/internal/scene"
)

const (
	backlog = 4096
	// requestMax bounds a request's head, with what the edge adds.
	requestMax = 8 << 10
	// LargePath is answered with LargeLength bytes, for clients that read
	// slowly.
	LargePath   = "/large"
	LargeLength = 1 << 20
	// writeMax is how much of it goes out at once: other connections wait for
	// no more than that.
	writeMax = 16 << 10
)

// origin is the application of one datacenter.
type origin struct {
	loop     *loop
	fd       int
	address  string
	arrivals *arrivals
	place    int // scene.Source or scene.Target
	answer   []byte
	body     int // where the body begins in answer
	second   int64
	large    []byte
}

// arrivals is what both origins have seen since it was last emptied.
type arrivals struct {
	count int
	last  int64 // by loop.now
}

func newOrigin(l *loop, place int, a *arrivals) (*origin, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make an origin's socket: %w", err)
	}
	o := &origin{loop: l, fd: fd, place: place, arrivals: a}
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if at, ok := name.(*unix.SockaddrInet4); ok {
		o.address = "127.0.0.1:" + strconv.Itoa(at.Port)
	}
	if err == nil {
		err = l.add(fd, o, unix.EPOLLIN)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen as an origin: %w", err), unix.Close(fd))
	}
	o.large = append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", LargeLength),
		bytes.Repeat([]byte("x"), LargeLength)...)
	return o, nil
}

// ready takes one connection: with more waiting the descriptor stays ready.
func (o *origin) ready(uint32) {
	fd, _, err := unix.Accept4(o.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return // it went away again, or there are too many: the peer sees it as a refusal
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // an answer is one write: it goes out at once anyway
	if err := o.loop.add(fd, &served{origin: o, fd: fd}, unix.EPOLLIN); err != nil {
		_ = unix.Close(fd) // nothing was written
	}
}

// fill makes the answer of this second.
func (o *origin) fill(now int64) {
	if second := now / int64(time.Second); second != o.second || o.answer == nil {
		o.second = second
		o.answer, o.body = scene.Answer(o.place, time.Now().UTC().Format(http.TimeFormat))
	}
}

// served is one connection that a peer has opened to an origin.
type served struct {
	origin *origin
	fd     int
	buf    [requestMax]byte
	n      int
	body   int    // bytes of a request's body still to come
	rest   []byte // of an answer, not yet taken by the kernel
}

var (
	headEnd   = []byte("\r\n\r\n")
	userBegin = []byte(scene.UserPrefix)
	lengthKey = []byte("ength: ")
)

func (s *served) ready(events uint32) {
	if len(s.rest) > 0 {
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			s.close()
			return
		}
		s.write(s.rest)
		return
	}
	n, errno := read(s.fd, s.buf[s.n:])
	if errno == unix.EAGAIN || errno == unix.EINTR {
		return
	}
	if errno != 0 || n == 0 {
		s.close()
		return
	}
	s.n += n
	s.requests()
}

// requests answers what has come whole, one after the other.
func (s *served) requests() {
	for s.n > 0 && len(s.rest) == 0 {
		if s.body > 0 {
			taken := min(s.body, s.n)
			s.body -= taken
			s.drop(taken)
			if s.body == 0 {
				s.small(nil)
			}
			continue
		}
		end := bytes.Index(s.buf[:s.n], headEnd)
		if end < 0 {
			if s.n == len(s.buf) {
				s.close() // no request of the bench is as long
			}
			return
		}
		s.request(s.buf[:end+2])
		if s.n > 0 { // else closed
			s.drop(end + len(headEnd))
		}
	}
}

func (s *served) close() {
	s.origin.loop.close(s.fd)
	s.n, s.rest = 0, nil
}

func (s *served) drop(n int) { s.n = copy(s.buf[:], s.buf[n:s.n]) }

func (s *served) request(head []byte) {
	now := s.origin.loop.now()
	s.origin.arrivals.count++
	s.origin.arrivals.last = now
	s.origin.fill(now)
	switch {
	case head[0] == 'P': // POST
		_, after, _ := bytes.Cut(head, lengthKey)
		digits, _, _ := bytes.Cut(after, headEnd[:2])
		length, err := strconv.Atoi(string(digits))
		if err != nil || length < 1 {
			s.close() // the bench's clients send a length
			return
		}
		s.body = length
	case bytes.HasPrefix(head[4:], []byte(LargePath)):
		s.write(s.origin.large)
	default:
		s.small(head)
	}
}

// small answers with the user's id in the body.
func (s *served) small(head []byte) {
	o := s.origin
	if at := bytes.Index(head, userBegin); at >= 0 && at+scene.UserLength <= len(head) {
		copy(o.answer[o.body+scene.BodyUser:], head[at:at+scene.UserLength])
	}
	s.write(o.answer)
}

// write sends an answer, or a part of it. What has not gone out waits in rest:
// the large answer, which never changes; a small one fits into an empty socket.
func (s *served) write(p []byte) {
	n, errno := write(s.fd, p[:min(len(p), writeMax)])
	if errno == unix.EAGAIN || errno == unix.EINTR {
		n, errno = 0, 0
	}
	waited := len(s.rest) > 0
	s.rest = p[max(n, 0):]
	var err error
	switch waits := len(s.rest) > 0; {
	case errno != 0:
		err = errno
	case waits && !waited:
		err = s.origin.loop.watch(s.fd, unix.EPOLLOUT)
	case waited && !waits:
		err = s.origin.loop.watch(s.fd, unix.EPOLLIN)
		if err == nil && s.n > 0 {
			s.requests()
		}
	}
	if err != nil {
		s.close()
	}
}
