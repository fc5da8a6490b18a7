package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func reading(c *Conn) *Reader {
	r := &Reader{}
	r.Init(&Link{Socket: c}, &Buffers{})
	return r
}

func TestAReaderGivesWhatCameInOrderAndGrowsToItsBound(t *testing.T) {
	c, far := pair(t)
	r := reading(c)
	p := filled(3*BufferMin, 1)
	go far.Write(p) //nolint:errcheck // the reader sees it
	for r.Buffered() < len(p) {
		if err := r.Fill(4 * BufferMin); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(r.Bytes(), p) {
		t.Fatal("not what was sent")
	}
	r.Discard(10)
	if !bytes.Equal(r.Bytes(), p[10:]) {
		t.Fatal("not what was left")
	}
}

func TestAFullReaderSaysSo(t *testing.T) {
	c, far := pair(t)
	r := reading(c)
	go far.Write(filled(2*BufferMin, 1)) //nolint:errcheck // as much as goes
	for {
		err := r.Fill(BufferMin)
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if r.Buffered() != BufferMin {
		t.Fatalf("%d bytes", r.Buffered())
	}
}

// lenderSpy says what is lent whenever the connection begins to wait.
type lenderSpy struct {
	*Reader
	waits chan bool
}

func (l lenderSpy) Back() {
	l.Reader.Back()
	l.waits <- l.buffer == nil
}

func TestAReaderThatWaitsHasNoBuffer(t *testing.T) {
	c, far := pair(t)
	r := reading(c)
	spy := lenderSpy{r, make(chan bool, 8)}
	done := make(chan error, 1)
	go func() {
		n, err := c.ReadLent(spy)
		r.w += n
		done <- err
	}()
	if !<-spy.waits {
		t.Error("it waits with a buffer")
	}
	far.Write([]byte("x")) //nolint:errcheck // the reader sees it
	if err := <-done; err != nil || string(r.Bytes()) != "x" {
		t.Fatalf("%q, %v", r.Bytes(), err)
	}
	r.Discard(1)
	r.Release()
	if r.buffer != nil {
		t.Fatal("an empty reader keeps its buffer")
	}
}

func TestADetachedBufferStaysAsItWas(t *testing.T) {
	c, far := pair(t)
	r := reading(c)
	far.Write([]byte("headbody")) //nolint:errcheck // the reader sees it
	if err := r.Fill(BufferMin); err != nil {
		t.Fatal(err)
	}
	head := r.Bytes()[:4]
	r.Discard(4)
	old := r.Detach()
	far.Write(filled(100, 2)) //nolint:errcheck // the reader sees it
	if err := r.Fill(BufferMin); err != nil {
		t.Fatal(err)
	}
	if string(head) != "head" || old == nil || string(r.Bytes()[:4]) != "body" {
		t.Fatalf("head %q, rest %q", head, r.Bytes()[:4])
	}
}

func TestALongBodyGetsALargeBufferAndShortEventsASmallOne(t *testing.T) {
	c, far := pair(t)
	r := reading(c)
	for range 5 {
		r.Expect(-1)
		far.Write([]byte("event")) //nolint:errcheck // the reader sees it
		if err := r.Fill(BufferBody); err != nil {
			t.Fatal(err)
		}
		if len(*r.buffer) != BufferMin {
			t.Fatalf("a buffer of %d for an event", len(*r.buffer))
		}
		r.Discard(r.Buffered())
	}
	p := filled(1<<20, 3)
	go far.Write(p) //nolint:errcheck // the reader sees it
	largest := 0
	for n := 0; n < len(p); {
		r.Expect(int64(len(p) - n))
		if err := r.Fill(BufferBody); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Bytes(), p[n:n+r.Buffered()]) {
			t.Fatal("not what was sent")
		}
		largest = max(largest, len(*r.buffer))
		n += r.Buffered()
		r.Discard(r.Buffered())
	}
	if largest != BufferBody {
		t.Fatalf("the largest buffer had %d", largest)
	}
}

func TestSendThenReadSendsOnceAndReadsTheAnswer(t *testing.T) {
	for _, size := range []int{1, 1000, 8 << 20} { // the last is more than the system takes at once
		c, far := pair(t)
		small(t, c)
		p := filled(size, 4)
		got := make(chan []byte, 1)
		go func() {
			b := make([]byte, size)
			io.ReadFull(far, b)      //nolint:errcheck // compared below
			far.Write([]byte("yes")) //nolint:errcheck // read below
			got <- b
		}()
		r := reading(c)
		sent := 0
		wrote, err := r.SendThenFill(p, func() { sent++ })
		if err != nil || wrote != size || sent != 1 || string(r.Bytes()) != "yes" {
			t.Fatalf("%d bytes: wrote %d, sent %d times, read %q, %v", size, wrote, sent, r.Bytes(), err)
		}
		if !bytes.Equal(<-got, p) {
			t.Fatal("not what was sent")
		}
	}
}

func TestOnAStaleConnectionNothingIsSent(t *testing.T) {
	for name, spoil := range map[string]func(*net.TCPConn){
		"closed":  func(far *net.TCPConn) { far.CloseWrite() },           //nolint:errcheck // seen below
		"unasked": func(far *net.TCPConn) { far.Write([]byte("HTTP/")) }, //nolint:errcheck // seen below
	} {
		t.Run(name, func(t *testing.T) {
			c, far := pair(t)
			spoil(far)
			until(t, "it is there", func() bool { return c.Look() != LookQuiet })
			r := reading(c)
			wrote, err := r.SendThenFill([]byte("request"), func() { t.Error("sent") })
			if wrote != 0 || !errors.Is(err, ErrStale) || r.buffer != nil {
				t.Fatalf("wrote %d, %v", wrote, err)
			}
			c.CloseWrite() //nolint:errcheck // seen below
			if b, err := io.ReadAll(far); len(b) != 0 || err != nil {
				t.Fatalf("the peer got %q, %v", b, err)
			}
		})
	}
}

func TestSendThenReadWaitsNoLongerThanItsTimeout(t *testing.T) {
	c, _ := pair(t)
	c.SetReadTimeout(20 * time.Millisecond)
	r := reading(c)
	sent := false
	_, err := r.SendThenFill([]byte("request"), func() { sent = true })
	if !errors.Is(err, os.ErrDeadlineExceeded) || !sent {
		t.Fatalf("sent %v, %v", sent, err)
	}
}

func TestSendThenReadAllocatesNothing(t *testing.T) {
	c, far := pair(t)
	go func() {
		b := make([]byte, 64)
		for {
			n, err := far.Read(b)
			if err != nil {
				return
			}
			far.Write(b[:n]) //nolint:errcheck // read below
		}
	}()
	own := &ownBuffer{make([]byte, BufferMin)}
	p, sent := []byte("ping"), func() {}
	if n := testing.AllocsPerRun(1000, func() {
		if _, _, err := c.SendThenRead(p, sent, own); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// ownBuffer lends always the same: a pool may lose its buffers to the collector.
type ownBuffer struct{ b []byte }

func (o *ownBuffer) Lend() []byte { return o.b }

func (o *ownBuffer) Back() {}
