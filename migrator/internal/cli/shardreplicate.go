package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/replicate"
)

// shardReplicate is migrator shard replicate.
func (a *app) shardReplicate() *cobra.Command {
	limits := replicate.DefaultLimits()
	var to string
	var restart, tls, tlsVerify bool
	megabytes := limits.BytesPerSecond >> 20
	c := &cobra.Command{
		Use:   "replicate SHARD --to DATACENTER",
		Short: "Make a shard's replica in a datacenter, or adopt the one there, and prove that it equals the primary",
		Long: `Make a shard's replica in a datacenter, or adopt the one there, and prove that
it equals the primary.

The shard list names the server. An empty one gets a consistent copy over SQL
connections, with no lock on the primary, follows the primary by GTID, and is
compared with it, chunk by chunk. One that replicates already is checked and
compared. Run it again after any failure: a copy that was cut off begins anew, for
a snapshot ends with its sessions; what comes after goes on where it was.

A physical backup is not made here: restore one by mariabackup on the replica's
machine, let it follow by GTID, and this command adopts it.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return fmt.Errorf("%w: give --to DATACENTER", errUsage)
			}
			if limits.Connections < 1 || limits.Connections > replicate.ConnectionsMax || megabytes < 0 || limits.CatchUp < time.Second || limits.Round < 0 {
				return fmt.Errorf("%w: --connections 1 to %d, --megabytes-per-second 0 or more, --catch-up-max 1s or more, --round 0 or more", errUsage, replicate.ConnectionsMax)
			}
			limits.BytesPerSecond = megabytes << 20
			if err := a.open(); err != nil {
				return err
			}
			pace := a.cfg.MoveLimits().Throttle
			limits.RowsPerSecond = pace.RowsPerSecond
			if !cmd.Flags().Changed("threads-running-max") && pace.ThreadsRunningMax > 0 {
				limits.ThreadsRunningMax = min(limits.ThreadsRunningMax, pace.ThreadsRunningMax)
			}
			engine := &replicate.Engine{Replication: a.cfg.Replication.Database(), TLS: tls || tlsVerify, TLSVerify: tlsVerify,
				Restart: restart, Limits: limits, Crash: &a.points}
			return a.replicate(cmd.Context(), bucketmap.ShardName(args[0]), bucketmap.Datacenter(to), engine)
		},
	}
	flags := c.Flags()
	flags.StringVar(&to, "to", "", "the target datacenter")
	flags.BoolVar(&restart, "restart", false, "remove what an earlier run of this command made there, and nothing else, and begin anew")
	flags.IntVar(&limits.Connections, "connections", limits.Connections, fmt.Sprintf("how many tables are copied at once, 1 to %d", replicate.ConnectionsMax))
	flags.IntVar(&megabytes, "megabytes-per-second", megabytes, "of the copy; 0 for no bound. move.throttle.rows_per_second bounds it too")
	flags.IntVar(&limits.ThreadsRunningMax, "threads-running-max", limits.ThreadsRunningMax, "wait while the primary has more; 0 for no bound")
	flags.DurationVar(&limits.CatchUp, "catch-up-max", limits.CatchUp, "how long the replica may take to catch up after the copy")
	flags.DurationVar(&limits.Round, "round", limits.Round, "how long the replica stands still at a time while it is compared")
	flags.BoolVar(&tls, "tls", false, "the replica connects to the primary by TLS")
	flags.BoolVar(&tlsVerify, "tls-verify", false, "and verifies the primary's certificate")
	return a.canMeasure(a.canDryRun(c))
}

// replicate makes every check, and then the replica.
func (a *app) replicate(ctx context.Context, shard bucketmap.ShardName, to bucketmap.Datacenter, engine *replicate.Engine) error {
	snap, err := a.store.Load(ctx)
	if err != nil {
		return err
	}
	home, ok := snap.Shard(shard)
	if !ok || home.Datacenter == to {
		return fmt.Errorf("%w: the map has no shard %q, or it lives in %s: migrator shard list", errRefused, shard, to)
	}
	if engine.From, err = a.shards.In(shard, home.Datacenter); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if engine.To, err = a.shards.In(shard, to); err != nil {
		return fmt.Errorf("%w: %w; install an empty MariaDB server there and add it to the shard list", errRefused, err)
	}
	results, err := engine.Preflight(ctx)
	if err != nil {
		return err
	}
	if err := a.refuseOn(results); err != nil {
		return err
	}
	if a.dryRun {
		a.printf("would make %s a replica of %s; every check passed, nothing was changed\n", engine.To.Name(), engine.From.Name())
		if a.json() {
			return a.printJSON(map[string]any{"shard": shard, "from": home.Datacenter, "to": to, "dry_run": true})
		}
		return nil
	}
	if err := a.measure(ctx); err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.end()
	engine.Report = a.measuredReplica(func(e replicate.Event) { show(progress, e) })
	result, err := engine.Run(ctx)
	a.proven(result, err)
	progress.end()
	if result != nil && a.json() {
		if failed := a.printJSON(result); err == nil {
			err = failed
		}
	} else if result != nil {
		for _, d := range result.Differ {
			a.printf("%s  %s  %s\n", d.Kind, d.Table, plain(d.Key))
		}
	}
	switch {
	case replicate.IsRefused(err):
		return fmt.Errorf("%w: %w", errRefused, err)
	case err != nil:
		return err
	}
	did := fmt.Sprintf("made, %d rows copied", result.Copied)
	if result.Adopted {
		did = "adopted"
	}
	a.printf("%s: %s; %d rows of %d tables are equal at %s, in %s; migrator shard promote %s --to %s makes it the primary\n",
		engine.To.Name(), did, result.Compared, result.Tables, result.Position, result.Took.Round(time.Millisecond), shard, to)
	return nil
}
