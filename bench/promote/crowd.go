package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	bodyMax   = 64 << 10
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

func userID(user uint32) string { return fmt.Sprintf("u%d", user) }

// requestID is the id of a user's write: its number, from 1.
func requestID(number uint32) string { return fmt.Sprint(number) }

// crowd is the writers. Each has users of its own, so no write of a user waits
// for another one.
type crowd struct {
	options
	url     string
	client  *http.Client
	pages   [][]entry // by writer, each its own
	answers atomic.Int64
	taken   atomic.Int64

	mu     sync.Mutex
	failed map[string]int // by reason
}

func newCrowd(address string, o options) *crowd {
	return &crowd{options: o, url: "http://" + address + "/1/user/-/steps", pages: make([][]entry, o.writers), failed: map[string]int{},
		client: &http.Client{Timeout: answerMax, Transport: &http.Transport{MaxIdleConnsPerHost: o.writers, DisableCompression: true}}}
}

func (c *crowd) close() { c.client.CloseIdleConnections() }

// write writes for the writer's users in turn until ctx ends. A write under way
// then is not interrupted.
func (c *crowd) write(ctx context.Context, pacer *pace.Pacer, n int) error {
	mine := (c.users - n + c.writers - 1) / c.writers
	for turn := 0; ; turn++ {
		if _, ok := pacer.Wait(ctx); !ok {
			return nil
		}
		if c.taken.Add(1) > entriesMax {
			return fmt.Errorf("more than %d writes: want a lower rate, or fewer promotions", entriesMax)
		}
		e := entry{user: uint32(n + turn%mine*c.writers), number: uint32(turn/mine + 1), began: time.Now()}
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

// send sends one write, once. The error says why it was not acknowledged.
func (c *crowd) send(ctx context.Context, e entry) (outcome, error) {
	body := fmt.Sprintf(`{"request_id":%q,"day":%q,"steps":1}`, requestID(e.number), day)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return refused, err
	}
	req.Header.Set("X-User-Id", userID(e.user))
	resp, err := c.client.Do(req)
	if err != nil {
		return unknown, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, bodyMax))
	if err != nil {
		return unknown, fmt.Errorf("status %d: %w", resp.StatusCode, err)
	}
	return judgeAnswer(resp.StatusCode, text)
}

// judgeAnswer says what an answer makes of a write.
func judgeAnswer(status int, text []byte) (outcome, error) {
	var answer struct {
		Outcome   string `json:"outcome"`
		Duplicate bool   `json:"duplicate"`
	}
	err := json.Unmarshal(text, &answer)
	switch {
	case status == http.StatusOK && err == nil && answer.Duplicate:
		// It was sent once: somebody else sent it again.
		return acknowledged, errors.New("status 200: the application had it already")
	case status == http.StatusOK && err == nil:
		return acknowledged, nil
	case status != http.StatusOK && err == nil && answer.Outcome == "not_committed":
		return refused, fmt.Errorf("status %d: %s", status, text)
	}
	return unknown, fmt.Errorf("status %d: %s", status, text)
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
