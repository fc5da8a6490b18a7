package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drover/bucketmap"
)

const (
	// stageTries bounds PrepareHome, as bucketmap.Update is bounded: each loss
	// means that somebody else published.
	stageTries = 20
	// discardMax bounds Discard, which nobody should wait for: it removes a few
	// files at most.
	discardMax = 2 * time.Second
)

// PreparedHome is a new home that only needs to be put in force. It is not safe
// for concurrent use.
type PreparedHome struct {
	publisher *Publisher
	move      bucketmap.MoveID
	edit      func(*bucketmap.Draft) error

	staged bucketmap.Staged    // nil for none, or not any more
	next   *bucketmap.Snapshot // what is staged, or was published
	done   bool                // next is in force
}

// PrepareHome does what can be done of Home before the new home is one: it lets
// edit change the map in force, drops the holds of the move, passes the guard,
// and stages the result where the store is a bucketmap.Stager. Where it is none,
// the edit and the guard are still tried now, and Publish does the rest. edit may
// run several times, and must say what will be true when Publish is called.
//
// After an error nothing is staged. The caller publishes by Home then, or not at
// all: a refusal is one of Home, too.
func (p *Publisher) PrepareHome(ctx context.Context, move bucketmap.MoveID, edit func(*bucketmap.Draft) error) (*PreparedHome, error) {
	h := &PreparedHome{publisher: p, move: move, edit: edit}
	for range stageTries {
		err := h.stage(ctx)
		if err == nil {
			return h, nil
		}
		if !errors.Is(err, bucketmap.ErrConflict) {
			return nil, fmt.Errorf("prepare (%s): %w", whyHome(move), err)
		}
	}
	return nil, fmt.Errorf("prepare (%s): %w, %d times in a row", whyHome(move), bucketmap.ErrConflict, stageTries)
}

// stage is one try of PrepareHome.
func (h *PreparedHome) stage(ctx context.Context) error {
	p := h.publisher
	current, err := p.Store.Load(ctx)
	if err != nil {
		return err
	}
	draft := current.Edit()
	if err := p.resolved(homeEdit(h.move, h.edit))(draft); err != nil {
		if errors.Is(err, bucketmap.ErrNoEdit) {
			return nil // Publish asks again
		}
		return err
	}
	draft.Declare(current)
	next, err := draft.Snapshot()
	if err != nil {
		return err
	}
	if err := check(p.guard(0), current, next); err != nil {
		return err
	}
	stager, ok := p.Store.(bucketmap.Stager)
	if !ok {
		return nil
	}
	staged, err := stager.Stage(ctx, next, bucketmap.Change{Who: p.Who, Why: whyHome(h.move)})
	if err != nil {
		return err
	}
	h.staged, h.next = staged, next
	return nil
}

// Publish puts the new home in force and returns the map. Where another version
// came in between, or nothing is staged, it is Home with the same edit. Its
// errors are Home's: after bucketmap.ErrOutcomeUnknown it may or may not be in
// force, and after any other it is not. Called again after an error it is Home,
// which looks at the map in force; called again after success it does nothing.
func (h *PreparedHome) Publish(ctx context.Context) (*bucketmap.Snapshot, error) {
	if h.done {
		return h.next, nil
	}
	if staged := h.staged; staged != nil {
		h.staged = nil
		err := staged.Commit(ctx)
		if err == nil {
			h.done = true
			return h.next, nil
		}
		if !errors.Is(err, bucketmap.ErrConflict) {
			return nil, fmt.Errorf("publish (%s): %w", whyHome(h.move), err)
		}
	}
	snap, err := h.publisher.Home(ctx, h.move, h.edit)
	if err != nil {
		return nil, err
	}
	h.next, h.done = snap, true
	return snap, nil
}

// Discard clears away what is staged and was not published. What it cannot
// clear away is in nobody's way, and the next publisher does. After Publish, and
// on nil, it does nothing, so it may be deferred.
func (h *PreparedHome) Discard() {
	if h == nil || h.staged == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), discardMax)
	defer cancel()
	_ = h.staged.Discard(ctx)
	h.staged = nil
}
