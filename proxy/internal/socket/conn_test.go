package socket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"
)

var sizes = []int{1, 2, 3, 100, 4095, 4096, 4097, 65536, 1 << 20, 3<<20 + 7}

func filled(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 7))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// slowly reads everything, a little at a time, and gives its hash.
func slowly(r io.Reader, seed uint64) ([32]byte, error) {
	h, rnd, b := sha256.New(), rand.New(rand.NewPCG(seed, 1)), make([]byte, 64<<10)
	for i := 0; ; i++ {
		n, err := r.Read(b[:1+rnd.IntN(len(b))])
		h.Write(b[:n])
		if errors.Is(err, io.EOF) {
			return [32]byte(h.Sum(nil)), nil
		}
		if err != nil {
			return [32]byte{}, err
		}
		if i%128 == 0 {
			time.Sleep(time.Millisecond) // slow; no result depends on it
		}
	}
}

func TestWhatIsWrittenInAnySizeArrivesWhole(t *testing.T) {
	for _, size := range sizes {
		for _, split := range []int{0, 1, size / 2, size} {
			t.Run(fmt.Sprintf("%d+%d", split, size-split), func(t *testing.T) {
				c, far := pair(t)
				small(t, c)
				p := filled(size, uint64(size))
				sum := make(chan [32]byte, 1)
				failed := make(chan error, 1)
				go func() {
					s, err := slowly(far, 3)
					sum <- s
					failed <- err
				}()
				n, err := c.Writev(p[:split], p[split:])
				if err != nil || n != size {
					t.Fatalf("wrote %d of %d: %v", n, size, err)
				}
				if err := c.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if s, err := <-sum, <-failed; err != nil || s != sha256.Sum256(p) {
					t.Fatalf("other bytes arrived than were written: %v", err)
				}
			})
		}
	}
}

func TestWhatArrivesIsReadWhole(t *testing.T) {
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c, far := pair(t)
			p := filled(size, uint64(size))
			done := make(chan error, 1)
			go func() {
				_, err := far.Write(p)
				done <- errors.Join(err, far.CloseWrite())
			}()
			sum, err := slowly(c, 5)
			if err := errors.Join(err, <-done); err != nil || sum != sha256.Sum256(p) {
				t.Fatalf("other bytes were read than were sent: %v", err)
			}
		})
	}
}

func TestBothWaysAtOnceEchoWhole(t *testing.T) {
	c, far := pair(t)
	small(t, c)
	p := filled(1<<20, 9)
	echoed := make(chan error, 1)
	go func() {
		_, err := io.Copy(far, far)
		echoed <- errors.Join(err, far.CloseWrite())
	}()
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(p)
		wrote <- errors.Join(err, c.CloseWrite())
	}()
	sum, err := slowly(c, 11)
	if err := errors.Join(err, <-wrote, <-echoed); err != nil || sum != sha256.Sum256(p) {
		t.Fatalf("other bytes came back: %v", err)
	}
}

func TestNothingIsReadOrWrittenOfEmptySlices(t *testing.T) {
	c, _ := pair(t)
	for name, f := range map[string]func() (int, error){
		"read": func() (int, error) { return c.Read(nil) }, "write": func() (int, error) { return c.Write(nil) },
		"writev": func() (int, error) { return c.Writev(nil, nil) }, "ready": func() (int, error) { return c.ReadReady(nil) },
	} {
		if n, err := f(); n != 0 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

func TestWriteToABrokenConnectionSaysSo(t *testing.T) {
	c, far := pair(t)
	far.SetLinger(0) //nolint:errcheck // a broken connection is what the test wants
	far.Close()      //nolint:errcheck // as above
	c.SetWriteTimeout(patience)
	var err error
	for err == nil {
		_, err = c.Write(filled(64<<10, 1))
	}
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("want a broken pipe, got %v", err)
	}
}

func TestClosedConnectionIsNetErrClosed(t *testing.T) {
	c, _ := pair(t)
	got := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		got <- err
	}()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read that waited: %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write: %v", err)
	}
	if _, err := c.ReadReady(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read without waiting: %v", err)
	}
	if got := c.Look(); got != LookClosed {
		t.Errorf("look: %v", got)
	}
}

func TestResetIsSeenAsBroken(t *testing.T) {
	c, far := pair(t)
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the peer read %v", err)
	}
}

func TestDialReachesAListenerAndSaysWhenItCannot(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(context.Background(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if c.RemoteAddr().String() != l.Addr().String() {
		t.Errorf("connected to %v", c.RemoteAddr())
	}
	if err := errors.Join(c.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(context.Background(), l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("want refused, got %v", err)
	}
}

// shelf lends one buffer and counts.
type shelf struct {
	b   []byte
	got chan struct{} // one each time it comes back
	out int
	of  *Conn // the connection that borrows
	has bool  // it kept a reference
}

func (s *shelf) Lend() []byte {
	s.out++
	return s.b
}

func (s *shelf) Back() {
	s.out--
	s.has = s.has || s.of != nil && s.of.in.p != nil
	s.got <- struct{}{}
}

func TestAConnectionThatWaitsHasNoBuffer(t *testing.T) {
	c, far := pair(t)
	s := &shelf{b: make([]byte, 16), got: make(chan struct{}, 16), of: c}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	read := func() { n, err := c.ReadLent(s); done <- result{n, err} }
	go read()
	within(t, "the buffer is given back", s.got) // and only then is anything sent
	if _, err := far.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.n != 5 || r.err != nil || s.out != 1 || !bytes.Equal(s.b[:5], []byte("hello")) {
		t.Fatalf("%+v, %d out", r, s.out)
	}
	if s.has {
		t.Error("a reference to the buffer was kept")
	}
	s.out = 0
	if err := far.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	read()
	if r := <-done; !errors.Is(r.err, io.EOF) || s.out != 0 {
		t.Fatalf("the end: %+v, %d out", r, s.out)
	}
}

func TestABufferIsBackAfterAnyFailure(t *testing.T) {
	for name, fail := range map[string]func(*Conn, *net.TCPConn){
		"timeout":     func(c *Conn, _ *net.TCPConn) { c.SetReadTimeout(time.Millisecond) },
		"interrupted": func(c *Conn, _ *net.TCPConn) { c.Interrupt() },
		"closed":      func(c *Conn, _ *net.TCPConn) { c.Close() }, //nolint:errcheck // what the test wants
		"reset": func(c *Conn, far *net.TCPConn) {
			far.SetLinger(0) //nolint:errcheck // what the test wants
			far.Close()      //nolint:errcheck // what the test wants
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, far := pair(t)
			s := &shelf{b: make([]byte, 16), got: make(chan struct{}, 16)}
			fail(c, far)
			if n, err := c.ReadLent(s); err == nil || n != 0 || s.out != 0 {
				t.Fatalf("%d, %v, %d out", n, err, s.out)
			}
		})
	}
}

func TestReadAndWriteAllocateNothing(t *testing.T) {
	c, far := pair(t)
	d := wrap(t, far)
	for _, timeout := range []time.Duration{0, time.Minute} {
		for _, e := range []*Conn{c, d} {
			e.SetReadTimeout(timeout)
			e.SetWriteTimeout(timeout)
		}
		echoed := make(chan struct{})
		go func() {
			defer close(echoed)
			b := make([]byte, 64)
			for {
				n, err := d.Read(b)
				if err != nil || b[0] == 'q' {
					return
				}
				if _, err := d.Writev(b[:1], b[1:n]); err != nil {
					return
				}
			}
		}()
		b, lender := make([]byte, 64), &lend{b: make([]byte, 64)}
		allocs := testing.AllocsPerRun(500, func() {
			c.Write(b[:8]) //nolint:errcheck // the read says it
			if _, err := c.ReadLent(lender); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("timeout %v: %v allocations an exchange", timeout, allocs)
		}
		c.Write([]byte("q")) //nolint:errcheck // the test's end
		within(t, "the echo ends", echoed)
	}
}

type lend struct{ b []byte }

func (l *lend) Lend() []byte { return l.b }
func (l *lend) Back()        {}
