package load

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"drover/tools/demo/internal/ledger"
)

const (
	// Some users are more active than others: the user is number count × r²,
	// so the first percent of the users sends a tenth of the requests.
	skew = 2

	thinkMin = 5 * time.Millisecond
	thinkMax = 60 * time.Millisecond
	stepsMax = 2000
)

// crowd chooses users. It may be used by any number of goroutines.
type crowd struct {
	count    int
	hotShare float64
	hot      atomic.Pointer[[]ledger.User]
}

// heat says who is asked for more often from now on; nobody when empty.
func (c *crowd) heat(users []ledger.User) { c.hot.Store(&users) }

func (c *crowd) pick() ledger.User {
	if hot := c.hot.Load(); hot != nil && len(*hot) != 0 && rand.Float64() < c.hotShare {
		return (*hot)[rand.IntN(len(*hot))]
	}
	r := 1.0
	for range skew {
		r *= rand.Float64()
	}
	return ledger.User(1 + int(r*float64(c.count)))
}

// pickDay chooses the first day more often than all others together.
func pickDay(days int) ledger.Day {
	if rand.IntN(3) != 0 {
		return 0
	}
	return ledger.Day(rand.IntN(days))
}

// pickThink chooses how long a transaction stays open; mostly not at all.
func pickThink(share float64) time.Duration {
	if rand.Float64() >= share {
		return 0
	}
	return thinkMin + rand.N(thinkMax-thinkMin)
}
