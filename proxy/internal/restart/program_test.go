package restart

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"drover/proxy/internal/listen"
)

// The environment of the program that the tests replace: the test binary itself.
const (
	pidFileVariable = "DROVER_RESTART_TEST_PID_FILE" // set: be the program
	failVariable    = "DROVER_RESTART_TEST_FAIL"     // a file that says how a new process fails
)

// programBound ends a program that a failed test has left behind.
const programBound = 2 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(pidFileVariable) == "" {
		os.Exit(m.Run())
	}
	time.AfterFunc(programBound, func() { os.Exit(9) })
	if err := program(); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// program serves its generation to whoever connects, on two listeners, until it
// is replaced (SIGUSR2) or stopped (SIGTERM). It tells its life on its output.
func program() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR2, syscall.SIGTERM)
	r, err := New(Options{PIDFile: os.Getenv(pidFileVariable), ReadyTimeout: 3 * time.Second, Getenv: os.Getenv})
	if err != nil {
		return err
	}
	if how, err := os.ReadFile(os.Getenv(failVariable)); err == nil && r.HasParent() {
		fmt.Println("starting", r.Generation(), os.Getpid())
		switch string(how) {
		case "exit":
			return fmt.Errorf("told to fail")
		case "hang":
			select {} // programBound, or the parent
		}
	}
	set, err := listen.Open(context.Background(), listen.Options{
		Listeners: []listen.Config{{Address: "127.0.0.1:0"}, {Address: "127.0.0.1:0"}}, Sockets: r,
	})
	if err != nil {
		return err
	}
	var conns sync.WaitGroup
	ended := make(chan error, 1)
	go func() {
		ended <- set.Serve(func(p *listen.Pending) {
			conns.Go(func() {
				if a, err := p.Open(); err == nil {
					fmt.Fprintln(&a.Link, r.Generation())
					a.Link.Close() //nolint:errcheck // the client says it
				}
			})
		})
	}()
	if err := r.Ready(); err != nil {
		return err
	}
	fmt.Println("ready", r.Generation(), os.Getpid(), set.Addrs()[0], set.Addrs()[1])
	handedOver := false
	for stopped := false; !stopped; {
		select {
		case s := <-signals:
			if s == syscall.SIGTERM {
				r.Stop()
				stopped = true
			} else if err := r.Upgrade(); err != nil {
				fmt.Printf("refused %q\n", err)
			}
		case <-r.Exit():
			stopped, handedOver = true, true
		}
	}
	set.Stop(handedOver)
	err = <-ended
	conns.Wait()
	fmt.Println("ended", r.Generation())
	return err
}
