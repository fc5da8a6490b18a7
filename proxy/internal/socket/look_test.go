package socket

import (
	"errors"
	"io"
	"sync"
	"testing"
)

func TestLookTellsQuietBytesAndClosed(t *testing.T) {
	c, far := pair(t)
	if got := c.Look(); got != LookQuiet {
		t.Fatalf("nothing sent: %v", got)
	}
	if _, err := far.Write([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	until(t, "bytes", func() bool { return c.Look() == LookBytes })
	b := make([]byte, 8)
	if n, err := c.Read(b); n != 2 || err != nil || string(b[:2]) != "ab" {
		t.Fatalf("looking took something away: %q, %v", b[:n], err)
	}
	if got := c.Look(); got != LookQuiet {
		t.Fatalf("all read: %v", got)
	}
	if err := far.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	until(t, "closed", func() bool { return c.Look() == LookClosed })
}

func TestLookTellsABrokenConnection(t *testing.T) {
	c, far := pair(t)
	far.SetLinger(0) //nolint:errcheck // a broken connection is what the test wants
	far.Close()      //nolint:errcheck // as above
	until(t, "closed", func() bool { return c.Look() == LookClosed })
	if got := c.Look(); got != LookClosed {
		t.Fatalf("a second look: %v", got)
	}
}

func TestReadReadyTakesWhatIsThereAndNeverWaits(t *testing.T) {
	c, far := pair(t)
	b := make([]byte, 4)
	if n, err := c.ReadReady(b); n != 0 || err != nil {
		t.Fatalf("nothing there: %d, %v", n, err)
	}
	if _, err := far.Write([]byte("abcdef")); err != nil {
		t.Fatal(err)
	}
	until(t, "bytes", func() bool { return c.Look() == LookBytes })
	got := ""
	for len(got) < 6 {
		n, err := c.ReadReady(b)
		if err != nil {
			t.Fatal(err)
		}
		got += string(b[:n])
	}
	if got != "abcdef" {
		t.Fatalf("read %q", got)
	}
	if err := far.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	until(t, "closed", func() bool { return c.Look() == LookClosed })
	if _, err := c.ReadReady(b); !errors.Is(err, io.EOF) {
		t.Fatalf("the end: %v", err)
	}
}

func TestManyMayLookWhileOneReads(t *testing.T) {
	c, far := pair(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if c.Look() == LookClosed {
					t.Error("an open connection was seen closed")
					return
				}
			}
		})
	}
	go far.Write(make([]byte, 100)) //nolint:errcheck // the reads say it
	for n := 0; n < 100; {
		m, err := c.ReadReady(make([]byte, 7))
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	wg.Wait()
}
