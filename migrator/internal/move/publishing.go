package move

import (
	"context"

	"drover/bucketmap"
	"drover/shardlib/fence"
)

// publishing makes the new home known. The epochs are those of the target's
// rows.
func (r *run) publishing(ctx context.Context) (State, error) {
	rows, err := fence.Rows(ctx, r.to.DB, r.move.Buckets)
	if err != nil {
		return "", err
	}
	r.crash("before_map", Publishing)
	_, err = r.Map.Home(ctx, r.move.Record.Move, func(d *bucketmap.Draft) error {
		for _, run := range r.move.Buckets.ranges() {
			if err := d.SetHome(run[0], run[1], r.move.To()); err != nil {
				return err
			}
		}
		if d.Epochs == nil {
			d.Epochs = map[bucketmap.BucketID]bucketmap.Epoch{}
		}
		for _, row := range rows {
			d.Epochs[bucketmap.BucketID(row.Bucket)] = row.Epoch
		}
		return nil
	})
	r.crash("after_map", Publishing)
	if err != nil {
		return "", err
	}
	return Soaking, nil
}
