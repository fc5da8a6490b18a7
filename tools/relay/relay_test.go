package relay

import (
	"io"
	"net"
	"testing"
	"time"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return listener.Addr().String()
}

// ask sends a word through a connection and waits for it to come back.
func ask(conn net.Conn) error {
	if _, err := conn.Write([]byte("word")); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 4))
	return err
}

func TestARelayIsSlowIsCutAndIsHealed(t *testing.T) {
	server := echo(t)
	const roundTrip = 40 * time.Millisecond
	r, err := Start(t.Context(), func() string { return server }, roundTrip)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := ask(conn); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < roundTrip {
		t.Errorf("a round trip took %s, want %s or more", took, roundTrip)
	}
	r.Cut()
	if err := ask(conn); err == nil {
		t.Error("a cut link answers")
	}
	if again, err := net.Dial("tcp", r.Addr()); err == nil {
		if err := ask(again); err == nil {
			t.Error("a new connection through a cut link is answered")
		}
		_ = again.Close()
	}
	r.Heal()
	again, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(again); err != nil {
		t.Errorf("a healed link: %v", err)
	}
	_, _ = conn.Close(), again.Close()
}
