package main

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"drover/bench/internal/proc"
)

// rateMax is a write every 10 µs: more than one machine does.
const rateMax = 100_000

// pacer says when each write of a crowd is due. A write that is late moves none
// after it: what was not sent in time is sent as soon as somebody can.
type pacer struct {
	rate  int // writes a second; 0 for no pauses
	began time.Time
	next  atomic.Int64
}

func newPacer(rate int, began time.Time) *pacer { return &pacer{rate: rate, began: began} }

func (p *pacer) String() string {
	if p.rate == 0 {
		return "no pauses"
	}
	return fmt.Sprintf("%d writes/s", p.rate)
}

// due takes the next write, and returns when it is due.
func (p *pacer) due() time.Time {
	if p.rate == 0 {
		return p.began
	}
	n := p.next.Add(1) - 1
	seconds, rest := n/int64(p.rate), n%int64(p.rate)
	return p.began.Add(time.Duration(seconds)*time.Second + time.Duration(rest)*time.Second/time.Duration(p.rate))
}

// wait waits until the next write is due; false when ctx ended before.
func (p *pacer) wait(ctx context.Context) bool {
	left := time.Until(p.due())
	if left <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// idleness is the machine's CPU time from a moment on.
type idleness struct {
	began time.Time
	busy  time.Duration
	cores int
}

func watchIdle() (idleness, error) {
	busy, err := proc.MachineBusy()
	return idleness{began: time.Now(), busy: busy, cores: runtime.NumCPU()}, err
}

// share is how much of the CPU time until now was idle, 0 to 1.
func (i idleness) share(now time.Time) (float64, error) {
	busy, err := proc.MachineBusy()
	return i.shareOf(busy, now), err
}

func (i idleness) shareOf(busy time.Duration, now time.Time) float64 {
	all := time.Duration(i.cores) * now.Sub(i.began)
	if all <= 0 {
		return 0
	}
	return min(1, max(0, 1-float64(busy-i.busy)/float64(all)))
}
