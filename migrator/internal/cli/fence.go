package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/setup"
	"drover/shardlib/fence"
)

// fencePatience is how long a busy table is tried by default.
const fencePatience = time.Minute

func (a *app) fenceCommand() *cobra.Command {
	c := &cobra.Command{Use: "fence", Short: "Install, remove or show the triggers that fence writes"}
	c.AddCommand(a.fenceInstall(), a.fenceRemove(), a.fenceStatus())
	return c
}

// fenceResult is one table on one shard. Triggers is -1 where it is not known.
type fenceResult struct {
	Shard      bucketmap.ShardName  `json:"shard"`
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Table      string               `json:"table"`
	Triggers   int                  `json:"triggers"`
	Statements []string             `json:"statements,omitempty"`
	Error      string               `json:"error,omitempty"`
	DryRun     bool                 `json:"dry_run,omitempty"`
}

func (a *app) fenceInstall() *cobra.Command {
	return a.canDryRun(a.onTables(&cobra.Command{
		Use:   "install",
		Short: "Put the triggers on the sharded tables of every shard",
		Long: `Put the triggers on the sharded tables of every shard, in the place of earlier
ones. Run it again when a table or a shard is added.

A trigger can be made only while no transaction has its table. Each try waits
for a tenth of a second at most, and leaves the table alone between tries, so
that no user waits longer than that.`,
	}, setup.Ready, func(ctx context.Context, t setup.Triggers, sharded fence.Sharded) ([]string, error) {
		if a.dryRun {
			return fence.InstallStatements(sharded, t.Buckets, t.Account)
		}
		return nil, t.Install(ctx, sharded)
	}))
}

func (a *app) fenceRemove() *cobra.Command {
	return a.canDryRun(a.onTables(&cobra.Command{
		Use:   "remove",
		Short: "Take the triggers off; applications that do not use shardlib are then not fenced",
	}, nil, func(ctx context.Context, t setup.Triggers, sharded fence.Sharded) ([]string, error) {
		if a.dryRun {
			return fence.RemoveStatements(sharded.Name), nil
		}
		return nil, t.Remove(ctx, sharded)
	}))
}

func (a *app) fenceStatus() *cobra.Command {
	return a.onTables(&cobra.Command{
		Use:   "status",
		Short: "Show how many of the three triggers each table has",
	}, nil, func(context.Context, setup.Triggers, fence.Sharded) ([]string, error) { return nil, nil })
}

// onTables makes a command that does something for each of the sharded tables
// on the primary of each shard, and prints what there is afterwards. It goes on
// past a shard or a table that fails. ready, when not nil, is asked of every
// shard first, and refuses before any is touched.
func (a *app) onTables(c *cobra.Command, ready func(context.Context, *database.Server, *bucketmap.Snapshot) error,
	do func(context.Context, setup.Triggers, fence.Sharded) ([]string, error)) *cobra.Command {
	var names []string
	var patience time.Duration
	c.Args = usageArgs(cobra.NoArgs)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if patience <= 0 {
			return fmt.Errorf("%w: --patience %s: want more than nothing", errUsage, patience)
		}
		if err := a.open(); err != nil {
			return err
		}
		ctx := cmd.Context()
		tables, err := a.chosenTables(names)
		if err != nil {
			return err
		}
		snap, servers, err := a.primaries(ctx)
		if err != nil {
			return err
		}
		if ready != nil {
			if err := onServers(ctx, servers, func(ctx context.Context, s *database.Server) error { return ready(ctx, s, snap) }); err != nil {
				if errors.Is(err, setup.ErrNotReady) || errors.Is(err, setup.ErrReplica) {
					return fmt.Errorf("%w: nothing was changed: %w", errRefused, err)
				}
				return err
			}
		}
		results := make([]fenceResult, len(servers)*len(tables))
		err = onServers(ctx, servers, func(ctx context.Context, server *database.Server) error {
			t := setup.Triggers{Server: server, Buckets: snap.Buckets(), Account: a.cfg.Account.User, Patience: patience}
			first := slices.Index(servers, server) * len(tables)
			var errs []error
			for i, sharded := range tables {
				r := &results[first+i]
				*r = fenceResult{Shard: server.Shard, Datacenter: server.Datacenter, Table: sharded.Name, Triggers: -1, DryRun: a.dryRun}
				var err error
				if r.Statements, err = do(ctx, t, sharded); err == nil {
					r.Triggers, err = t.Installed(ctx, sharded)
				}
				if err != nil {
					r.Error = err.Error()
					errs = append(errs, err)
				}
			}
			return errors.Join(errs...)
		})
		return errors.Join(a.printFence(results), err)
	}
	c.Flags().StringSliceVar(&names, "table", nil, "this table alone (repeat); all of the configuration's when not given")
	c.Flags().DurationVar(&patience, "patience", fencePatience, "how long to try for a table that transactions have")
	return c
}

func (a *app) printFence(results []fenceResult) error {
	if a.json() {
		return a.printJSON(results)
	}
	t := a.table("shard", "datacenter", "table", "triggers", "")
	for _, r := range results {
		state := map[int]string{0: "not fenced", 3: "fenced"}[r.Triggers]
		switch {
		case r.Error != "":
			state = "failed"
		case state == "":
			state = "partly fenced: run migrator fence install"
		}
		shown := "?"
		if r.Triggers >= 0 {
			shown = fmt.Sprint(r.Triggers)
		}
		t.AppendRow(table.Row{r.Shard, r.Datacenter, r.Table, shown, state})
	}
	t.Render()
	for _, r := range results {
		for _, s := range r.Statements {
			a.printf("\n-- on %s@%s\n%s;\n", r.Shard, r.Datacenter, s)
		}
	}
	return nil
}

// chosenTables are the configuration's tables, or those named of them.
func (a *app) chosenTables(names []string) ([]fence.Sharded, error) {
	if len(names) == 0 {
		return a.cfg.Tables, nil
	}
	var chosen []fence.Sharded
	for _, name := range names {
		i := slices.IndexFunc(a.cfg.Tables, func(t fence.Sharded) bool { return t.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: --table %s: the configuration has no such table", errUsage, name)
		}
		chosen = append(chosen, a.cfg.Tables[i])
	}
	return chosen, nil
}

// primaries loads the map and finds the primary of each of its shards.
func (a *app) primaries(ctx context.Context) (*bucketmap.Snapshot, []*database.Server, error) {
	snap, err := a.store.Load(ctx)
	if err != nil {
		return nil, nil, err
	}
	var servers []*database.Server
	for _, shard := range snap.Shards() {
		server, err := a.shards.In(shard.Name, shard.Datacenter)
		if err != nil {
			return nil, nil, err
		}
		servers = append(servers, server)
	}
	return snap, servers, nil
}
