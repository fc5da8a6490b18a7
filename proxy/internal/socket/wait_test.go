package socket

import (
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// fill writes until the connection takes no more.
func fill(t *testing.T, c *Conn) {
	t.Helper()
	c.SetWriteTimeout(time.Millisecond)
	b := make([]byte, 64<<10)
	for {
		if _, err := c.Write(b); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			return
		}
	}
}

// took checks how long a wait was: never shorter than wanted, and not longer
// than the slack allows. The machine's own lateness is bounded generously.
func took(t *testing.T, began time.Time, timeout time.Duration, err error) {
	t.Helper()
	d := time.Since(began)
	slack := min(timeout/slackShare, time.Duration(slackMax))
	if !errors.Is(err, os.ErrDeadlineExceeded) || d < timeout || d > timeout+slack+5*time.Second {
		t.Errorf("timeout %v: %v after %v", timeout, err, d)
	}
}

func TestAWaitEndsAtItsTimeout(t *testing.T) {
	c, _ := pair(t)
	small(t, c)
	for _, timeout := range []time.Duration{time.Microsecond, time.Millisecond, 80 * time.Millisecond, 5 * time.Millisecond} {
		c.SetReadTimeout(timeout)
		began := time.Now()
		_, err := c.Read(make([]byte, 1))
		took(t, began, timeout, err)
	}
	fill(t, c)
	for _, timeout := range []time.Duration{time.Millisecond, 80 * time.Millisecond, 5 * time.Millisecond} {
		c.SetWriteTimeout(timeout)
		began := time.Now()
		_, err := c.Write(make([]byte, 1<<20))
		took(t, began, timeout, err)
	}
}

func TestTheRuntimesDeadlineIsWithinTheSlack(t *testing.T) {
	for _, timeout := range []time.Duration{time.Millisecond, time.Second, 8 * time.Second, time.Minute, time.Hour} {
		c, _ := pair(t)
		c.SetReadTimeout(timeout)
		before := now()
		if !c.in.wait() {
			t.Fatal("no time to wait")
		}
		after := now()
		slack := min(int64(timeout)/8, int64(time.Second))
		if c.in.armed < before+int64(timeout)+slack || c.in.armed > after+int64(timeout)+slack {
			t.Errorf("timeout %v: armed %v after the wait began", timeout, time.Duration(c.in.armed-before))
		}
		// A wait soon after stands on the same deadline, and none on one that is
		// too early for it.
		armed := c.in.armed
		for range 1000 {
			c.in.waiting = 0
			c.in.wait()
			if c.in.armed < c.in.waiting || c.in.armed > c.in.waiting+slack {
				t.Fatalf("timeout %v: armed %v beyond the end", timeout, time.Duration(c.in.armed-c.in.waiting))
			}
		}
		if timeout >= time.Minute && c.in.armed != armed {
			t.Errorf("timeout %v: the deadline was set again", timeout)
		}
	}
}

func TestADeadlineLeftOverFiresForNoLaterWait(t *testing.T) {
	c, far := pair(t)
	b := make([]byte, 1)
	// Each wait arms a deadline; the next one has another time, none, or begins
	// when the old deadline is over or about to be.
	for i, next := range []time.Duration{0, patience, time.Hour, 40 * time.Millisecond} {
		for _, pause := range []time.Duration{0, 3 * time.Millisecond, 5 * time.Millisecond, 8 * time.Millisecond} {
			c.SetReadTimeout(4 * time.Millisecond)
			first := make(chan error, 1)
			s := &shelf{b: make([]byte, 1), got: make(chan struct{}, 16)}
			go func() {
				_, err := c.ReadLent(s)
				first <- err
			}()
			within(t, "the first wait", s.got) // so its deadline will be armed
			if _, err := far.Write(b); err != nil {
				t.Fatal(err)
			}
			if err := <-first; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			} else if err != nil {
				if _, err := c.Read(b); err != nil { // it came late: take it
					t.Fatal(err)
				}
			}
			time.Sleep(pause)
			c.SetReadTimeout(next)
			second := make(chan error, 1)
			began := time.Now()
			go func() {
				_, err := c.Read(b)
				second <- err
			}()
			select {
			case err := <-second:
				if next == 0 || time.Since(began) < next {
					t.Fatalf("case %d, pause %v: %v after %v", i, pause, err, time.Since(began))
				}
				continue // its own timeout, on a slow machine
			case <-time.After(10 * time.Millisecond):
			}
			if _, err := far.Write(b); err != nil {
				t.Fatal(err)
			}
			if err := <-second; err != nil && (next == 0 || time.Since(began) < next) {
				t.Fatalf("case %d, pause %v: %v", i, pause, err)
			} else if err != nil {
				if _, err := c.Read(b); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestALaterDeadlineLeftOverDelaysNoWait(t *testing.T) {
	c, far := pair(t)
	c.SetReadTimeout(time.Hour)
	s := &shelf{b: make([]byte, 1), got: make(chan struct{}, 16)}
	first := make(chan error, 1)
	go func() {
		_, err := c.ReadLent(s)
		first <- err
	}()
	within(t, "the first wait", s.got)
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	timeout := 20 * time.Millisecond
	c.SetReadTimeout(timeout)
	began := time.Now()
	ended := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	}()
	select {
	case err := <-ended:
		took(t, began, timeout, err)
	case <-time.After(patience):
		t.Fatal("the wait has the old deadline")
	}
}

func TestTheLimitEndsAllWaits(t *testing.T) {
	c, far := pair(t)
	c.SetReadTimeout(time.Hour)
	began := time.Now()
	limit := began.Add(30 * time.Millisecond)
	c.SetReadLimit(limit)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().Before(limit) {
		t.Fatalf("%v after %v", err, time.Since(began))
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("past the limit: %v", err)
	}
	// What is there is read, past the limit or not; and without one, waiting is
	// allowed again.
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	until(t, "the byte arrives", func() bool { return c.Look() == LookBytes })
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	c.SetReadLimit(time.Time{})
	go far.Write([]byte("y")) //nolint:errcheck // the read says it
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
}

func TestAWriteThatProgressesIsNotTimedOut(t *testing.T) {
	c, far := pair(t)
	small(t, c)
	c.SetWriteTimeout(5 * time.Second)
	done := make(chan error, 1)
	go func() {
		n, err := c.Write(make([]byte, 256<<10))
		if n != 256<<10 {
			err = errors.Join(err, io.ErrShortWrite)
		}
		done <- errors.Join(err, c.CloseWrite())
	}()
	if _, err := slowly(far, 1); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAReadGoesOnAfterResume(t *testing.T) {
	c, far := pair(t)
	for i := range 200 {
		c.SetReadTimeout(time.Duration(i%2) * time.Hour)
		ended := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			ended <- err
		}()
		c.InterruptRead()
		if err := <-ended; !errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil { // this side goes on
			t.Fatal(err)
		}
		c.ResumeRead()
		go far.Write([]byte("y")) //nolint:errcheck // the read says it
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
}

func TestAnInterruptOfWritesLeavesReads(t *testing.T) {
	c, far := pair(t)
	small(t, c)
	c.SetWriteTimeout(time.Hour)
	ended := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			_, err = c.Write(make([]byte, 1<<20))
		}
		ended <- err
	}()
	c.InterruptWrite()
	if err := <-ended; !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	go far.Write([]byte("y")) //nolint:errcheck // the read says it
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
}

// The goroutine is interrupted at whatever instant chance has it: before it
// looks at the flag, while it arms a deadline, when it waits. None may be lost.
func TestAnInterruptIsNeverLost(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 500
	}
	for i := range rounds {
		c, far := pair(t)
		if i%2 == 0 { // with a deadline to arm, and one left over
			c.SetReadTimeout(time.Duration(1+i%3) * time.Hour)
			c.in.armed = int64(i % 4)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrInterrupted) {
				t.Errorf("round %d: read: %v", i, err)
			}
		})
		wg.Go(func() {
			b := make([]byte, 1<<20)
			var err error
			for err == nil {
				_, err = c.Write(b)
			}
			if !errors.Is(err, ErrInterrupted) {
				t.Errorf("round %d: write: %v", i, err)
			}
		})
		for range i % 64 {
			runtime.Gosched()
		}
		c.Interrupt()
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		within(t, "both waits end", done)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrInterrupted) {
			t.Fatalf("round %d: a read after it: %v", i, err)
		}
		c.Close()   //nolint:errcheck // spent
		far.Close() //nolint:errcheck // spent
	}
}
