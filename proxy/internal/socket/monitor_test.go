package socket

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// childVariable makes the test binary be the program that a test is about.
const childVariable = "DROVER_SOCKET_TEST"

func TestMain(m *testing.M) {
	switch mode := os.Getenv(childVariable); mode {
	case "":
		os.Exit(m.Run())
	default:
		os.Exit(hogs(mode == "monitored"))
	}
}

// hogBound is for how long the hogs compute at most.
const hogBound = 5 * time.Second

// hogs is a program of two processors: two goroutines are woken by bytes that
// arrive on a Conn, compute, make a third one runnable and go on computing until
// it has run. It prints for how long the third one waited, in ns.
func hogs(monitored bool) int {
	runtime.GOMAXPROCS(2)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if monitored {
		go Monitor(ctx) //nolint:errcheck // returns nil
	}
	fmt.Println(l.Addr())
	var computing, ran atomic.Int32
	wake, done := make(chan struct{}), make(chan time.Duration, 2)
	go func() {
		<-wake
		ran.Store(1)
	}()
	for i := range 2 {
		tcp, err := l.(*net.TCPListener).AcceptTCP()
		if err != nil {
			return 1
		}
		c, err := New(tcp)
		if err != nil {
			return 1
		}
		go func() {
			if _, err := c.Read(make([]byte, 1)); err != nil {
				return
			}
			began := time.Now() // of the computing: no system call from here on
			computing.Add(1)
			for computing.Load() < 2 && time.Since(began) < hogBound {
				compute()
			}
			if i == 0 {
				close(wake)
			}
			began = time.Now()
			for ran.Load() == 0 && time.Since(began) < hogBound {
				compute()
			}
			done <- time.Since(began)
		}()
	}
	fmt.Println("ready")
	fmt.Println(max(<-done, <-done).Nanoseconds())
	return 0
}

// compute is a loop that calls nothing and touches no memory.
func compute() {
	x := uint64(1)
	for range 100_000 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	if x == 0 {
		panic("xorshift came to 0")
	}
}

// waited runs the program above and says for how long the third goroutine
// waited for a processor.
func waited(t *testing.T, mode string) time.Duration {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+mode)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // its output says it
	r := bufio.NewReader(out)
	var address, ready string
	var ns int64
	if _, err := fmt.Fscanln(r, &address); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	if _, err := fmt.Fscanln(r, &ready); err != nil || ready != "ready" {
		t.Fatalf("the program said %q: %v", ready, err)
	}
	// All of the program is parked now; its monitor thread falls asleep after
	// about 10 ms of that, by the runtime's own count.
	time.Sleep(300 * time.Millisecond)
	for _, c := range conns {
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fmt.Fscanln(r, &ns); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ns)
}

// Without a Monitor the third goroutine may wait for as long as the hogs like,
// which the log shows; nothing is asserted of it, as the runtime does not promise
// to be unfair.
func TestWithAMonitorNoComputingGoroutineStarvesAnother(t *testing.T) {
	t.Logf("unmonitored, the third goroutine waited %v (the hogs' bound is %v)", waited(t, "alone"), hogBound)
	for range 3 {
		d := waited(t, "monitored")
		t.Logf("monitored, it waited %v", d)
		if d >= hogBound/2 {
			t.Fatalf("monitored, the third goroutine waited %v", d)
		}
	}
}

func TestMonitorEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Monitor(ctx) }()
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
