package promote

import (
	"context"
	"fmt"

	"drover/bucketmap"
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
	_, err = r.Map.Home(ctx, r.promotion.Record.Move, func(d *bucketmap.Draft) error {
		shard, ok := d.Shard(r.promotion.Shard)
		if !ok {
			return fmt.Errorf("the map has no shard %q any more", r.promotion.Shard)
		}
		shard.Datacenter, shard.Epoch = r.promotion.Target, row.Epoch
		return d.PutShard(shard)
	})
	r.crash("after_map", Publishing)
	if err != nil {
		return "", err
	}
	return Reversing, nil
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
