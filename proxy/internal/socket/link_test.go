package socket

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"testing"
	"time"
)

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

// links gives a server's and a client's end, shaken hands, both on a Conn.
func links(t testing.TB, version uint16) (server, client *Link) {
	t.Helper()
	forServer, forClient := certificate(t)
	forServer.MinVersion, forServer.MaxVersion = version, version
	forClient.MinVersion, forClient.MaxVersion = version, version
	forClient.ClientSessionCache = tls.NewLRUClientSessionCache(1) // asks for tickets
	near, far := pair(t)
	s, c := &Link{Socket: near}, &Link{Socket: wrap(t, far)}
	s.TLS, c.TLS = tls.Server(s.Socket, forServer), tls.Client(c.Socket, forClient)
	done := make(chan error, 1)
	go func() { done <- s.TLS.Handshake() }()
	if err := errors.Join(c.TLS.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func eachVersion(t *testing.T, f func(t *testing.T, server, client *Link)) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			server, client := links(t, version)
			f(t, server, client)
		})
	}
}

func TestTLSCarriesAllSizesBothWays(t *testing.T) {
	eachVersion(t, func(t *testing.T, server, client *Link) {
		p := filled(1<<20+1, 4)
		small(t, server.Socket)
		for _, ends := range [][2]*Link{{server, client}, {client, server}} {
			wrote := make(chan error, 1)
			go func() {
				n, err := ends[0].Writev(p[:1000], p[1000:])
				if n != len(p) {
					err = errors.Join(err, io.ErrShortWrite)
				}
				wrote <- errors.Join(err, ends[0].CloseWrite())
			}()
			sum, err := slowly(ends[1], 2)
			if err := errors.Join(err, <-wrote); err != nil || sum != sha256.Sum256(p) {
				t.Fatalf("other bytes arrived: %v", err)
			}
		}
	})
}

func TestAnIdleTLSClientStaysQuietWhateverTicketsCome(t *testing.T) {
	eachVersion(t, func(t *testing.T, server, client *Link) {
		if got := client.Look(); got != LookQuiet {
			t.Fatalf("after the handshake: %v", got)
		}
		if got := server.Look(); got != LookQuiet {
			t.Fatalf("the server: %v", got)
		}
		// What follows the tickets is the application's, and looking has not
		// spoilt the connection for it.
		exchange(t, server, client)
		if got := client.Look(); got != LookQuiet {
			t.Fatalf("after an exchange: %v", got)
		}
		exchange(t, client, server)
	})
}

func exchange(t *testing.T, from, to *Link) {
	t.Helper()
	if _, err := from.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	if n, err := to.Read(b); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("%q, %v", b[:n], err)
	}
}

func TestBytesThatTheTLSLayerHoldsAreSeen(t *testing.T) {
	eachVersion(t, func(t *testing.T, server, client *Link) {
		// Two records in one segment: reading the first takes both off the socket.
		if _, err := server.Writev([]byte("one"), []byte("two")); err != nil {
			t.Fatal(err)
		}
		until(t, "both arrive", func() bool { return client.Socket.Look() == LookBytes })
		time.Sleep(20 * time.Millisecond) // that both arrive makes the test sharper, no result depends on it
		b := make([]byte, 8)
		if n, err := client.Read(b); err != nil || string(b[:n]) != "one" {
			t.Fatalf("%q, %v", b[:n], err)
		}
		until(t, "the second record is seen", func() bool { return client.Look() == LookBytes })
		for range 2 { // looking takes nothing away
			if got := client.Look(); got != LookBytes {
				t.Fatalf("another look: %v", got)
			}
		}
		var got []byte
		for len(got) < 3 {
			n, err := client.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
		}
		if string(got) != "two" {
			t.Fatalf("read %q", got)
		}
	})
}

func TestTLSReadsOnAfterAnInterruptedRead(t *testing.T) {
	eachVersion(t, func(t *testing.T, server, client *Link) {
		for range 20 {
			ended := make(chan error, 1)
			go func() {
				_, err := client.Read(make([]byte, 1))
				ended <- err
			}()
			client.Socket.InterruptRead()
			if err := <-ended; !errors.Is(err, ErrInterrupted) {
				t.Fatal(err)
			}
			if got := client.Look(); got != LookQuiet {
				t.Fatalf("interrupted, and nothing there: %v", got)
			}
			if _, err := server.Write([]byte("z")); err != nil {
				t.Fatal(err)
			}
			until(t, "bytes are seen under the interruption", func() bool { return client.Look() == LookBytes })
			client.Socket.ResumeRead()
			if _, err := client.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			exchange(t, server, client)
			exchange(t, client, server)
		}
	})
}

func TestLookSeesTheEndOfTLS(t *testing.T) {
	eachVersion(t, func(t *testing.T, server, client *Link) {
		if err := server.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		until(t, "closed", func() bool { return client.Look() == LookClosed })
	})
}

func TestReadReadyDoesNotBreakTheTLSState(t *testing.T) {
	eachVersion(t, func(t *testing.T, server, client *Link) {
		p := filled(300<<10, 8)
		client.Socket.SetReadTimeout(time.Hour)
		wrote := make(chan error, 1)
		go func() {
			var err error
			for q := p; len(q) > 0 && err == nil; {
				n := min(len(q), 777)
				_, err = server.Write(q[:n])
				q = q[n:]
			}
			wrote <- err
		}()
		// Many tries find half a record; each must leave what it has seen.
		var got []byte
		b := make([]byte, 1000)
		for len(got) < len(p) {
			n, err := client.ReadReady(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
		}
		if err := <-wrote; err != nil || !bytes.Equal(got, p) {
			t.Fatalf("other bytes were read: %v", err)
		}
		if n, err := client.ReadReady(b); n != 0 || err != nil {
			t.Fatalf("nothing there: %d, %v", n, err)
		}
		exchange(t, server, client)
		exchange(t, client, server)
	})
}

// A relay hands the server's bytes on one at a time, so that most tries find a
// part of a record.
func TestARecordThatComesByteByByteIsNotLost(t *testing.T) {
	forServer, forClient := certificate(t)
	near, relayed := pair(t) // client to relay
	out, far := pair(t)      // relay to server
	server := tls.Server(wrap(t, far), forServer)
	client := &Link{Socket: near}
	client.TLS = tls.Client(near, forClient)
	go io.Copy(out, relayed) //nolint:errcheck // ends with the test
	go func() {
		b := make([]byte, 1)
		for {
			n, err := out.Read(b)
			if err != nil {
				return
			}
			if _, err := relayed.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	shaken := make(chan error, 1)
	go func() {
		err := server.Handshake()
		_, err2 := server.Write([]byte("in parts"))
		shaken <- errors.Join(err, err2)
	}()
	if err := errors.Join(client.TLS.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	var got []byte
	b := make([]byte, 3)
	until(t, "all of it", func() bool {
		n, err := client.ReadReady(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b[:n]...)
		return len(got) >= len("in parts")
	})
	if string(got) != "in parts" {
		t.Fatalf("read %q", got)
	}
}

func TestReadLentOfTLSGivesTheBufferBackWhenNothingCame(t *testing.T) {
	server, client := links(t, tls.VersionTLS13)
	s := &shelf{b: make([]byte, 8), got: make(chan struct{}, 4)}
	client.Socket.SetReadTimeout(time.Millisecond)
	if n, err := client.ReadLent(s); n != 0 || err == nil || s.out != 0 {
		t.Fatalf("%d, %v, %d out", n, err, s.out)
	}
	client.Socket.SetReadTimeout(0)
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := client.ReadLent(s); n != 1 || err != nil || s.out != 1 {
		t.Fatalf("%d, %v, %d out", n, err, s.out)
	}
}

func TestClosingTLSDoesNotWaitForAPeerThatReadsNothing(t *testing.T) {
	server, _ := links(t, tls.VersionTLS13)
	server.Socket.SetWriteTimeout(time.Millisecond)
	fill(t, server.Socket)
	server.Socket.SetWriteTimeout(time.Hour)
	began := time.Now()
	server.Close() //nolint:errcheck // the word of the end finds no room: that is the test
	// The TLS layer's own bound is five seconds.
	if d := time.Since(began); d > 3*time.Second {
		t.Fatalf("closing took %v", d)
	}
}

func TestAPlainLinkIsItsSocket(t *testing.T) {
	near, far := pair(t)
	server, client := &Link{Socket: near}, &Link{Socket: wrap(t, far)}
	exchange(t, server, client)
	if client.Look() != LookQuiet {
		t.Fatal("not quiet")
	}
	if _, err := server.Writev([]byte("a"), []byte("b")); err != nil {
		t.Fatal(err)
	}
	until(t, "bytes", func() bool { return client.Look() == LookBytes })
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if n, err := client.ReadReady(b); n != 2 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	until(t, "closed", func() bool { return client.Look() == LookClosed })
}
