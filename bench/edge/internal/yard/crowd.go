package yard

import (
	"fmt"
	"time"

	"drover/bench/edge/internal/scene"
)

// crowd is connections that each send one request when told to, for requests
// that are to be held.
type crowd struct {
	count
	loop    *loop
	seen    *arrivals
	clients []*client
	waiting int
}

func openCrowd(l *loop, seen *arrivals, target string, connections int) (*crowd, error) {
	d := &crowd{count: newCount(), loop: l, seen: seen}
	checker := scene.NewChecker()
	for range connections {
		c, err := newClient(l, d, checker, target)
		if err != nil {
			d.close()
			return nil, err
		}
		d.clients = append(d.clients, c)
	}
	return d, nil
}

// send sends each user's request on a connection of its own, and returns
// before any is answered. What was counted before is forgotten.
func (d *crowd) send(first int, users []scene.User) error {
	if first < 0 || first+len(users) > len(d.clients) || d.waiting > 0 {
		return fmt.Errorf("requests to send on connections %d to %d of %d, of which %d are busy",
			first, first+len(users)-1, len(d.clients), d.waiting)
	}
	d.count, *d.seen = newCount(), arrivals{}
	d.waiting = len(users)
	for i, u := range users {
		d.clients[first+i].send(u, d.loop.now())
	}
	return nil
}

// collect waits until every request has its answer, bounded by last.
func (d *crowd) collect(last time.Duration) (Result, error) {
	limit := d.loop.now() + int64(last)
	for d.waiting > 0 && d.loop.now() < limit {
		if err := d.loop.turn(10 * time.Millisecond); err != nil {
			return Result{}, err
		}
	}
	for _, c := range d.clients {
		if c.busy {
			c.busy = false
			d.fail(fmt.Errorf("no answer came within %v", last))
		}
	}
	d.waiting = 0
	r := d.done()
	r.Arrivals, r.LastArrival = d.seen.count, d.seen.last
	return r, nil
}

func (d *crowd) close() {
	for _, c := range d.clients {
		c.close()
	}
}

func (d *crowd) answered(c *client) {
	d.waiting--
	d.answer(time.Duration(d.loop.now() - c.sent))
}

func (d *crowd) failed(c *client, err error) {
	d.waiting--
	d.fail(err)
}

func (d *crowd) unasked(err error) { d.fail(err) }
