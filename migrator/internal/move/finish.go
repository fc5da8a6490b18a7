package move

import (
	"context"
	"fmt"
	"strings"

	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
)

// Finish ends the soak on the operator's word: the buckets cannot go back any
// more without a copy, and the old home's rows are purged in small chunks. It
// also takes up a purge that was interrupted.
//
// It is refused with ErrReaders, and the move goes on soaking, while anything
// may still read from the old home: see wantNoReaders.
func (e *Engine) Finish(ctx context.Context, m *Move) error { return e.finish(ctx, m, "") }

// FinishForced is Finish without the checks for readers, for a reason that goes
// to the journal. That the buckets are not active where rows are deleted is
// checked all the same.
func (e *Engine) FinishForced(ctx context.Context, m *Move, why string) error {
	if why = strings.TrimSpace(why); why == "" {
		return fmt.Errorf("%w: want a reason", ErrState)
	}
	return e.finish(ctx, m, why)
}

// forcedNote begins the journal's note of a finish that was forced.
const forcedNote = "forced, readers were not looked for: "

func (e *Engine) finish(ctx context.Context, m *Move, force string) error {
	return e.takeOver(ctx, m, func(r *run) error {
		if m.State() != Soaking && (m.State() != Done || m.Purged) {
			return r.failed(fmt.Errorf("%w: only what is soaking can be finished", ErrState), "")
		}
		note := ""
		if force != "" {
			note = forcedNote + force
		} else if err := r.wantNoReaders(ctx); err != nil {
			return r.failed(err, "")
		}
		// Journaled before the first row is deleted: from here on nobody returns.
		if err := r.enter(ctx, Done, note); err != nil {
			return err
		}
		return r.removeOldHome(ctx)
	})
}

// purge goes on with a purge that was interrupted. A proxy may have come back
// meanwhile with an old map, so the readers are looked for again.
func (r *run) purge(ctx context.Context) error {
	forced, err := r.forced(ctx)
	if err != nil {
		return r.failed(err, "")
	}
	left, err := r.ours(ctx, r.from, fence.Moved)
	if err != nil {
		return r.failed(err, "")
	}
	if len(left) != 0 && !forced { // else there is nothing to delete, and others may have the buckets
		if err := r.wantNoReaders(ctx); err != nil {
			return r.failed(err, "")
		}
	}
	return r.removeOldHome(ctx)
}

// forced says whether the operator's word was given with force.
func (r *run) forced(ctx context.Context) (bool, error) {
	entries, err := r.journal.Entries(ctx, r.move.Record.Move)
	if err != nil {
		return false, err
	}
	forced := false
	for _, entry := range entries {
		forced = forced || isForced(entry)
	}
	return forced, nil
}

func isForced(e journal.Entry) bool {
	return State(e.State) == Done && strings.HasPrefix(e.Note, forcedNote)
}

// removeOldHome removes what the move left at the old home and frees the buckets
// for other moves.
func (r *run) removeOldHome(ctx context.Context) error {
	r.stopTail() // nothing may write there any more what is deleted
	if err := r.removeRows(ctx, r.from, fence.Moved, Done); err != nil {
		return r.failed(err, "")
	}
	r.crash("before_unclaim", Done)
	if err := r.setRows(ctx, r.to, fence.Active, fence.Active, fence.Token{}); err != nil {
		return r.failed(err, "")
	}
	if err := r.setRows(ctx, r.from, fence.Moved, fence.Moved, fence.Token{}); err != nil {
		return r.failed(err, "")
	}
	if err := r.forget(ctx); err != nil {
		return r.failed(err, "")
	}
	r.crash("after_unclaim", Done)
	r.move.Purged = true
	return r.enter(ctx, Done, "purged")
}
