package pace

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"drover/bench/internal/proc"
	"drover/internal/pause"
)

// RateMax is one turn every 10 µs: more than one machine does.
const RateMax = 100_000

// Pacer says when each turn of a crowd is due.
type Pacer struct {
	rate  int // 0 for no pauses
	began time.Time
	next  atomic.Int64
}

// New returns a pacer of so many turns a second, 0 to RateMax. With 0 every turn
// is due at once.
func New(rate int, began time.Time) *Pacer { return &Pacer{rate: rate, began: began} }

func (p *Pacer) String() string {
	if p.rate == 0 {
		return "no pauses"
	}
	return fmt.Sprintf("%d/s", p.rate)
}

// due takes the next turn, and returns when it is due.
func (p *Pacer) due() time.Time {
	if p.rate == 0 {
		return p.began
	}
	n := p.next.Add(1) - 1
	seconds, rest := n/int64(p.rate), n%int64(p.rate)
	return p.began.Add(time.Duration(seconds)*time.Second + time.Duration(rest)*time.Second/time.Duration(p.rate))
}

// Wait takes the next turn, waits until it is due, and returns when that was;
// false when ctx ended before.
func (p *Pacer) Wait(ctx context.Context) (due time.Time, ok bool) {
	due = p.due()
	return due, pause.For(ctx, time.Until(due)) == nil
}

// Idle is the machine's CPU time from a moment on.
type Idle struct {
	began time.Time
	busy  time.Duration
	cores int
}

// WatchIdle begins to watch.
func WatchIdle() (Idle, error) {
	busy, err := proc.MachineBusy()
	return Idle{began: time.Now(), busy: busy, cores: runtime.NumCPU()}, err
}

// Share is how much of the CPU time until now was idle, 0 to 1.
func (i Idle) Share(now time.Time) (float64, error) {
	busy, err := proc.MachineBusy()
	return i.shareOf(busy, now), err
}

func (i Idle) shareOf(busy time.Duration, now time.Time) float64 {
	all := time.Duration(i.cores) * now.Sub(i.began)
	if all <= 0 {
		return 0
	}
	return min(1, max(0, 1-float64(busy-i.busy)/float64(all)))
}
