package listen

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

func openOnly(t testing.TB, o Options) *Set {
	t.Helper()
	set, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestOpenOpensAllOrNone(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // the test's end
	s := &sockets{}
	_, err = Open(context.Background(), Options{Sockets: s, Listeners: []Config{{Address: "127.0.0.1:0"}, {Address: taken.Addr().String()}}})
	if !errors.Is(err, ErrListen) || !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), taken.Addr().String()) ||
		!strings.Contains(err.Error(), "stop it") {
		t.Fatalf("want the listener and a remedy, got %v", err)
	}
	if _, err := s.opened[0].Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("the first listener is left open: %v", err)
	}
}

// sockets remembers what it opened, and may wrap it.
type sockets struct {
	opened []net.Listener
	wrap   func(net.Listener) net.Listener
}

func (s *sockets) Listen(network, address string, lc *net.ListenConfig) (net.Listener, error) {
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	if s.wrap != nil {
		l = s.wrap(l)
	}
	s.opened = append(s.opened, l)
	return l, nil
}

func TestEveryProblemOfTheOptionsIsReported(t *testing.T) {
	_, err := Open(context.Background(), Options{Backlog: -1, Listeners: []Config{
		{Address: "a:1", ProxyProtocol: "v3"}, {Address: "a:2", ProxyProtocol: ProxyV1}, {Address: "a:3", HTTP2: true},
		{Address: "a:4", TLS: &TLSConfig{Reload: -1, MinVersion: 7, ClientCA: "x"}}, {Address: "a:5", TLS: &TLSConfig{ClientAuth: 4}},
	}})
	for _, want := range []string{"backlog", "v3", "no peer is trusted", "HTTP/2 is agreed", "without a certificate", "reload", "lowest TLS", "none is verified", "against nothing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, err := Open(context.Background(), Options{}); err == nil {
		t.Error("no listener at all is accepted")
	}
}

// short fails accepts as a system does that is out of descriptors.
type short struct {
	*net.TCPListener
	fail atomic.Int32
}

func (s *short) AcceptTCP() (*net.TCPConn, error) {
	if s.fail.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return s.TCPListener.AcceptTCP()
}

func TestTheLoopOutlivesAShortageAndWarnsOnce(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	var refused atomic.Int32
	s := &sockets{wrap: func(l net.Listener) net.Listener {
		w := &short{TCPListener: l.(*net.TCPListener)}
		w.fail.Store(4)
		return w
	}}
	r := open(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}, Sockets: s, Log: zap.New(core),
		Counters: Counters{AcceptError: func(string) { refused.Add(1) }}})
	r.dial(t)
	if a := r.next(t); a.err != nil {
		t.Fatal(a.err)
	}
	if refused.Load() != 4 || logs.Len() != 1 {
		t.Fatalf("%d refused, %d warnings", refused.Load(), logs.Len())
	}
}

func TestStopEndsALoopThatIsShortOfDescriptors(t *testing.T) {
	s := &sockets{wrap: func(l net.Listener) net.Listener {
		w := &short{TCPListener: l.(*net.TCPListener)}
		w.fail.Store(1 << 30)
		return w
	}}
	r := open(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}, Sockets: s})
	r.dial(t)
	r.Stop(false) // the rig waits for the end, in bounded time
}

func TestWhoWaitsInTheBacklogIsServedBeforeTheListenerCloses(t *testing.T) {
	set := openOnly(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}})
	var conns []net.Conn
	for range 50 { // nobody accepts yet
		c, err := net.Dial("tcp", set.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	set.Stop(false)
	var wg sync.WaitGroup
	err := set.Serve(func(p *Pending) {
		wg.Go(func() {
			if a, err := p.Open(); err == nil {
				a.Link.Write([]byte("served")) //nolint:errcheck // the client says it
				a.Link.Close()                 //nolint:errcheck // as above
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range conns {
		if b, err := io.ReadAll(c); err != nil || string(b) != "served" {
			t.Fatalf("connection %d: %q, %v", i, b, err)
		}
	}
	wg.Wait()
	if c, err := net.Dial("tcp", set.Addrs()[0].String()); err == nil {
		c.Close()
		t.Fatal("the listener is open")
	}
}

// A client that has connected was never reset, and one that was kept away finds
// the listener that is opened next.
func TestNoConnectionIsResetWhileListenersFollowOneAnother(t *testing.T) {
	const rounds = 10
	address := openOnly(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}, ReusePort: true})
	at := address.Addrs()[0].String()
	// Where the kernel does not let this user keep new clients away, one that
	// connects at the very instant may be reset, before it has sent anything.
	probe := openOnly(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}})
	mayReset := errors.Is(overlook(probe.listeners[0].socket), unix.EPERM)
	if err := probe.Close(); err != nil {
		t.Fatal(err)
	}
	reset := func(err error) bool { return mayReset && errors.Is(err, unix.ECONNRESET) }
	var conns, clients sync.WaitGroup
	serve := func(p *Pending) {
		conns.Go(func() {
			if a, err := p.Open(); err == nil {
				a.Link.Write([]byte("served")) //nolint:errcheck // the client says it
				a.Link.Close()                 //nolint:errcheck // as above
			}
		})
	}
	var stop atomic.Bool
	var served atomic.Int64
	for range 8 {
		clients.Go(func() {
			for !stop.Load() {
				c, err := net.DialTimeout("tcp", at, patience)
				if reset(err) {
					continue
				}
				if err != nil {
					t.Errorf("connect: %v", err)
					return
				}
				if b, err := io.ReadAll(c); !reset(err) && (err != nil || string(b) != "served") {
					t.Errorf("after %d connections: %q, %v", served.Load(), b, err)
				}
				c.Close()
				served.Add(1)
			}
		})
	}
	sets := []*Set{address}
	for len(sets) <= rounds {
		sets = append(sets, openOnly(t, Options{Listeners: []Config{{Address: at}}, ReusePort: true}))
	}
	ended := make(chan error, len(sets))
	for _, set := range sets {
		go func() { ended <- set.Serve(serve) }()
	}
	for _, set := range sets[:rounds] {
		set.Stop(false)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	clients.Wait()
	sets[rounds].Stop(false)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	conns.Wait()
}

func TestAHandedOverBacklogIsLeftToTheOther(t *testing.T) {
	set := openOnly(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}})
	f, err := set.listeners[0].socket.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	other, err := net.FileListener(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // the test's end
	c, err := net.Dial("tcp", set.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	set.Stop(true)
	if err := set.Serve(func(*Pending) { t.Error("accepted") }); err != nil {
		t.Fatal(err)
	}
	got, err := other.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got.RemoteAddr().String() != c.LocalAddr().String() {
		t.Fatal("another connection waits")
	}
	got.Close()
}

func TestSeveralMayShareAPort(t *testing.T) {
	first := open(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}, ReusePort: true})
	open(t, Options{Listeners: []Config{{Address: first.address()}}, ReusePort: true})
	if _, err := Open(context.Background(), Options{Listeners: []Config{{Address: first.address()}}}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("one that does not want to share: %v", err)
	}
}

func TestTheBacklogIsWhatWasAskedFor(t *testing.T) {
	set := openOnly(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}, Backlog: 7})
	defer set.Close() //nolint:errcheck // the test's end
	raw, err := set.listeners[0].socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	if err := errors.Join(raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO)
	}), err); err != nil {
		t.Fatal(err)
	}
	if info.Sacked != 7 { // of a listening socket: its backlog
		t.Fatalf("the backlog is %d", info.Sacked)
	}
}

func TestManyConnectAndAllAreAccepted(t *testing.T) {
	r := open(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}, {Address: "127.0.0.1:0"}}})
	for i := range 60 {
		c, err := net.DialTimeout("tcp", r.Addrs()[i%2].String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range 60 {
		if a := r.next(t); a.err != nil {
			t.Fatal(a.err)
		}
	}
	time.Sleep(time.Millisecond) // one too many would come now; no result depends on it
	if len(r.results) != 0 {
		t.Fatal("more connections than clients")
	}
}
