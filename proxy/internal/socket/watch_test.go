package socket

import (
	"context"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
)

// watching gives a watcher that runs until the test's end.
func watching(t testing.TB) *Watcher {
	t.Helper()
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the watcher: %v", err)
		}
	})
	return w
}

func leave(t *testing.T, far *net.TCPConn, how string) {
	t.Helper()
	var err error
	switch how {
	case "FIN":
		err = far.CloseWrite()
	case "RST":
		far.SetLinger(0) //nolint:errcheck // a broken connection is what the test wants
		err = far.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheWatcherTellsThatThePeerIsGone(t *testing.T) {
	w := watching(t)
	for _, how := range []string{"FIN", "RST"} {
		t.Run(how+" later", func(t *testing.T) {
			c, far := pair(t)
			forget, err := w.Watch(c)
			if err != nil {
				t.Fatal(err)
			}
			defer forget()
			gone := make(chan struct{})
			c.OnGone(func() { close(gone) })
			if _, err := far.Write([]byte("bytes are not an end")); err != nil {
				t.Fatal(err)
			}
			until(t, "the bytes arrive", func() bool { return c.Look() == LookBytes })
			if c.Gone() {
				t.Fatal("gone before it went")
			}
			leave(t, far, how)
			within(t, "the word", gone)
			if !c.Gone() {
				t.Fatal("told, but not gone")
			}
		})
		t.Run(how+" before OnGone", func(t *testing.T) {
			c, far := pair(t)
			forget, err := w.Watch(c)
			if err != nil {
				t.Fatal(err)
			}
			defer forget()
			leave(t, far, how)
			until(t, "gone", c.Gone)
			told := 0
			c.OnGone(func() { told++ })
			if told != 1 {
				t.Fatalf("told %d times", told)
			}
		})
		t.Run(how+" before Watch", func(t *testing.T) {
			c, far := pair(t)
			leave(t, far, how)
			until(t, "closed", func() bool { return c.Look() == LookClosed })
			gone := make(chan struct{})
			c.OnGone(func() { close(gone) })
			forget, err := w.Watch(c)
			if err != nil {
				t.Fatal(err)
			}
			defer forget()
			within(t, "the word", gone)
		})
	}
}

func TestOnGoneIsCalledOnceWhateverTheOrder(t *testing.T) {
	w := watching(t)
	for i := range 300 {
		c, far := pair(t)
		forget, err := w.Watch(c)
		if err != nil {
			t.Fatal(err)
		}
		var told atomic.Int32
		go far.Close()                   //nolint:errcheck // at the same instant as OnGone
		c.OnGone(func() { told.Add(1) }) // the one that counts
		until(t, "told", func() bool { return told.Load() > 0 })
		if n := told.Load(); n != 1 {
			t.Fatalf("round %d: told %d times", i, n)
		}
		forget()
		c.Close() //nolint:errcheck // spent
	}
}

func TestWhoIsForgottenIsNotTold(t *testing.T) {
	w := watching(t)
	c, far := pair(t)
	forget, err := w.Watch(c)
	if err != nil {
		t.Fatal(err)
	}
	c.OnGone(func() { t.Error("told") })
	forget()
	// A second connection, gone later, shows that the first one's word is past.
	d, farther := pair(t)
	forgetD, err := w.Watch(d)
	if err != nil {
		t.Fatal(err)
	}
	defer forgetD()
	leave(t, far, "FIN")
	until(t, "closed", func() bool { return c.Look() == LookClosed })
	leave(t, farther, "FIN")
	until(t, "the second gone", d.Gone)
	if c.Gone() {
		t.Error("forgotten, and yet gone")
	}
	if len(w.conns) != 1 {
		t.Errorf("%d connections are kept", len(w.conns))
	}
}

func TestManyThatGoAtOnceAreAllTold(t *testing.T) {
	w := watching(t)
	var conns []*Conn
	var fars []*net.TCPConn
	for range 200 { // more than one turn of the loop takes
		c, far := pair(t)
		forget, err := w.Watch(c)
		if err != nil {
			t.Fatal(err)
		}
		defer forget()
		conns, fars = append(conns, c), append(fars, far)
	}
	for _, far := range fars {
		leave(t, far, "FIN")
	}
	for _, c := range conns {
		until(t, "gone", c.Gone)
	}
}

func TestRunEndsWithItsContextAndLeavesNoDescriptor(t *testing.T) {
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	var fd uintptr
	if err := w.control(func(epoll int) { fd = uintptr(epoll) }); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(fd))); err == nil && to == "anon_inode:[eventpoll]" {
		t.Errorf("descriptor %d is still an epoll instance", fd)
	}
	c, _ := pair(t)
	if _, err := w.Watch(c); err == nil {
		t.Error("a watcher that has ended watches")
	}
}
