package routing

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
)

const (
	loadWaitMax = 5 * time.Second
	retryFirst  = 100 * time.Millisecond // doubled after each failure
	retryMax    = 5 * time.Second
	ackWaitMax  = 5 * time.Second
)

// Start puts in force the last good map of this proxy's own disk, then the
// store's. It fails only when ctx ends: a proxy with neither waits for a map,
// not ready.
func (t *Table) Start(ctx context.Context) error {
	cached, err := t.readCache()
	switch {
	case err != nil:
		t.options.Log.Warn("the last good map cannot be used", zap.String("path", t.options.Cache), zap.Error(err))
	case cached != nil:
		t.swap(cached)
	}
	load, cancel := context.WithTimeout(ctx, loadWaitMax)
	defer cancel()
	stored, err := t.options.Source.Load(load)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		t.unreadable(err)
	default:
		_ = t.Offer(ctx, stored) // Offer has reported it
	}
	if t.Current() != nil {
		t.acknowledge() // of the cached map, when the store's did not replace it
	}
	return nil
}

// Run watches the store, acknowledges and saves until ctx ends, and returns
// nil then.
func (t *Table) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.watch(ctx) })
	group.Go(func() error { return t.sendAcks(ctx) })
	group.Go(func() error { return t.save(ctx) })
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// watch begins again after every failure of the store.
func (t *Table) watch(ctx context.Context) error {
	wait := retryFirst
	for {
		err := t.options.Source.Watch(ctx, func(next *bucketmap.Snapshot, err error) {
			if err != nil || next == nil {
				t.unreadable(err)
				return
			}
			wait = retryFirst
			_ = t.Offer(ctx, next) // Offer has reported it
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t.options.Log.Warn("the watch of the store ended; beginning again", zap.Error(err), zap.Duration("wait", wait))
		if err := pause(ctx, &wait); err != nil {
			return err
		}
	}
}

// unreadable deals with a store that is down, empty, or holds what is no map.
func (t *Table) unreadable(err error) {
	if err == nil {
		err = errors.New("the store gave no map and no reason")
	}
	if errors.Is(err, bucketmap.ErrNoMap) && t.Current() == nil {
		t.options.Log.Info("no map has been published yet")
		return
	}
	t.refuse(0, err)
}

func (t *Table) acknowledge() {
	ack := bucketmap.Ack{Proxy: t.options.Proxy}
	if f := t.current.Load(); f != nil {
		ack.Version, ack.Since = f.snapshot.Version(), f.since
	}
	t.mu.Lock()
	ack.Refused, ack.Reason = t.mu.refused.Version, t.mu.refused.Reason
	t.mu.Unlock()
	t.acks.put(ack)
}

// sendAcks tells the store, the newest acknowledgement only, and again until
// it takes it.
func (t *Table) sendAcks(ctx context.Context) error {
	wait := retryFirst
	for {
		ack, err := t.acks.take(ctx)
		if err != nil {
			return err
		}
		for {
			call, cancel := context.WithTimeout(ctx, ackWaitMax)
			err = t.options.Source.Ack(call, ack)
			cancel()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				wait = retryFirst
				break
			}
			t.options.Metrics.AckErrors.Inc()
			t.options.Log.Warn("the store took no acknowledgement; trying again", zap.Error(err), zap.Duration("wait", wait))
			if err := pause(ctx, &wait); err != nil {
				return err
			}
			if !t.acks.empty() {
				break // a newer one is due
			}
		}
	}
}

func pause(ctx context.Context, wait *time.Duration) error {
	timer := time.NewTimer(*wait)
	defer timer.Stop()
	*wait = min(2**wait, retryMax)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
