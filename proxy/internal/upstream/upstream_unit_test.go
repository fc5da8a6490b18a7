package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestChunkSizesAreReadToTheLetter(t *testing.T) {
	for line, want := range map[string]int64{
		"0\r\n": 0, "a\r\n": 10, "1F\r\n": 31, "5;x=y\r\n": 5, "5 ;x\r\n": 5, "000000000000010\r\n": 16,
	} {
		got, err := readChunkSize(bufio.NewReader(strings.NewReader(line)))
		if err != nil || got != want {
			t.Errorf("%q: got %d, %v", line, got, err)
		}
	}
	for _, line := range []string{"\r\n", "g\r\n", "5\n", " 5\r\n", "0x5\r\n", "-5\r\n", "+5\r\n", "5x\r\n", "1000000000000000\r\n",
		"5;" + strings.Repeat("x", 300) + "\r\n", "5", ""} {
		if got, err := readChunkSize(bufio.NewReader(strings.NewReader(line))); err == nil {
			t.Errorf("%q: got %d", line, got)
		}
	}
}

// newBody returns a body whose client sends text.
func newBody(t *testing.T, text string, length int64, keep int) *Body {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return NewBody(BodyOptions{
		Source: strings.NewReader(text), Conn: server, Length: length, Limit: 1 << 20, KeepMax: keep, Idle: time.Second,
		Deadline: time.Now().Add(time.Minute),
	})
}

func TestABodyCanBeReadAgainAsLongAsItIsKept(t *testing.T) {
	const text = "0123456789"
	b := newBody(t, text, 10, 10)
	part := make([]byte, 4)
	for range 3 {
		if _, err := io.ReadFull(b, part); err != nil || string(part) != "0123" {
			t.Fatalf("got %q, %v", part, err)
		}
		if !b.Rewind() {
			t.Fatal("not kept")
		}
	}
	for range 2 {
		all, err := io.ReadAll(b)
		if err != nil || string(all) != text || !b.Finished() {
			t.Fatalf("got %q, %v", all, err)
		}
		if !b.Rewind() {
			t.Fatal("not kept")
		}
	}
	b = newBody(t, text, 10, 9)
	if _, err := io.ReadAll(b); err != nil || b.Rewind() {
		t.Errorf("10 bytes kept in 9, %v", err)
	}
}

func TestABodyShorterThanItsLengthIsAnError(t *testing.T) {
	if _, err := io.ReadAll(newBody(t, "abc", 4, 10)); !errors.Is(err, ErrBodyTruncated) {
		t.Errorf("got %v", err)
	}
}

func TestTheRetryBudgetIsAFifthOfTheRequests(t *testing.T) {
	b := newBudget()
	for range retryReserve {
		if !b.spend() {
			t.Fatal("the reserve is too small")
		}
	}
	if b.spend() {
		t.Fatal("more than the reserve")
	}
	got := 0
	for range 1000 {
		b.earn()
		if b.spend() {
			got++
		}
	}
	if got != 200 {
		t.Errorf("%d tries for 1000 requests", got)
	}
}

func TestPeekLeavesBytesAndSeesTheEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	eventually := func(want Look) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); Peek(raw) != want; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never %d", want)
			}
		}
	}
	eventually(LookQuiet)
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	eventually(LookBytes)
	var b [1]byte
	if _, err := server.Read(b[:]); err != nil || !bytes.Equal(b[:], []byte("x")) {
		t.Fatalf("got %q, %v", b, err)
	}
	eventually(LookQuiet)
	client.Close() // the point of the test
	eventually(LookClosed)
}

func TestAHostIsEjectedAfterFailuresInARowAndComesBack(t *testing.T) {
	h := testHost(t)
	now := time.Now()
	for range ejectAfter - 1 {
		h.failed(now)
	}
	if !h.up(now) {
		t.Fatal("ejected too soon")
	}
	h.failed(now)
	if h.up(now) || !h.up(now.Add(ejectFirst)) {
		t.Fatal("want it ejected for a while")
	}
	h.failed(now.Add(ejectFirst)) // the first failure after it came back
	if h.up(now.Add(2*ejectFirst)) || !h.up(now.Add(3*ejectFirst)) {
		t.Fatal("want it ejected for twice as long")
	}
	h.succeeded()
	h.failed(now)
	if !h.up(now) {
		t.Fatal("a success does not forgive")
	}
}

func TestNeverAreAllHostsOutUnlessThereIsAFailover(t *testing.T) {
	a, b := testHost(t), testHost(t)
	p := &pool{hosts: []*host{a, b}}
	for range ejectAfter {
		a.failed(time.Now())
	}
	for range 100 {
		if p.pick(nil) != b {
			t.Fatal("an ejected host was picked")
		}
	}
	for range ejectAfter {
		b.failed(time.Now())
	}
	if p.pick(nil) == nil {
		t.Error("no host")
	}
	p.failover = append(p.failover, "other")
	if p.pick(nil) != nil {
		t.Error("an ejected host was picked though there is a failover")
	}
}

func TestTheLessLoadedOfTwoIsPicked(t *testing.T) {
	a, b := testHost(t), testHost(t)
	a.load.Store(100)
	p := &pool{hosts: []*host{a, b}}
	n := 0
	for range 1000 {
		if p.pick(nil) == b {
			n++
		}
	}
	if n < 650 || n > 850 { // three pairs of four have b in them
		t.Errorf("the idle host was picked %d times of 1000", n)
	}
}
