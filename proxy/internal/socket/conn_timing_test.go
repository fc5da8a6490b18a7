package socket

import (
	"io"
	"testing"
	"time"
)

// BenchmarkEcho sends 100 bytes there and back. The far end is an ordinary
// connection in both cases.
func BenchmarkEcho(b *testing.B) {
	for name, end := range map[string]func(testing.TB) (io.ReadWriter, io.ReadWriter){
		"socket": func(t testing.TB) (io.ReadWriter, io.ReadWriter) {
			c, far := pair(t)
			c.SetReadTimeout(time.Minute)
			c.SetWriteTimeout(time.Minute)
			return c, far
		},
		"net": func(t testing.TB) (io.ReadWriter, io.ReadWriter) {
			c, far := pair(t)
			return timed{c}, far
		},
	} {
		b.Run(name, func(b *testing.B) {
			near, far := end(b)
			go io.Copy(far, struct{ io.Reader }{far}) //nolint:errcheck // ends with the connection
			p := make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := near.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(near, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// timed is the same with the ordinary calls, a deadline set before each.
type timed struct{ c *Conn }

func (t timed) Read(p []byte) (int, error) {
	t.c.tcp.SetReadDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // the read says it
	return t.c.tcp.Read(p)
}

func (t timed) Write(p []byte) (int, error) {
	t.c.tcp.SetWriteDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // the write says it
	return t.c.tcp.Write(p)
}
