package promote

import (
	"context"
	"errors"
	"fmt"

	"drover/bucketmap"
	"drover/migrator/internal/publish"
	"drover/shardlib/fence"
)

// publishing makes the shard's new datacenter known. The epoch is that of the
// row on the new primary. It may be entered again.
func (r *run) publishing(ctx context.Context) (State, error) {
	row, err := r.ownRow(ctx)
	if err != nil {
		return "", err
	}
	end := r.beginHooks(ctx, AfterCommit)
	defer end()
	r.crash("before_map", Publishing)
	r.tell("map", textHome(r.promotion.Detail))
	if staged := r.staged; staged != nil { // and done, since the commit point
		<-staged.done
		_, err = staged.home.Publish(ctx)
	} else {
		_, err = r.Map.Home(ctx, r.promotion.Record.Move, newHome(r.promotion.Detail, row.Epoch))
	}
	r.crash("after_map", Publishing)
	if err != nil {
		return "", err
	}
	r.stallEnded(StallSwitched)
	return Reversing, nil
}

// newHome is the edit of the map that makes the shard's new datacenter known.
func newHome(to Detail, epoch bucketmap.Epoch) func(*bucketmap.Draft) error {
	return func(d *bucketmap.Draft) error {
		shard, ok := d.Shard(to.Shard)
		if !ok {
			return fmt.Errorf("the map has no shard %q any more", to.Shard)
		}
		shard.Datacenter, shard.Epoch = to.Target, epoch
		return d.PutShard(shard)
	}
}

// staging is the new home, staged beside the freeze so that users do not wait
// for it. home and err may be read once done is closed.
type staging struct {
	cancel context.CancelFunc
	done   chan struct{}
	home   *publish.PreparedHome
	err    error
}

// stage begins to stage the new home. The hold must be in force, so that no
// version need come between. unstage ends it.
func (r *run) stage(ctx context.Context) {
	r.unstage()
	ctx, cancel := context.WithCancel(ctx)
	s := &staging{cancel: cancel, done: make(chan struct{})}
	move, edit := r.promotion.Record.Move, newHome(r.promotion.Detail, r.promotion.Epoch+r.promotion.up())
	go func() {
		defer close(s.done)
		s.home, s.err = r.Map.PrepareHome(ctx, move, edit)
	}()
	r.staged = s
}

// awaitStaged waits until the new home is staged. What keeps it from being
// published must be known before the commit point: past it nobody finds the new
// primary. back is not zero when the promotion must step back.
func (r *run) awaitStaged(ctx context.Context) (back setback, err error) {
	if r.staged == nil { // who was resumed in this state has not held
		r.stage(ctx)
	}
	select {
	case <-r.staged.done:
	case <-ctx.Done():
		return back, ctx.Err()
	}
	if errors.Is(r.staged.err, bucketmap.ErrConflict) {
		return setback{SetbackMap, "others publish all the time: " + r.staged.err.Error()}, nil
	}
	return back, r.staged.err
}

// unstage waits until nothing is being staged, and clears away what was not
// published.
func (r *run) unstage() {
	if r.staged == nil {
		return
	}
	r.staged.cancel()
	<-r.staged.done
	r.staged.home.Discard()
	r.staged = nil
}

// ownRow reads the shard's row on the new primary, which must be active there
// and this run's: a run that was replaced goes no further.
func (r *run) ownRow(ctx context.Context) (fence.Row, error) {
	row, err := shardRow(ctx, r.to)
	if err != nil {
		return fence.Row{}, err
	}
	id, err := r.to.ServerID(ctx)
	if err != nil {
		return fence.Row{}, err
	}
	if !r.isSwitched(row, id) || row.Token != r.token {
		return fence.Row{}, fmt.Errorf("%s: the shard's row is %s with move_id %q: %w", r.to.Name(), row.State, row.Token, fence.ErrLostRow)
	}
	return row, nil
}
