package upstream

import (
	"bufio"
	"context"
	"net"
	"syscall"
	"time"
)

// conn is one connection to an upstream, used by one request at a time.
type conn struct {
	net.Conn
	raw    syscall.RawConn
	reader *bufio.Reader
	since  time.Time
	reused bool
}

func dial(ctx context.Context, address string, readerSize int) (*conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	raw, err := c.(*net.TCPConn).SyscallConn() //nolint:forcetypeassert // dialed as tcp
	if err != nil {
		c.Close()
		return nil, err
	}
	return &conn{Conn: c, raw: raw, reader: bufio.NewReaderSize(c, readerSize)}, nil
}

// usable says whether a request can be sent on an idle connection. Bytes that
// nobody asked for make it as useless as a close.
func (c *conn) usable(now time.Time, keepAlive time.Duration) bool {
	return now.Sub(c.since) < keepAlive && c.reader.Buffered() == 0 && Peek(c.raw) == LookQuiet
}
