package push

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
)

const (
	// askPause is the shortest time between two questions to a proxy that
	// answered the last one with nothing new and did not keep it open.
	askPause = 100 * time.Millisecond
	// askPauseMax bounds the growing pause between questions to a proxy that
	// does not answer. So it gets the map at most that long after it is back.
	askPauseMax = 1 * time.Second
	// repeatPause and repeatPauseMax bound the growing pause between two tries
	// to send a map that a proxy does not take.
	repeatPause    = 500 * time.Millisecond
	repeatPauseMax = 30 * time.Second
)

// WatchAcks calls changed with all acknowledgements, at once and whenever one
// changes. In the first call, proxies that have not answered yet are listed
// with version 0 and say so. For as long as it runs, a proxy that answers and
// does not run the newest map is sent it.
func (s *Store) WatchAcks(ctx context.Context, changed func([]bucketmap.Ack) bool) error {
	stopped, cancel := context.WithCancel(ctx)
	defer cancel()
	group, watching := errgroup.WithContext(stopped)
	w := &ackWatch{
		store:   s,
		updates: make(chan update),
		proxies: map[*proxy]*followed{},
		group:   group,
	}
	err := w.run(watching, changed)
	cancel()
	failed := group.Wait()
	switch {
	case err == nil:
		return nil // changed ended it
	case ctx.Err() != nil:
		return ctx.Err()
	case failed != nil && !errors.Is(failed, context.Canceled):
		return failed
	default:
		return err
	}
}

// ackWatch is one WatchAcks. Its fields belong to the goroutine of run.
type ackWatch struct {
	store   *Store
	updates chan update
	group   *errgroup.Group
	local   []bucketmap.Ack
	proxies map[*proxy]*followed
}

// followed is a proxy that is being asked.
type followed struct {
	ack  bucketmap.Ack
	stop context.CancelFunc
}

// update is news of one proxy, or, with no proxy, of the folder's readers.
type update struct {
	proxy *proxy
	acks  []bucketmap.Ack
}

func (w *ackWatch) run(ctx context.Context, changed func([]bucketmap.Ack) bool) error {
	var err error
	if w.local, err = w.store.folder.Acks(ctx); err != nil {
		return err
	}
	if err := w.follow(ctx); err != nil {
		return err
	}
	w.group.Go(func() error {
		return w.store.folder.WatchAcks(ctx, func(acks []bucketmap.Ack) bool { return w.tell(ctx, update{nil, acks}) })
	})
	w.group.Go(func() error { return w.store.keepFresh(ctx) })
	recheck := time.NewTicker(w.store.options.Recheck)
	defer recheck.Stop()
	var reported []bucketmap.Ack
	for first := true; ; first = false {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if acks := w.all(); first || !slices.Equal(acks, reported) {
			reported = acks
			if !changed(slices.Clone(acks)) {
				return nil
			}
		}
		select {
		case u := <-w.updates:
			w.take(u)
			w.takeMore()
		case <-recheck.C:
			// Where the proxies cannot be found now, those of before are asked.
			_ = w.follow(ctx)
		case <-ctx.Done():
		}
	}
}

// takeMore takes the updates that wait already: of a thousand proxies that
// answer together, changed need not hear one by one.
func (w *ackWatch) takeMore() {
	for {
		select {
		case u := <-w.updates:
			w.take(u)
		default:
			return
		}
	}
}

func (w *ackWatch) take(u update) {
	if u.proxy == nil {
		w.local = u.acks
		return
	}
	if f := w.proxies[u.proxy]; f != nil { // else it is no proxy of the fleet any more
		f.ack = u.acks[0]
	}
}

func (w *ackWatch) tell(ctx context.Context, u update) bool {
	select {
	case w.updates <- u:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *ackWatch) all() []bucketmap.Ack {
	acks := slices.Clone(w.local)
	for _, f := range w.proxies {
		acks = append(acks, f.ack)
	}
	slices.SortFunc(acks, compareAcks)
	return acks
}

// follow begins to ask new proxies, and stops asking those that are no longer
// of the fleet.
func (w *ackWatch) follow(ctx context.Context) error {
	fleet, err := w.store.fleet(ctx)
	if err != nil {
		return err
	}
	for p, f := range w.proxies {
		if !slices.Contains(fleet, p) {
			f.stop()
			delete(w.proxies, p)
		}
	}
	for _, p := range fleet {
		if w.proxies[p] != nil {
			continue
		}
		asking, stop := context.WithCancel(ctx)
		w.proxies[p] = &followed{ack: missing(p, errNotAskedYet), stop: stop}
		w.group.Go(func() error {
			defer stop()
			w.store.keepAsking(asking, p, func(ack bucketmap.Ack) bool {
				return w.tell(asking, update{p, []bucketmap.Ack{ack}})
			})
			return nil
		})
	}
	return nil
}

// keepFresh learns of what other processes publish, until ctx ends.
func (s *Store) keepFresh(ctx context.Context) error {
	// Decoding a large map takes longer than most waits for acknowledgements
	// last: a store that knows a map does not begin with it.
	if s.newest() == nil {
		_ = s.refresh(ctx) // the folder's own watchers and publishers tell of it
	}
	recheck := time.NewTicker(s.options.Recheck)
	defer recheck.Stop()
	for {
		select {
		case <-recheck.C:
			_ = s.refresh(ctx) // as above
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// keepAsking asks a proxy again and again, tells each answer, and sends the
// newest map where it does not run it, until ctx ends or tell returns false.
func (s *Store) keepAsking(ctx context.Context, p *proxy, tell func(bucketmap.Ack) bool) {
	failing := exponential(askPause, askPauseMax)
	again := repeater{store: s, proxy: p, pauses: exponential(repeatPause, repeatPauseMax)}
	var q question
	var told bucketmap.Ack
	for {
		asked := time.Now()
		ack, tag, err := s.ask(ctx, p, q)
		if ctx.Err() != nil {
			return
		}
		nothingNew := errors.Is(err, errNothingNew)
		if err != nil && !nothingNew {
			q = question{}
			if ack = missing(p, err); ack != told && !tell(ack) || !pause(ctx, failing.NextBackOff()) {
				return
			}
			told = ack
			continue
		}
		failing.Reset()
		if !nothingNew {
			q = question{tag: tag, after: ack.Version, wait: s.options.AckWait}
			if nothingNew = ack == told; !nothingNew && !tell(ack) {
				return
			}
			told = ack
		}
		sent := again.send(ctx)
		if nothingNew && !sent && time.Since(asked) < askPause && !pause(ctx, askPause) {
			return
		}
	}
}

func exponential(first, most time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = first, most
	b.Reset()
	return b
}

// pause waits, and says whether to go on.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// repeater sends the newest map to a proxy that answers and does not run it.
type repeater struct {
	store   *Store
	proxy   *proxy
	pauses  *backoff.ExponentialBackOff
	refused *message  // the map that was not taken
	next    time.Time // when to try it again
}

// send says whether it sent something.
func (r *repeater) send(ctx context.Context) bool {
	m := r.store.newest()
	known := r.proxy.known()
	if m == nil || !known.asked || m.isRunBy(known) {
		return false
	}
	if m == r.refused && time.Now().Before(r.next) {
		return false
	}
	if m != r.refused {
		r.pauses.Reset()
	}
	if err := r.store.sendTo(ctx, r.proxy, m); err != nil {
		r.refused, r.next = m, time.Now().Add(r.pauses.NextBackOff()) // the acknowledgement says why
		return true
	}
	r.refused = nil
	return true
}
