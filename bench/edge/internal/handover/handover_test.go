package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"drover/bench/edge/internal/scene"
)

const patience = 20 * time.Second

func newLedger(t *testing.T) *Ledger {
	t.Helper()
	l, err := NewLedger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestARequestThatComesTwiceIsSeen(t *testing.T) {
	l := newLedger(t)
	for _, number := range []string{"1", "2", "2"} {
		r, err := http.Post("http://"+l.Address, "text/plain", strings.NewReader(number))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
	}
	if l.Doubled() != 1 || !l.Saw(1) || !l.Saw(2) || l.Saw(3) {
		t.Errorf("%d doubled", l.Doubled())
	}
	http.DefaultClient.CloseIdleConnections()
}

// until looks at a crowd until what is wanted is there.
func until(t *testing.T, c *Crowd, want func(Totals) bool) Totals {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		totals := c.Totals()
		if want(totals) {
			return totals
		}
		if time.Now().After(end) {
			t.Fatalf("never: %+v", totals)
		}
	}
}

func TestEveryRequestIsAcknowledgedLostOrUnderWay(t *testing.T) {
	s, err := scene.New()
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(t)
	c := NewCrowd(context.Background(), l.Address, s.Users, 8, 800)
	until(t, c, func(t Totals) bool { return t.Acknowledged > 50 })
	all := c.Stop()
	if all.Sent != all.Acknowledged || all.Lost != 0 || all.Refused != 0 || l.Doubled() != 0 {
		t.Errorf("%+v, %d doubled", all, l.Doubled())
	}
}

// A server that ends a connection when a request has come has lost it; one that
// ends it while it is idle has not, and one that does not listen refuses.
func TestWhatIsLostIsCounted(t *testing.T) {
	s, err := scene.New()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1024)
			m, err := conn.Read(b)
			if n%2 == 0 && err == nil { // answers, and ends the connection without a word of it
				_, body, _ := strings.Cut(string(b[:m]), "\r\n\r\n")
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
			conn.Close()
		}
	}()
	c := NewCrowd(context.Background(), listener.Addr().String(), s.Users, 2, 100)
	until(t, c, func(t Totals) bool { return t.Lost > 3 && t.Acknowledged > 3 })
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
	until(t, c, func(t Totals) bool { return t.Refused > 3 })
	if all := c.Stop(); all.Sent != all.Acknowledged+all.Lost || len(all.Kinds) == 0 {
		t.Errorf("%+v", all)
	}
}

func TestAProcessThatDoesNotServeSaysWhy(t *testing.T) {
	s, err := scene.New()
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlace(t.Context(), t.TempDir(), "/bin/false", "127.0.0.1:1", s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Start(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "did not serve") {
		t.Errorf("got %v", err)
	}
	if err := p.Close(); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("got %v", err)
	}
}
