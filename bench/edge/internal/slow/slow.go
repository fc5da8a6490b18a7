package slow

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"drover/bench/edge/internal/scene"
	"drover/bench/edge/internal/yard"
)

const (
	pauseMin      = 100 * time.Millisecond
	pauseMax      = 500 * time.Millisecond
	bodyLength    = 8               // × 300 ms is about 2.4 s
	spread        = 2 * time.Second // in which the clients begin: no peer meets all of them in one instant
	sip           = 512
	receiveBuffer = 4 << 10 // so that the peer, not the kernel, has the answer
	dialMax       = 10 * time.Second
)

// Totals is what became of the slow clients' requests.
type Totals struct {
	Finished int64 `json:"finished"` // answered with 200, to the last byte
	Refused  int64 `json:"refused"`  // answered with something else
	Cut      int64 `json:"cut"`      // the peer ended the connection
}

// Crowd is slow clients at work.
type Crowd struct {
	target  string
	cancel  context.CancelFunc
	wait    sync.WaitGroup
	started chan error

	finished, refused, cut atomic.Int64
}

// Start connects n clients and returns when all are connected.
func Start(ctx context.Context, target string, n int) (*Crowd, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &Crowd{target: target, cancel: cancel, started: make(chan error, n)}
	kinds := []func(*client) error{(*client).slowHead, (*client).slowBody, (*client).slowReader}
	for i := range n {
		one := &client{crowd: c, kind: kinds[i%len(kinds)], random: rand.New(rand.NewPCG(uint64(i), 2))}
		c.wait.Go(func() { one.run(ctx) })
	}
	var err error
	for range n {
		err = errors.Join(err, <-c.started)
	}
	if err != nil {
		c.Stop()
		return nil, fmt.Errorf("connect the slow clients: %w", err)
	}
	return c, nil
}

// Stop ends the clients and waits for them.
func (c *Crowd) Stop() Totals {
	c.cancel()
	c.wait.Wait()
	return Totals{Finished: c.finished.Load(), Refused: c.refused.Load(), Cut: c.cut.Load()}
}

// client is one of them.
type client struct {
	crowd  *Crowd
	kind   func(*client) error
	random *rand.Rand
	done   <-chan struct{}
	conn   net.Conn
	reader *bufio.Reader
}

var errStopped = errors.New("stopped")

func (c *client) run(ctx context.Context) {
	c.done = ctx.Done()
	connected := false
	_ = c.pause(time.Duration(c.random.Int64N(int64(spread)))) // stopped: the loop sees it
	for ctx.Err() == nil {
		err := c.connect(ctx)
		if !connected {
			connected = true
			c.crowd.started <- err
		}
		if err == nil {
			err = c.requests(ctx)
		}
		if err != nil && ctx.Err() == nil {
			c.crowd.cut.Add(1)
			_ = c.rest() // stopped: the loop sees it
		}
	}
	if !connected {
		c.crowd.started <- ctx.Err()
	}
}

func (c *client) connect(ctx context.Context) error {
	d := net.Dialer{Timeout: dialMax, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
		}), err)
	}}
	conn, err := d.DialContext(ctx, "tcp", c.crowd.target)
	if err != nil {
		return err
	}
	c.conn, c.reader = conn, bufio.NewReaderSize(conn, sip)
	return nil
}

// requests sends one after the other until one fails.
func (c *client) requests(ctx context.Context) error {
	// Closing is what ends a read or a write that waits.
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() })
	defer func() {
		stop()
		_ = c.conn.Close() // nothing is to be written
	}()
	for {
		if err := c.kind(c); err != nil {
			return err
		}
	}
}

func (c *client) pause(last time.Duration) error {
	select {
	case <-c.done:
		return errStopped
	case <-time.After(last):
		return nil
	}
}

// rest is the pause between two bytes.
func (c *client) rest() error {
	return c.pause(pauseMin + time.Duration(c.random.Int64N(int64(pauseMax-pauseMin))))
}

func (c *client) drip(bytes []byte) error {
	for i := range bytes {
		if _, err := c.conn.Write(bytes[i : i+1]); err != nil {
			return err
		}
		if err := c.rest(); err != nil {
			return err
		}
	}
	return nil
}

// slowHead sends a head of 650 bytes: it takes minutes, and the peer may put an
// end to it.
func (c *client) slowHead() error {
	head, _ := scene.Request()
	if err := c.drip(head); err != nil {
		return err
	}
	return c.answer(nil)
}

func (c *client) slowBody() error {
	head := fmt.Sprintf("POST /1/upload HTTP/1.1\r\nHost: api.example.com\r\nX-User-Id: %s000001\r\nContent-Length: %d\r\n\r\n",
		scene.UserPrefix, bodyLength)
	if _, err := io.WriteString(c.conn, head); err != nil {
		return err
	}
	if err := c.drip(make([]byte, bodyLength)); err != nil {
		return err
	}
	return c.answer(nil)
}

func (c *client) slowReader() error {
	head := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: api.example.com\r\nX-User-Id: %s000001\r\n\r\n", yard.LargePath, scene.UserPrefix)
	if _, err := io.WriteString(c.conn, head); err != nil {
		return err
	}
	return c.answer(c.rest)
}

// answer reads an answer, with a pause after each sip when there is one.
func (c *client) answer(pause func() error) error {
	a, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	buffer := make([]byte, sip)
	for {
		_, err := a.Body.Read(buffer)
		if err == nil && pause != nil {
			err = pause()
		}
		switch {
		case errors.Is(err, io.EOF):
			if a.StatusCode != http.StatusOK {
				c.crowd.refused.Add(1)
				return fmt.Errorf("answered %s", a.Status)
			}
			c.crowd.finished.Add(1)
			return nil
		case err != nil:
			return err
		}
	}
}
