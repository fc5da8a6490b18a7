package edge

import (
	"net/netip"
	"sync"
	"time"
)

// clients knows every client's connection: to bound them, and so that a drain
// can end those that are idle.
type clients struct {
	max, maxEach int

	mu      sync.Mutex // guards what follows
	open    int        // those being set up too
	members map[member]struct{}
	each    map[netip.Addr]int // only when maxEach is set
}

// member is one connection.
type member interface {
	// idleSince is in ns of the wall clock; 0 or less: it is not idle.
	idleSince() int64
	// goAway tells the client that the edge is being stopped; stop ends a
	// connection that is idle; cut ends it at once.
	goAway()
	stop()
	cut()
}

func (c *clients) init(max, maxEach int) {
	c.max, c.maxEach = max, maxEach
	c.members = map[member]struct{}{}
	c.each = map[netip.Addr]int{}
}

// enter takes a place.
func (c *clients) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.max {
		return false
	}
	c.open++
	return true
}

// add makes a connection that has its place a member, unless its client has
// too many.
func (c *clients) add(m member, address netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.maxEach != 0 {
		if c.each[address] >= c.maxEach {
			return false
		}
		c.each[address]++
	}
	c.members[m] = struct{}{}
	return true
}

func (c *clients) remove(m member, address netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, m)
	if c.maxEach == 0 {
		return
	}
	if c.each[address]--; c.each[address] <= 0 {
		delete(c.each, address)
	}
}

// leave gives the place back.
func (c *clients) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
}

func (c *clients) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// stopIdle ends the connections that have been idle for that long.
func (c *clients) stopIdle(now time.Time, idle time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for m := range c.members {
		if since := m.idleSince(); since > 0 && now.Sub(time.Unix(0, since)) >= idle {
			m.stop()
		}
	}
}

func (c *clients) goAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for m := range c.members {
		m.goAway()
	}
}

func (c *clients) cutAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for m := range c.members {
		m.cut()
	}
}
