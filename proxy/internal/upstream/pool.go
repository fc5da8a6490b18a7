package upstream

import (
	"math/rand/v2"
	"time"

	"drover/bucketmap"
)

// pool is one datacenter's hosts.
type pool struct {
	datacenter bucketmap.Datacenter
	hosts      []*host
	failover   []bucketmap.Datacenter
	budget     *budget
	retries    interface{ Inc() }
}

// pick returns the less loaded of two hosts drawn at random among those that
// are up, other than not when there is another. With none up it returns one
// all the same, since all down is more often our mistake than theirs; but nil
// when the datacenter has a failover.
func (p *pool) pick(not *host) *host {
	now := time.Now()
	var buf [16]*host
	up := buf[:0]
	for _, h := range p.hosts {
		if h != not && h.up(now) {
			up = append(up, h)
		}
	}
	if len(up) == 0 && not != nil && not.up(now) {
		return not
	}
	if len(up) == 0 {
		if len(p.failover) != 0 {
			return nil
		}
		up = append(up, p.hosts...)
	}
	a := up[rand.IntN(len(up))]
	if len(up) == 1 {
		return a
	}
	b := up[rand.IntN(len(up))]
	if b.load.Load() < a.load.Load() {
		return b
	}
	return a
}
