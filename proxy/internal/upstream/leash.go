package upstream

import (
	"sync/atomic"

	"drover/proxy/internal/pool"
)

// Leash lets another goroutine cut a request off from its upstream, at any
// instant: because its client is gone, or because the edge ends. The upstream's
// connection is interrupted then, and never used again.
//
// It holds nothing, a connection in use, or the mark of a cut. Who changes it
// from one to the other owns the connection: a connection that is given back to
// its pool cannot be interrupted any more.
type Leash struct {
	held atomic.Pointer[pool.Conn]
	hook atomic.Pointer[func()]
}

// cut is the mark.
var cut = new(pool.Conn)

// Cut cuts the request off. Again it does nothing.
func (l *Leash) Cut() {
	c := l.held.Swap(cut)
	if c != nil && c != cut {
		c.Socket.Interrupt()
	}
	l.tell()
}

// IsCut says whether Cut was called.
func (l *Leash) IsCut() bool { return l.held.Load() == cut }

// Reset makes the leash another request's. Nobody may be about to cut it.
func (l *Leash) Reset() {
	l.held.Store(nil)
	l.hook.Store(nil)
}

// OnGone has f called, once, when the request is cut off; at once when it is
// already. Another f, or nil, takes its place. It is pool.Client's.
func (l *Leash) OnGone(f func()) {
	if f == nil {
		l.hook.Store(nil)
		return
	}
	l.hook.Store(&f)
	if l.IsCut() {
		l.tell()
	}
}

func (l *Leash) tell() {
	if f := l.hook.Swap(nil); f != nil {
		(*f)()
	}
}

// take puts a connection on the leash, unless it is cut.
func (l *Leash) take(c *pool.Conn) bool { return l.held.CompareAndSwap(nil, c) }

// leave takes it off again, unless it was cut meanwhile.
func (l *Leash) leave(c *pool.Conn) bool { return l.held.CompareAndSwap(c, nil) }
