package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"drover/bench/edge/internal/scene"
	"drover/internal/pause"
)

const (
	answerMax  = 10 * time.Second // a request without an answer by then is lost
	refusedTry = 2 * time.Millisecond
	kindsMax   = 16 // of errors that are kept apart
)

// Totals is what the clients have seen so far.
type Totals struct {
	Sent, Acknowledged, Lost, Refused int
	Gap                               time.Duration // the longest without an answer to anybody
	Kinds                             map[string]int
}

// Crowd is clients at work.
type Crowd struct {
	address  string
	users    []scene.User
	interval time.Duration // between two requests of one client
	cancel   context.CancelFunc
	clients  sync.WaitGroup
	number   atomic.Uint64

	mu     sync.Mutex
	totals Totals
	last   time.Time // the last answer
}

// NewCrowd begins n clients that send rate requests a second together.
func NewCrowd(ctx context.Context, address string, users []scene.User, n, rate int) *Crowd {
	ctx, cancel := context.WithCancel(ctx)
	c := &Crowd{address: address, users: users, interval: time.Duration(n) * time.Second / time.Duration(rate), cancel: cancel}
	c.totals.Kinds = map[string]int{}
	for i := range n {
		c.clients.Go(func() {
			one := client{crowd: c}
			one.run(ctx, c.interval*time.Duration(i)/time.Duration(n))
		})
	}
	return c
}

// Totals returns what has been seen so far, and begins a new longest gap.
func (c *Crowd) Totals() Totals {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.totals
	if !c.last.IsZero() {
		t.Gap = max(t.Gap, time.Since(c.last)) // it may be under way
	}
	t.Kinds = map[string]int{}
	for kind, n := range c.totals.Kinds {
		t.Kinds[kind] = n
	}
	c.totals.Gap = 0
	return t
}

// Stop ends the clients behind the requests under way, and waits for them.
func (c *Crowd) Stop() Totals {
	c.cancel()
	c.clients.Wait()
	return c.Totals()
}

func (c *Crowd) sent() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals.Sent++
	return c.number.Add(1)
}

func (c *Crowd) refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals.Refused++
}

func (c *Crowd) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals.Acknowledged++
	now := time.Now()
	if !c.last.IsZero() {
		c.totals.Gap = max(c.totals.Gap, now.Sub(c.last))
	}
	c.last = now
}

func (c *Crowd) lost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals.Lost++
	text := err.Error()
	var op *net.OpError
	if errors.As(err, &op) { // without the ports
		text = op.Op + ": " + op.Err.Error()
	}
	if _, known := c.totals.Kinds[text]; !known && len(c.totals.Kinds) == kindsMax {
		text = "other errors"
	}
	c.totals.Kinds[text]++
}

// client is one of them.
type client struct {
	crowd  *Crowd
	conn   *net.TCPConn
	reader *bufio.Reader
}

func (c *client) run(ctx context.Context, first time.Duration) {
	defer c.hangUp()
	for due := time.Now().Add(first); pause.For(ctx, time.Until(due)) == nil; due = due.Add(c.crowd.interval) {
		if c.conn != nil && closed(c.conn) {
			c.hangUp() // before anything was sent
		}
		for c.conn == nil {
			if err := c.connect(ctx); err != nil {
				if ctx.Err() != nil {
					return
				}
				c.crowd.refused()
				if pause.For(ctx, refusedTry) != nil {
					return
				}
			}
		}
		closes, err := c.exchange(c.crowd.sent())
		if err != nil {
			c.crowd.lost(err)
		} else {
			c.crowd.answered()
		}
		if err != nil || closes {
			c.hangUp()
		}
	}
}

func (c *client) hangUp() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is expected of it
		c.conn = nil
	}
}

func (c *client) connect(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.crowd.address)
	if err != nil {
		return err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return errors.Join(fmt.Errorf("a %T is no TCP connection", conn), conn.Close())
	}
	c.conn, c.reader = tcp, bufio.NewReader(tcp)
	return nil
}

// exchange sends a request and reads its answer.
func (c *client) exchange(number uint64) (closes bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(answerMax)); err != nil {
		return true, err
	}
	user := c.crowd.users[number%uint64(len(c.crowd.users))].ID
	text := strconv.FormatUint(number, 10)
	if _, err := fmt.Fprintf(c.conn, "POST /1/user/-/steps HTTP/1.1\r\nHost: api.example.com\r\nX-User-Id: %s\r\nContent-Length: %d\r\n\r\n%s",
		user, len(text), text); err != nil {
		return true, err
	}
	answer, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return true, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return true, err
	case answer.StatusCode != http.StatusOK:
		return true, fmt.Errorf("%s: %s", answer.Status, body)
	case string(body) != text:
		return true, errors.New("the answer is another request's")
	}
	return answer.Close, nil
}

// closed says whether the other side has closed an idle connection.
func closed(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	n := 0
	var looked error
	err = raw.Control(func(fd uintptr) {
		n, _, looked = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err != nil || n == 0 || looked != nil && !errors.Is(looked, unix.EAGAIN)
}
