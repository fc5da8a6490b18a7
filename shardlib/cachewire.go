package shardlib

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// expired as the expiry of a swap leaves nothing under the key. It is the only
// way to delete exactly what one saw.
const expired time.Duration = -1

// swapTries bounds a compare-and-swap loop. Each loss is another process's win
// on one user's one key.
const swapTries = 16

// begin registers a reader's turn before its placeholder can be seen.
func (c *cache) begin(n nonce) *fill {
	f := &fill{done: make(chan struct{})}
	c.mu.Lock()
	c.mu.fills[n] = f
	c.mu.Unlock()
	return f
}

// end lets those who joined go on.
func (c *cache) end(n nonce, f *fill) {
	c.mu.Lock()
	delete(c.mu.fills, n)
	c.mu.Unlock()
	close(f.done)
}

// join waits for the reader of a placeholder if it is in this process. ok is
// false if it is not, or if it failed.
func (c *cache) join(ctx context.Context, n nonce) (value loaded, ok bool) {
	c.mu.Lock()
	f := c.mu.fills[n]
	c.mu.Unlock()
	if f == nil {
		return loaded{}, false
	}
	select {
	case <-ctx.Done():
		return loaded{}, false
	case <-f.done:
		return f.value, f.ok
	}
}

// mark puts a writer's mark on a key.
func (c *cache) mark(id string, n nonce) error {
	for range swapTries {
		item, err := c.writes.get(id)
		if err != nil {
			return err
		}
		var done bool
		if item == nil {
			done, err = c.writes.add(id, withMark(nil, n), c.options.MarkTTL)
		} else if _, done = withoutMark(item.Value, n); !done { // not there already, by an exchange whose answer was lost
			done, err = c.writes.swap(item, withMark(item.Value, n), c.options.MarkTTL)
		}
		if err != nil || done {
			return err
		}
	}
	return fmt.Errorf("cache key %q changed %d times meanwhile", id, swapTries)
}

// unmark takes a writer's mark off a key. Where it is not there any more, a
// reader may have cached an old value, which goes too.
func (c *cache) unmark(id string, n nonce) error {
	for range swapTries {
		item, err := c.writes.get(id)
		if err != nil || item == nil {
			return err
		}
		rest, found := withoutMark(item.Value, n)
		if !found && isMarked(item.Value) {
			return nil // of other writers, who will see to it
		}
		ttl := c.options.MarkTTL
		if len(rest) <= 1 {
			rest, ttl = nil, expired
		}
		if done, err := c.writes.swap(item, rest, ttl); err != nil || done {
			return err
		}
	}
	return fmt.Errorf("cache key %q changed %d times meanwhile", id, swapTries)
}

// wire is the exchanges with the memcached servers of one datacenter, each
// within one time.
type wire struct {
	client *memcache.Client
}

func newWire(servers memcache.ServerSelector, timeout time.Duration, idle int) *wire {
	w := &wire{client: memcache.NewFromSelector(servers)}
	w.client.Timeout = timeout
	w.client.MaxIdleConns = idle
	return w
}

func (w *wire) close() error { return w.client.Close() }

// get returns nil for a key with nothing under it.
func (w *wire) get(id string) (item *memcache.Item, err error) {
	err = w.exchange(func() (err error) {
		item, err = w.client.Get(id)
		return err
	})
	if errors.Is(err, memcache.ErrCacheMiss) {
		return nil, nil
	}
	return item, err
}

// add returns false if there is something under the key.
func (w *wire) add(id string, entry []byte, ttl time.Duration) (bool, error) {
	err := w.exchange(func() error {
		return w.client.Add(&memcache.Item{Key: id, Value: entry, Expiration: seconds(ttl)})
	})
	if errors.Is(err, memcache.ErrNotStored) {
		return false, nil
	}
	return err == nil, err
}

// swap returns false if what is under the key is not the item any more.
func (w *wire) swap(item *memcache.Item, entry []byte, ttl time.Duration) (bool, error) {
	err := w.exchange(func() error {
		return w.client.CompareAndSwap(&memcache.Item{Key: item.Key, Value: entry, Expiration: seconds(ttl), CasID: item.CasID})
	})
	if errors.Is(err, memcache.ErrCASConflict) || errors.Is(err, memcache.ErrCacheMiss) || errors.Is(err, memcache.ErrNotStored) {
		return false, nil
	}
	return err == nil, err
}

// exchange tries once more on a new connection when an idle one was dead, as
// all of them are after a restart. What was sent may have been carried out:
// every caller can tell by its nonce.
func (w *wire) exchange(do func() error) error {
	err := do()
	var op *net.OpError
	dead := errors.Is(err, io.EOF) || errors.As(err, &op) && op.Op != "dial" && !op.Timeout()
	if !dead {
		return err
	}
	_ = w.client.Close() // the idle ones alone; the client goes on
	return do()
}

// seconds rounds up, and keeps memcached from taking a span for a date.
func seconds(ttl time.Duration) int32 {
	if ttl < 0 {
		return -1
	}
	return int32((min(ttl, ttlMax) + time.Second - 1) / time.Second)
}
