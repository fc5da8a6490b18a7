package pool

import "time"

// Client is who a request is for. A *socket.Conn that is watched is one.
type Client interface {
	// OnGone has f called, once, when the client is gone; at once when it is
	// already. Another f, or nil, takes its place.
	OnGone(f func())
}

// waiter is a request in a host's queue. Its fields are guarded by the host's
// lock until done is closed; who closes it has taken it out of the queue.
type waiter struct {
	before, behind *waiter
	queued         bool
	done           chan struct{}
	outcome        QueueOutcome
	conn           *Conn // nil, when served: the right to make one
}

// queue is the waiters, the oldest first.
type queue struct {
	first, last *waiter
	length      int
}

func (q *queue) push(w *waiter) {
	w.before, w.queued = q.last, true
	if q.last == nil {
		q.first = w
	} else {
		q.last.behind = w
	}
	q.last = w
	q.length++
}

// end takes w out, wherever it is, and says how its wait ended.
func (q *queue) end(w *waiter, outcome QueueOutcome, c *Conn) {
	if w.before == nil {
		q.first = w.behind
	} else {
		w.before.behind = w.behind
	}
	if w.behind == nil {
		q.last = w.before
	} else {
		w.behind.before = w.before
	}
	q.length--
	w.before, w.behind, w.queued = nil, nil, false
	w.outcome, w.conn = outcome, c
	close(w.done)
}

// leave ends a wait from the request's side, unless it has ended.
func (h *Host) leave(w *waiter, outcome QueueOutcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.queued {
		h.mu.queue.end(w, outcome, nil)
	}
}

// wait waits in the queue, which the caller has looked at under the lock that
// it holds; wait releases it. It returns a connection, or the right to make one.
func (h *Host) wait(client Client, limit time.Time) (*Conn, error) {
	settings, dc := &h.pool.all.settings, h.pool.datacenter
	if h.mu.queue.length >= settings.Queue {
		h.mu.Unlock()
		settings.Counters.Queued(dc, QueueFull, 0)
		return nil, ErrQueueFull
	}
	w := &waiter{done: make(chan struct{})}
	h.mu.queue.push(w)
	h.mu.Unlock()

	began := time.Now()
	longest := settings.QueueTimeout
	if !limit.IsZero() {
		longest = min(longest, limit.Sub(began))
	}
	if client != nil {
		client.OnGone(func() { h.leave(w, QueueGone) })
		defer client.OnGone(nil)
	}
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
		h.leave(w, QueueTimeout)
		<-w.done
	}
	settings.Counters.Queued(dc, w.outcome, time.Since(began))
	switch w.outcome {
	case QueueServed:
		return w.conn, nil
	case QueueGone:
		return nil, ErrGone
	default:
		return nil, ErrQueueTimeout
	}
}

// freed passes on the place of a connection that is closed, or was never made:
// to the oldest waiter, if there is one.
func (h *Host) freed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.mu.queue.first; w != nil {
		h.mu.queue.end(w, QueueServed, nil)
		return
	}
	h.mu.open--
}
