package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"drover/bench/internal/pace"
)

const (
	// answerMax is above the edge's longest hold and re-route together: a request
	// that is slower failed.
	answerMax = 15 * time.Second
	day       = "2026-01-01"
	// firstPoll is how often the first writes are looked for, firstMax how long.
	firstPoll = 5 * time.Millisecond
	firstMax  = 30 * time.Second
	// reasonsMax bounds the kinds of failures that are kept, reasonBytes each.
	reasonsMax  = 1000
	reasonBytes = 300
)

// outcome is what became of a write, for its writer.
type outcome uint8

const (
	unknown      outcome = iota // there once, or not
	acknowledged                // there once
	refused                     // not there
)

// entry is one write.
type entry struct {
	user, number uint32
	outcome      outcome
	began, ended time.Time
	server       uint32 // that took it, by its row; 0 for none
}

// directFirst is the number of the first user whose writes go straight to the
// shard; the others' go through the proxy.
const directFirst = usersMax

func isDirect(user uint32) bool { return user >= directFirst }

func userID(user uint32) string {
	if isDirect(user) {
		return fmt.Sprintf("d%d", user-directFirst)
	}
	return fmt.Sprintf("u%d", user)
}

// requestID is the id of a user's write: its number, from 1.
func requestID(number uint32) string { return fmt.Sprint(number) }

// sender sends one write, once, and says what became of it. The error says why it
// was not acknowledged. It may be called concurrently.
type sender interface {
	send(ctx context.Context, e entry) (outcome, error)
}

// crowd is writers of one kind. Each has users of its own, so no write of a user
// waits for another one.
type crowd struct {
	sender
	first   uint32 // user
	users   int
	pages   [][]entry // by writer, each its own
	answers atomic.Int64
	taken   atomic.Int64

	mu     sync.Mutex
	failed map[string]int // by reason
}

func newCrowd(s sender, first uint32, users, writers int) *crowd {
	return &crowd{sender: s, first: first, users: users, pages: make([][]entry, writers), failed: map[string]int{}}
}

// write writes for the writer's users in turn until ctx ends. A write under way
// then is not interrupted.
func (c *crowd) write(ctx context.Context, pacer *pace.Pacer, n int) error {
	writers := len(c.pages)
	mine := (c.users - n + writers - 1) / writers
	for turn := 0; ; turn++ {
		if _, ok := pacer.Wait(ctx); !ok {
			return nil
		}
		if c.taken.Add(1) > entriesMax {
			return fmt.Errorf("more than %d writes: want a lower rate, or fewer promotions", entriesMax)
		}
		e := entry{user: c.first + uint32(n+turn%mine*writers), number: uint32(turn/mine + 1), began: time.Now()}
		var err error
		e.outcome, err = c.send(context.WithoutCancel(ctx), e)
		e.ended = time.Now()
		if err != nil {
			c.note(err)
		}
		c.pages[n] = append(c.pages[n], e)
		c.answers.Add(1)
	}
}

// note counts a failure by its reason.
func (c *crowd) note(err error) {
	reason := strings.TrimSpace(number.ReplaceAllString(err.Error(), "N"))
	reason = reason[:min(len(reason), reasonBytes)]
	if status, ok := strings.CutPrefix(err.Error(), "status "); ok && len(status) > 3 { // which says more than N
		reason = strings.Replace(reason, "status N", "status "+status[:3], 1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) < reasonsMax || c.failed[reason] > 0 {
		c.failed[reason]++
	}
}

// wait waits for so many answers.
func (c *crowd) wait(ctx context.Context, answers int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, firstMax, fmt.Errorf("not %d answers within %s", answers, firstMax))
	defer cancel()
	ticks := time.NewTicker(firstPoll)
	defer ticks.Stop()
	for c.answers.Load() < int64(answers) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticks.C:
		}
	}
	return nil
}

// all returns every write; the writers must have ended.
func (c *crowd) all() []entry {
	var all []entry
	for _, page := range c.pages {
		all = append(all, page...)
	}
	return all
}

// reasons are why requests failed; the writers must have ended.
func (c *crowd) reasons() map[string]int { return c.failed }
