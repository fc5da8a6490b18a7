package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"drover/bucketmap"
)

func (a *app) mapRollback() *cobra.Command {
	var f pushFlags
	return a.canPush(&cobra.Command{
		Use:   "rollback VERSION",
		Short: "Publish the content of an old version as a new one",
		Long: `Publish the content of an old version as a new one.

The whitelist, the default and the list of shards go back. Homes and epochs say
what is so in the databases: epochs are never lowered, and buckets or shards
that have moved since are refused, as with migrator map push. To take them back
run migrator bucket return, bucket move, or shard promote. Holds never come
back, and those in force stay: they belong to what is going on now.

With --force-homes the homes go back all the same. The databases go on refusing
writes to such buckets where the map sends them: it is for a map that was wrong,
when you know what is in the databases.`,
		Example: `  migrator map history
  migrator map rollback 41 --dry-run
  migrator map rollback 41 --why "the whitelist of version 42 was wrong" --wait 10s`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || version == 0 {
				return fmt.Errorf("%w: %q: want a version, 1 or higher", errUsage, args[0])
			}
			if err := f.check(); err != nil {
				return err
			}
			if err := a.open(); err != nil {
				return err
			}
			ctx := cmd.Context()
			old, err := a.mapAt(ctx, bucketmap.Version(version))
			if err != nil {
				return err
			}
			current, err := a.store.Load(ctx)
			if err != nil {
				return err
			}
			draft, err := backTo(current, old)
			if err != nil {
				return err
			}
			return a.publishMap(ctx, current, draft, f, fmt.Sprintf("go back to version %d", version))
		},
	}, &f)
}

// backTo is the old content with what the databases have counted up since.
func backTo(current, old *bucketmap.Snapshot) (*bucketmap.Draft, error) {
	draft := old.Edit()
	draft.Version = current.Version() + 1
	draft.Holds = current.Holds()
	for b, epoch := range current.Epochs() {
		draft.Epochs[b] = max(epoch, old.Epoch(b))
	}
	for _, shard := range draft.Shards() {
		now, ok := current.Shard(shard.Name)
		if !ok || now.Epoch <= shard.Epoch {
			continue
		}
		shard.Epoch = now.Epoch
		if err := draft.PutShard(shard); err != nil {
			return nil, err
		}
	}
	return draft, nil
}
