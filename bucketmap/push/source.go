package push

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drover/bucketmap"
)

// Load returns the newest map that came, or the one in force; ErrNoMap where
// there is neither.
func (r *Receiver) Load(ctx context.Context) (*bucketmap.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	newest := r.mu.newest
	r.mu.Unlock()
	return r.orCurrent(newest)
}

func (r *Receiver) orCurrent(newest *bucketmap.Snapshot) (*bucketmap.Snapshot, error) {
	if newest == nil && r.options.Current != nil {
		newest = r.options.Current()
	}
	if newest == nil {
		return nil, fmt.Errorf("nothing was pushed to this proxy yet: %w", bucketmap.ErrNoMap)
	}
	return newest, nil
}

// Watch calls changed with the newest map, at once and with each that comes.
// A PUT that cannot be read, or is not signed by a known key, gives a nil
// snapshot and the reason, a *bucketmap.RefusedError.
func (r *Receiver) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	newest, given, fails, wake := r.mu.newest, r.mu.given, r.mu.fails, r.mu.changed
	r.mu.Unlock()
	changed(r.orCurrent(newest))
	for {
		select {
		case <-wake:
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		r.mu.Lock()
		lost := r.mu.fails != fails
		came := r.mu.given != given
		var failed error
		newest, failed = r.mu.newest, r.mu.failed
		given, fails, wake = r.mu.given, r.mu.fails, r.mu.changed
		r.mu.Unlock()
		if lost {
			changed(nil, failed)
		}
		if came { // last, so that it is what the reader goes on with
			changed(newest, nil)
		}
	}
}

// Ack makes known what this proxy runs. The proxy id is the Receiver's.
func (r *Receiver) Ack(ctx context.Context, ack bucketmap.Ack) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ack.Proxy != r.options.Proxy {
		return fmt.Errorf("acknowledge the map: proxy id %q, but this is the receiver of %q: give both the same id", ack.Proxy, r.options.Proxy)
	}
	ack.Since = ack.Since.UTC()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.ack = ack
	r.mu.acks++
	if m := r.mu.newest; m != nil && ack.Version == m.Version() && runs(ack, m) {
		r.mu.good = m
	}
	r.wake()
	return nil
}

// wake needs r.mu.
func (r *Receiver) wake() {
	close(r.mu.changed)
	r.mu.changed = make(chan struct{})
}

// give gives a map to watchers and to Load.
func (r *Receiver) give(next *bucketmap.Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.newest = next
	r.mu.given++
	r.wake()
}

// inForce says that Offer has put a map in force, and returns what is
// acknowledged: Offer's caller need not wait for Ack, which is on its way.
func (r *Receiver) inForce(next *bucketmap.Snapshot) bucketmap.Ack {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.newest, r.mu.good = next, next
	r.mu.given++
	if !runs(r.mu.ack, next) {
		r.mu.ack = bucketmap.Ack{Proxy: r.options.Proxy, Version: next.Version(), Digest: next.Digest(), Since: time.Now().UTC()}
	}
	r.wake()
	return r.mu.ack
}

// current returns the map that deltas change, nil for none.
func (r *Receiver) current() *bucketmap.Snapshot {
	if r.options.Current != nil {
		return r.options.Current()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.good
}

// runs says whether an acknowledgement is of this map or a later one.
func runs(ack bucketmap.Ack, m *bucketmap.Snapshot) bool {
	if ack.Version != m.Version() || ack.Digest == (bucketmap.Digest{}) {
		return ack.Version >= m.Version()
	}
	return ack.Digest == m.Digest()
}

// report gives watchers the reason why a PUT cannot be used.
func (r *Receiver) report(why *refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var refused *bucketmap.RefusedError
	if !errors.As(why.err, &refused) {
		refused = &bucketmap.RefusedError{Rule: why.rule, Detail: why.err.Error(), Remedy: why.remedy}
	}
	r.mu.failed = refused
	r.mu.fails++
	r.wake()
}

// acknowledged returns the last acknowledgement, its number, and what is
// closed at the next change.
func (r *Receiver) acknowledged() (ack bucketmap.Ack, number uint64, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.ack, r.mu.acks, r.mu.changed
}
