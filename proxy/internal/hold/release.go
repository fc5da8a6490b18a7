package hold

import (
	"context"
	"time"

	"drover/bucketmap"
)

// trickle is the share of a burst that goes in a tick though a burst is unsent.
const trickle = 8

// Run lets go, at the bounded rate, the requests whose hold ended, until ctx
// ends, and returns nil then. Without it only the first few of each hold are
// let go before their deadline.
func (m *Manager) Run(ctx context.Context) error {
	tick := time.NewTicker(releaseTick)
	defer tick.Stop()
	tick.Stop()
	running := false
	last := m.options.Now()
	var owed float64 // tokens, less than one
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
			if !running {
				running = true
				last = m.options.Now()
				tick.Reset(releaseTick)
			}
			continue
		case <-tick.C:
		}
		now := m.options.Now()
		owed += now.Sub(last).Seconds() * float64(m.options.ReleaseRate)
		last = now
		m.mu.Lock()
		m.mu.tokens = min(m.mu.tokens+int(owed), m.options.ReleaseBurst)
		owed -= float64(int(owed))
		m.letGo()
		idle := len(m.mu.releases) == 0 && m.mu.tokens == m.options.ReleaseBurst
		m.mu.Unlock()
		if idle {
			running = false
			tick.Stop()
		}
	}
}

// endQueue makes a bucket's requests ready to go.
func (m *Manager) endQueue(b bucketmap.BucketID, q *queue) {
	for _, w := range q.waiters {
		w.ending = true
	}
	m.mu.releases = append(m.mu.releases, q.waiters...)
	delete(m.mu.queues, b)
}

// letGo lets go as many requests as there are tokens, and as may be unsent, the
// oldest first.
//
// No more than a burst is to be unsent, and only a tick lets the next go: in
// between nothing is left to run, so that the runtime looks at its sockets,
// answers are read, and their connections are used again. Letting the next go
// at once when one was sent opened 1,400 connections for 5,000 requests; this
// opens 200. A trickle goes on beyond the burst, because those that wait for an
// upstream that does not answer must not keep the others from theirs.
func (m *Manager) letGo() {
	n := min(len(m.mu.releases), m.mu.tokens)
	if m.options.UnsentMax > 0 {
		room := max(m.options.ReleaseBurst-m.mu.unsent, m.options.ReleaseBurst/trickle, 1)
		n = max(min(n, room, m.options.UnsentMax-m.mu.unsent), 0)
	}
	for i, w := range m.mu.releases[:n] {
		m.mu.unsent++
		m.finish(w, Released)
		m.mu.releases[i] = nil
	}
	m.mu.releases = m.mu.releases[n:]
	if len(m.mu.releases) == 0 {
		m.mu.releases = nil
	}
	m.mu.tokens -= n
	if n > 0 || len(m.mu.releases) != 0 {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
}

// Sent says that a request whose Wait was Released is sent, or has ended. With
// an UnsentMax it is called once for each, so that others can go.
func (m *Manager) Sent() {
	m.mu.Lock()
	m.mu.unsent--
	m.mu.Unlock()
}
