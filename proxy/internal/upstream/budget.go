package upstream

import "sync/atomic"

const (
	// retryShare is the part of requests that may be tried again: 1 in 5.
	retryShare = 5
	// retryReserve is how many may be when there were no requests before:
	// enough for a quiet hour's restart of an upstream, too few to hurt it.
	retryReserve = 50
)

// budget bounds second tries, so that an upstream in trouble is not asked
// twice for everything. It counts fifths of a try.
type budget struct{ fifths atomic.Int64 }

func newBudget() *budget {
	b := &budget{}
	b.fifths.Store(retryReserve * retryShare)
	return b
}

// earn adds what one request earns.
func (b *budget) earn() {
	if b.fifths.Load() < retryReserve*retryShare {
		b.fifths.Add(1)
	}
}

// spend takes one try, if there is one.
func (b *budget) spend() bool {
	if b.fifths.Add(-retryShare) >= 0 {
		return true
	}
	b.fifths.Add(retryShare)
	return false
}
