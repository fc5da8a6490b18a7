package pool

import (
	"time"
)

// Acquire returns a connection: the idle one used last that is still good, else
// a new one, else what comes free while it waits in the queue. Fresh asks for a
// new one in any case.
//
// The error is ErrQueueFull, ErrQueueTimeout, ErrGone or a *ConnectError. A
// client of nil is never gone; a limit that is zero is none. While Acquire
// waits, the client's OnGone is its own; afterwards nobody's.
func (h *Host) Acquire(client Client, limit time.Time, fresh bool) (*Conn, error) {
	h.mu.Lock()
	for n := len(h.mu.idle); n != 0 && !fresh; n = len(h.mu.idle) {
		c := h.mu.idle[n-1]
		h.mu.idle[n-1] = nil
		h.mu.idle = h.mu.idle[:n-1]
		h.mu.Unlock()
		if c.usable() {
			return c.again(), nil
		}
		c.close()
		h.mu.Lock()
		if len(h.mu.idle) == 0 { // its place is for a new one
			h.mu.Unlock()
			return h.connect(client, limit)
		}
		h.mu.open-- // nobody waits while there are idle ones
	}
	if h.mu.open < h.pool.all.settings.ConnectionsMax {
		h.mu.open++
		h.mu.Unlock()
		return h.connect(client, limit)
	}
	if len(h.mu.idle) != 0 { // fresh: the one idle for longest makes place
		c := h.mu.idle[0]
		n := copy(h.mu.idle, h.mu.idle[1:])
		h.mu.idle[n] = nil
		h.mu.idle = h.mu.idle[:n]
		h.mu.Unlock()
		c.close()
		return h.connect(client, limit)
	}
	c, err := h.wait(client, limit)
	if err != nil {
		return nil, err
	}
	if c != nil {
		if !fresh && c.usable() {
			return c.again(), nil
		}
		c.close()
	}
	return h.connect(client, limit)
}

// Release takes back a connection on which the next answer can come.
func (h *Host) Release(c *Conn) {
	c.since = h.pool.all.clock()
	h.mu.Lock()
	if h.mu.closed || h.pool.all.settings.KeepAlive == 0 {
		h.mu.Unlock()
		h.Discard(c)
		return
	}
	if w := h.mu.queue.first; w != nil {
		h.mu.queue.end(w, QueueServed, c)
	} else {
		h.mu.idle = append(h.mu.idle, c)
	}
	h.mu.Unlock()
}

// Discard closes a connection in use.
func (h *Host) Discard(c *Conn) {
	c.close()
	h.freed()
}

// forever is later than every instant.
const forever = int64(1) << 62

// closeIdle closes the connections idle since then or longer.
func (h *Host) closeIdle(then int64) {
	h.mu.Lock()
	n := 0
	for n < len(h.mu.idle) && h.mu.idle[n].since <= then {
		n++
	}
	if n == 0 {
		h.mu.Unlock()
		return
	}
	old := append([]*Conn(nil), h.mu.idle[:n]...)
	kept := copy(h.mu.idle, h.mu.idle[n:])
	clear(h.mu.idle[kept:])
	h.mu.idle = h.mu.idle[:kept]
	h.mu.Unlock()
	// The places are free only now, so that no more are open than may be.
	for _, c := range old {
		h.Discard(c)
	}
}

// withdraw has no connection kept any more; closeIdle closes those that are.
func (h *Host) withdraw() {
	h.withdrawn.Store(true)
	h.mu.Lock()
	h.mu.closed = true
	h.mu.Unlock()
}

// revive takes back a withdraw.
func (h *Host) revive() {
	h.mu.Lock()
	h.mu.closed = false
	h.mu.Unlock()
	h.withdrawn.Store(false)
}

// opened returns how many connections there are.
func (h *Host) opened() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.open
}
