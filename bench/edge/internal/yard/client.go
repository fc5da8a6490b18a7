package yard

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"drover/bench/edge/internal/scene"
)

// answerMax bounds an answer with what the peer adds: 1,024 bytes of body and
// about 700 of head.
const answerMax = 4 << 10

var errUnasked = errors.New("an answer came to no request")

// owner is told how requests end.
type owner interface {
	answered(c *client)
	// failed is told of an answer that is wrong or did not come. The client
	// connects anew when it sends again, or is broken when it cannot.
	failed(c *client, err error)
	// unasked is told of bytes that came to no request. The client is idle.
	unasked(err error)
}

// client is one keep-alive connection to a peer.
type client struct {
	loop    *loop
	owner   owner
	checker *scene.Checker
	target  string
	fd      int
	head    []byte
	user    []byte // its place in head
	expect  int    // the datacenter that should answer
	busy    bool
	broken  bool
	sent    int64 // when the request went out, or was meant to
	n       int
	buf     [answerMax]byte
}

func newClient(l *loop, o owner, checker *scene.Checker, target string) (*client, error) {
	c := &client{loop: l, owner: o, checker: checker, target: target, fd: -1}
	head, at := scene.Request()
	c.head, c.user = head, head[at:at+scene.UserLength]
	return c, c.connect()
}

func (c *client) connect() error {
	fd, err := connect(c.target)
	if err != nil {
		return err
	}
	if err := c.loop.add(fd, c, unix.EPOLLIN); err != nil {
		_ = unix.Close(fd) // nothing was written
		return err
	}
	c.fd, c.n = fd, 0
	return nil
}

func (c *client) close() {
	if c.fd >= 0 {
		c.loop.close(c.fd)
		c.fd = -1
	}
}

// send sends the user's request; its latency counts from the time given.
func (c *client) send(user scene.User, from int64) {
	copy(c.user, user.ID)
	c.expect, c.sent, c.busy = user.Datacenter, from, true
	if c.fd < 0 {
		if err := c.connect(); err != nil {
			c.broken = true
			c.fail(err)
			return
		}
	}
	n, errno := write(c.fd, c.head)
	if errno != 0 {
		c.fail(fmt.Errorf("send a request: %w", errno))
	} else if n < len(c.head) {
		c.fail(fmt.Errorf("send a request: %d of %d bytes were taken", n, len(c.head)))
	}
}

func (c *client) ready(uint32) {
	n, errno := read(c.fd, c.buf[c.n:])
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case (n == 0 || errno != 0) && !c.busy: // the peer ends an idle connection, as it may
		c.close() // and not connected anew at once: a peer that is ending would not take it
		return
	case errno != 0:
		c.fail(fmt.Errorf("read an answer: %w", errno))
		return
	case n == 0:
		c.fail(fmt.Errorf("the connection ended after %d bytes of an answer", c.n))
		return
	}
	if !c.busy {
		c.close()
		c.owner.unasked(errUnasked)
		return
	}
	c.n += n
	whole, err := c.checker.Check(c.buf[:c.n], c.user, c.expect)
	switch {
	case err != nil:
		c.fail(err)
	case whole:
		c.busy, c.n = false, 0
		c.owner.answered(c)
	case c.n == len(c.buf):
		c.fail(fmt.Errorf("the answer is longer than %d bytes", answerMax))
	}
}

func (c *client) fail(err error) {
	c.close()
	c.busy = false
	c.owner.failed(c, err)
}
