package routing

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/internal/pause"
)

const (
	loadWaitMax = 5 * time.Second
	retryFirst  = 100 * time.Millisecond // longer after each failure
	retryMax    = 5 * time.Second
	ackWaitMax  = 5 * time.Second
)

// Start puts in force the last good map of this proxy's own disk, then the
// store's. It fails only when ctx ends, and with ErrStuck when the store does not
// come back in time: the last good map is in force then, and Run goes on. A proxy
// with neither waits for a map, not ready.
func (t *Table) Start(ctx context.Context) error {
	if err := t.startFromCache(ctx); err != nil {
		return err
	}
	load, cancel := context.WithTimeout(ctx, loadWaitMax)
	defer cancel()
	stored, err := Await(load, t.options.Source.Load)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrStuck):
		t.unreadable(err)
		return err
	case errors.Is(err, bucketmap.ErrNoMap):
		t.options.Log.Info("no map has been published yet", zap.Bool("last_good_map", t.Current() != nil))
	case err != nil:
		t.unreadable(err)
	default:
		_ = t.Offer(ctx, stored) // Offer has reported it
	}
	return nil
}

// startFromCache puts the last good map in force, unless one was pushed already.
func (t *Table) startFromCache(ctx context.Context) error {
	cached, err := t.readCache()
	if err != nil {
		t.options.Metrics.MapCacheErrors.Inc()
		t.options.Log.Warn("the last good map cannot be used", zap.String("path", t.options.Cache), zap.Error(err))
	}
	if cached == nil {
		return nil
	}
	if err := t.take(ctx); err != nil {
		return err
	}
	defer t.give()
	if t.Current() != nil {
		return nil
	}
	t.restoreCohorts(cached)
	t.swap(cached.WithUsers(t.users), time.Now().UTC())
	t.kept = true
	t.reportSwap(cached)
	t.settle(ctx)
	return nil
}

// Run watches the store, acknowledges and saves until ctx ends, and returns
// nil then, at most stuckWaitMax after a call of the store that does not end.
func (t *Table) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{t.watch, t.sendAcks, t.settleLate, t.save} {
		group.Go(func() error { return part(ctx) })
	}
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// watch begins again after every failure of the store.
func (t *Table) watch(ctx context.Context) error {
	waits := newWaits()
	for {
		err := t.watchOnce(ctx, waits)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = errors.New("the watch of the store ended")
		}
		t.unreadable(err)
		if err := pause.For(ctx, waits.NextBackOff()); err != nil {
			return err
		}
	}
}

// watchOnce watches until the store fails or ctx ends.
func (t *Table) watchOnce(ctx context.Context, waits *backoff.ExponentialBackOff) error {
	return awaitError(ctx, func(ctx context.Context) error {
		return t.options.Source.Watch(ctx, func(next *bucketmap.Snapshot, err error) {
			if ctx.Err() != nil {
				return // nobody waits for this watch any more
			}
			if err != nil || next == nil {
				t.unreadable(err)
				return
			}
			waits.Reset()
			t.readable()
			_ = t.Offer(ctx, next) // Offer has reported it
		})
	})
}

// readable forgets why the store could not be read.
func (t *Table) readable() {
	t.mu.Lock()
	was := t.mu.store
	t.mu.store = ""
	t.mu.Unlock()
	if was != "" {
		t.options.Log.Info("the store can be read again")
	}
}

// unreadable deals with a store that is down, empty, or holds what is no map.
func (t *Table) unreadable(err error) {
	var refused *bucketmap.RefusedError
	switch {
	case err == nil:
		err = errors.New("the store gave no map and no reason")
	case errors.As(err, &refused):
		t.readable()
		t.refuse(err)
		return
	case errors.Is(err, bucketmap.ErrNoMap) && t.Current() == nil:
		t.readable()
		t.options.Log.Info("no map has been published yet")
		return
	}
	t.options.Metrics.MapStoreErrors.Inc()
	t.mu.Lock()
	known := t.mu.store == err.Error()
	t.mu.store = err.Error()
	t.mu.Unlock()
	if !known {
		t.options.Log.Warn("the store cannot be read; going on with the map in force, and trying again", zap.Error(err))
	}
}

// sendAcks gives acknowledgements until ctx ends, and waits no longer for one
// that does not come back then. One goroutine for all: each new one would grow
// its stack anew, with every version.
func (t *Table) sendAcks(ctx context.Context) error {
	err := awaitError(ctx, t.giveAcks)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// giveAcks tells the store, the newest acknowledgement only, and again until
// it takes it.
func (t *Table) giveAcks(ctx context.Context) error {
	waits := newWaits()
	for {
		ack, err := t.acks.take(ctx)
		if err != nil {
			return err
		}
		for {
			err = t.giveAck(ctx, ack)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				waits.Reset()
				break
			}
			t.options.Metrics.AckErrors.Inc()
			t.options.Log.Warn("the store took no acknowledgement; trying again", zap.Error(err))
			if err := pause.For(ctx, waits.NextBackOff()); err != nil {
				return err
			}
			if !t.acks.empty() {
				break // a newer one is due
			}
		}
	}
}

func (t *Table) giveAck(ctx context.Context, ack bucketmap.Ack) error {
	call, cancel := context.WithTimeout(ctx, ackWaitMax)
	defer cancel()
	return t.options.Source.Ack(call, ack)
}

func newWaits() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = retryFirst, retryMax
	b.Reset()
	return b
}
