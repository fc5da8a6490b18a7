package tracer

import (
	"fmt"
	"sync"
	"time"
)

// maybeMax bounds the writes of unknown outcome that are remembered of a tracer:
// past it too many writes are not noticed until nobody writes for a moment.
const maybeMax = 64

// count is what a tracer's count must be. Several requests of one tracer are under
// way at once, so that a proxy that hangs keeps none of them to itself: an answer
// must have every write that was acknowledged before its request was sent, and
// none that was not begun when it came.
type count struct {
	mu       sync.Mutex
	known    bool        // base is
	base     int64       // the count without the writes of acked
	acked    int64       // writes acknowledged
	begun    int64       // writes sent
	inflight int         // of them, under way
	maybe    []time.Time // of them, those whose outcome is unknown, by when that was known
	loose    bool        // there were more of these
	since    time.Time   // when a fault was told: what was sent before is not compared
}

// mark is a count when a request was sent.
type mark struct {
	at    time.Time
	low   int64 // what was there at least, if known is
	known bool
	begun int64
	quiet bool // no other write was under way
	write bool
}

// begins says that there is a count now. A fresh one is of nothing yet.
func (c *count) begins(fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = c.known || fresh && c.begun == 0
}

// begin notes a request that is about to be sent.
func (c *count) begin(write bool) mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := mark{at: time.Now(), low: c.base + c.acked, known: c.known, quiet: c.inflight == 0, write: write}
	if write {
		m.low++ // its answer has it
		c.begun++
		c.inflight++
	}
	m.begun = c.begun
	return m
}

// end notes that a write was acknowledged, or that nobody knows.
func (c *count) end(acknowledged bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inflight--
	switch {
	case acknowledged:
		c.acked++
	case len(c.maybe) < maybeMax:
		c.maybe = append(c.maybe, time.Now())
	default:
		c.loose = true
	}
}

// short says whether n is too few.
func (c *count) short(m mark, n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return m.known && !m.at.Before(c.since) && n < m.low
}

// take compares the count of an answer, and goes on from it: a fault is told
// once. The end of a write comes before. A write of unknown outcome is waited for
// as long as patience, and then is not coming.
func (c *count) take(m mark, n int64, patience time.Duration) (Outcome, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.at.Before(c.since) {
		return Right, ""
	}
	quiet := m.quiet && c.inflight == 0 && c.begun == m.begun
	if !c.known {
		if quiet {
			c.known, c.base = true, n-c.acked
		}
		return Right, ""
	}
	high := c.base + c.acked + int64(c.inflight+len(c.maybe))
	switch {
	case m.known && n < m.low:
		c.base, c.since = c.base-(m.low-n), time.Now()
		return Lost, fmt.Sprintf("the count is %d, and %d writes are acknowledged", n, m.low)
	case n > high && !c.loose:
		c.base, c.since = c.base+(n-high), time.Now()
		return Duplicated, fmt.Sprintf("the count is %d, and of the writes %d are acknowledged, %d under way and %d of unknown outcome",
			n, high-int64(c.inflight+len(c.maybe)), c.inflight, len(c.maybe))
	case quiet:
		c.settle(n, patience)
	}
	return Right, ""
}

// settle goes on from a count that no write overlapped: what is there beyond the
// acknowledged writes is of unknown outcome no more.
func (c *count) settle(n int64, patience time.Duration) {
	extra := n - c.base - c.acked
	if extra < 0 { // an answer from before what is known by now
		return
	}
	c.base += extra
	c.maybe = c.maybe[min(extra, int64(len(c.maybe))):]
	for len(c.maybe) != 0 && time.Since(c.maybe[0]) > patience {
		c.maybe = c.maybe[1:]
	}
	c.loose = false
}
