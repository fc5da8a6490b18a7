package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"drover/bucketmap"
)

// take waits for the turn to change what is in force.
func (t *Table) take(ctx context.Context) error { return takeTurn(ctx, t.turn) }

func takeTurn(ctx context.Context, turn chan struct{}) error {
	select {
	case turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("another map is coming into force: %w", ctx.Err())
	}
}

func (t *Table) give() { <-t.turn }

// Offer puts a map in force if it may be, and acknowledges. It returns why the
// map was refused: a *bucketmap.RefusedError, or ctx's error when another map
// was coming into force. When ctx ends while requests are still going out by
// the map before, the acknowledgement is left to Run.
func (t *Table) Offer(ctx context.Context, next *bucketmap.Snapshot) error {
	if err := t.take(ctx); err != nil {
		return err
	}
	defer t.give()
	begun := time.Now()
	current := t.Current()
	if current != nil && next != nil && current.Version() == next.Version() && current.Digest() == next.Digest() {
		t.kept = false
		t.forgetRefusal()
		t.settle(ctx) // else done already
		return nil
	}
	if err := t.guard.Check(current, next); err != nil {
		err = t.blameCache(err)
		t.refuse(err)
		return err
	}
	t.kept = false
	t.swap(next.WithUsers(t.users), time.Now().UTC())
	t.reportSwap(next)
	t.settle(ctx)
	t.options.Metrics.MapSwapSeconds.Observe(time.Since(begun).Seconds())
	t.settleCohorts()
	t.saves.put(next)
	return nil
}

// blameCache names the cache in a refusal where the map in force is the one that
// may be wrong: its bucket count is not the store's, and it came from a file. It
// needs the turn.
func (t *Table) blameCache(err error) error {
	var refused *bucketmap.RefusedError
	if !t.kept || !errors.As(err, &refused) || refused.Rule != bucketmap.RuleBuckets {
		return err
	}
	told := *refused
	told.Remedy = fmt.Sprintf("the bucket count of a map never changes, and the map in force is the last good one of this proxy, from %s: "+
		"if the store is right, delete that file and restart the proxy", t.options.Cache)
	return &told
}

// SetUsers puts more whitelisted users in force, beside those of every map; nil
// takes them away. Their datacenter must be one of Options.Datacenters.
func (t *Table) SetUsers(ctx context.Context, users *bucketmap.Whitelist) error {
	if err := takeTurn(ctx, t.listing); err != nil {
		return err
	}
	defer func() { <-t.listing }()
	listed := t.compareUsers(users) // before the turn: maps do not wait for it
	if err := t.take(ctx); err != nil {
		return err
	}
	defer t.give()
	t.users = users
	if f := t.current.Load(); f != nil {
		t.listCohorts(f.snapshot, listed)
		t.swap(f.snapshot.WithUsers(users), f.since)
	}
	return nil
}

// swap needs the turn.
func (t *Table) swap(next *bucketmap.Snapshot, since time.Time) {
	old := t.current.Load()
	t.changeCohorts(old, next)
	t.current.Store(&force{snapshot: next, since: since, over: make(chan struct{})})
	// After the swap: who wakes finds the new map.
	if old != nil {
		t.leaving = append(t.leaving, old)
		close(old.over)
	}
	if t.options.OnSwap != nil {
		t.options.OnSwap(next)
	}
}

func (t *Table) reportSwap(next *bucketmap.Snapshot) {
	t.mu.Lock()
	t.mu.refused = Refusal{}
	t.mu.Unlock()
	t.options.Metrics.MapVersion.Set(float64(next.Version()))
	t.options.Metrics.MapChanged.SetToCurrentTime()
	t.options.Log.Info("map in force", zap.Uint64("version", uint64(next.Version())), zap.Int("holds", len(next.Holds())))
}

// settle waits until nobody is sending by an older map, then acknowledges the
// one in force, once. When ctx ends before, Run goes on with it. It needs the
// turn.
func (t *Table) settle(ctx context.Context) {
	if !t.waitSent(ctx) {
		select {
		case t.late <- struct{}{}:
		default: // Run was asked already
		}
		return
	}
	f := t.current.Load()
	ack := bucketmap.Ack{Proxy: t.options.Proxy, Version: f.snapshot.Version(), Digest: f.snapshot.Digest(), Since: f.since}
	t.mu.Lock()
	known := t.mu.settled == ack
	t.mu.settled = ack
	t.mu.Unlock()
	if !known {
		t.acknowledge()
	}
}

// settleLate does what an Offer's context left no time for.
func (t *Table) settleLate(ctx context.Context) error {
	for {
		select {
		case <-t.late:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := t.take(ctx); err != nil {
			return err
		}
		t.settle(ctx)
		t.give()
	}
}

// sentPoll is how often the swap looks whether the last request by the old map
// is sent. Most often none is: a head is written in microseconds.
const sentPoll = 100 * time.Microsecond

// waitSent waits until nobody is sending by an older map, and says whether that
// is so. Writing a head is bounded by the idle timeout, and so is this. It needs
// the turn.
func (t *Table) waitSent(ctx context.Context) bool {
	sent := func(f *force) bool { return f.sending.Load() == 0 }
	t.leaving = slices.DeleteFunc(t.leaving, sent)
	if len(t.leaving) == 0 {
		return true
	}
	tick := time.NewTicker(sentPoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
		if t.leaving = slices.DeleteFunc(t.leaving, sent); len(t.leaving) == 0 {
			return true
		}
	}
}

// Acknowledgement returns what this proxy says of the map that it runs. Its
// version is 0 when there is none.
func (t *Table) Acknowledgement() bucketmap.Ack {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acknowledgement()
}

// acknowledgement needs t.mu.
func (t *Table) acknowledgement() bucketmap.Ack {
	ack := t.mu.settled
	ack.Refused, ack.Reason = t.mu.refused.Version, t.mu.refused.Reason
	return ack
}

// acknowledge gives the acknowledgement to sendAcks.
func (t *Table) acknowledge() {
	t.mu.Lock()
	defer t.mu.Unlock() // so that the last one put is the newest
	t.acks.put(t.acknowledgement())
}

// forgetRefusal forgets the last refusal: the newest map is the one in force.
func (t *Table) forgetRefusal() {
	t.mu.Lock()
	was := t.mu.refused
	t.mu.refused = Refusal{}
	t.mu.Unlock()
	if was.Reason != "" {
		t.acknowledge()
	}
}

// refuse keeps the reason, counts it and tells it in an acknowledgement.
func (t *Table) refuse(reason error) {
	now := Refusal{Rule: bucketmap.RuleUnreadable, Reason: shortened(reason.Error()), When: time.Now().UTC()}
	var refused *bucketmap.RefusedError
	if errors.As(reason, &refused) {
		now.Rule, now.Version = refused.Rule, refused.Version
	}
	t.mu.Lock()
	known := t.mu.refused.Version == now.Version && t.mu.refused.Reason == now.Reason
	if !known {
		t.mu.refused = now
	}
	t.mu.Unlock()
	if known {
		return // the watch came back to the same map
	}
	t.options.Metrics.MapRefused(now.Rule)
	t.options.Log.Error("map refused; going on with the one in force", zap.Uint64("version", uint64(now.Version)),
		zap.String("rule", string(now.Rule)), zap.String("error", now.Reason))
	t.acknowledge()
}

// reasonMax bounds the reason in bytes: a map can have very many problems, and
// an acknowledgement has to fit any store.
const reasonMax = 4 << 10

func shortened(text string) string {
	if len(text) <= reasonMax {
		return text
	}
	return strings.ToValidUTF8(text[:reasonMax], "") + " …"
}
