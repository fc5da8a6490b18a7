package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/setup"
	"drover/shardlib/fence"
)

// fencePatience is how long a busy table is tried by default.
const fencePatience = time.Minute

func (a *app) fenceCommand() *cobra.Command {
	c := &cobra.Command{Use: "fence", Short: "Install, prove, remove or show the triggers that fence writes"}
	c.AddCommand(a.fenceInstall(), a.fenceVerify(), a.fenceRemove(), a.fenceStatus())
	return c
}

// fenceResult is one table on one shard. Triggers is -1 where it is not known.
type fenceResult struct {
	Shard      bucketmap.ShardName  `json:"shard"`
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Table      string               `json:"table"`
	Triggers   int                  `json:"triggers"`
	// Schema is the oldest version among the triggers, 0 where there are none.
	Schema     int      `json:"schema,omitempty"`
	Statements []string `json:"statements,omitempty"`
	Error      string   `json:"error,omitempty"`
	DryRun     bool     `json:"dry_run,omitempty"`
}

func (a *app) fenceInstall() *cobra.Command {
	return a.canDryRun(a.onTables(&cobra.Command{
		Use:   "install",
		Short: "Put the triggers on the sharded tables of every shard",
		Long: `Put the triggers on the sharded tables of every shard, in the place of earlier
ones, and bring the fence of an older version to this one's. Run it again when a
table or a shard is added, or with a newer migrator. A trigger is replaced under
the table's lock: there is no moment without one.

A trigger can be made only while no transaction has its table. Each try waits
for a tenth of a second at most, and leaves the table alone between tries, so
that no user waits longer than that.`,
	}, a.readyForFence, func(ctx context.Context, t setup.Triggers, sharded fence.Sharded) ([]string, error) {
		if a.dryRun {
			return fence.InstallStatements(sharded, t.Buckets, t.Account)
		}
		return nil, t.Install(ctx, sharded)
	}))
}

// readyForFence refuses a server whose rows are missing, or whose fence is of a
// newer version.
func (a *app) readyForFence(ctx context.Context, server *database.Server, snap *bucketmap.Snapshot) error {
	if err := setup.Ready(ctx, server, snap); err != nil {
		return err
	}
	version, err := fence.TableVersion(ctx, server.DB)
	if err == nil && version > fence.SchemaVersion {
		err = fmt.Errorf("schema %d: %w", version, fence.ErrNewer)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", server.Name(), err)
	}
	return nil
}

// removeWord is what an operator writes to take the fence off.
const removeWord = "unfence"

func (a *app) fenceRemove() *cobra.Command {
	var word string
	c := a.canDryRun(a.onTables(&cobra.Command{
		Use:   "remove",
		Short: "Take the triggers off; applications that do not use shardlib are then not fenced",
		Long: `Take the triggers off; applications that do not use shardlib are then not fenced.

It refuses while a move or a promotion is under way, one that soaks too, or when
a shard cannot be asked, and it wants the word "` + removeWord + `": on the terminal, or by
--confirm.`,
	}, nil, func(ctx context.Context, t setup.Triggers, sharded fence.Sharded) ([]string, error) {
		if a.dryRun {
			return fence.RemoveStatements(sharded.Name), nil
		}
		return nil, t.Remove(ctx, sharded)
	}))
	c.Flags().StringVar(&word, "confirm", "", `the word "`+removeWord+`", when nobody can be asked`)
	remove := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !a.dryRun {
			if err := a.mayRemoveFence(cmd, word); err != nil {
				return err
			}
		}
		return remove(cmd, args)
	}
	return c
}

// mayRemoveFence refuses without the word, and while something is under way.
func (a *app) mayRemoveFence(cmd *cobra.Command, word string) error {
	if err := a.open(); err != nil {
		return err
	}
	records, err := a.openRecords(cmd.Context())
	if err != nil {
		return fmt.Errorf("%w: nothing was changed: not every shard could be asked what is under way: %w", errRefused, err)
	}
	if len(records) != 0 {
		return fmt.Errorf("%w: nothing was changed: %s is %s, and would lose writes without the fence; finish or abort it (migrator status lists all)",
			errRefused, records[0].Move, records[0].State)
	}
	if word == "" {
		if f, ok := cmd.InOrStdin().(*os.File); ok && !term.IsTerminal(int(f.Fd())) {
			return fmt.Errorf("%w: nobody can be asked: give --confirm %s", errUsage, removeWord)
		}
		fmt.Fprintf(a.errOut, "Applications that do not use shardlib will write past every move. Write %q to go on: ", removeWord)
		var err error
		if word, err = typed(cmd.Context(), cmd.InOrStdin()); err != nil {
			return fmt.Errorf("%w: nothing was changed: %w", errRefused, err)
		}
	}
	if word != removeWord {
		return fmt.Errorf("%w: nothing was changed: the word is %q, not %q", errRefused, removeWord, word)
	}
	return nil
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
		if a.store == nil {
			if err := a.open(); err != nil {
				return err
			}
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
				if errors.Is(err, setup.ErrNotReady) || errors.Is(err, setup.ErrReplica) || errors.Is(err, fence.ErrNewer) || errors.Is(err, fence.ErrForeign) {
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
			if ready != nil && !a.dryRun {
				if err := upgradeFence(ctx, server, patience); err != nil {
					errs = append(errs, err)
				}
			}
			for i, sharded := range tables {
				r := &results[first+i]
				*r = fenceResult{Shard: server.Shard, Datacenter: server.Datacenter, Table: sharded.Name, Triggers: -1, DryRun: a.dryRun}
				var err error
				if r.Statements, err = do(ctx, t, sharded); err == nil {
					r.Triggers, r.Schema, err = installed(ctx, server, sharded)
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

// installed returns how many triggers a table has, and the oldest's version.
func installed(ctx context.Context, server *database.Server, sharded fence.Sharded) (n, schema int, err error) {
	triggers, err := fence.TriggersOf(ctx, server.DB, sharded.Name)
	if err != nil {
		return -1, 0, fmt.Errorf("%s: %w", server.Name(), err)
	}
	for _, t := range triggers {
		if schema == 0 || t.Version < schema {
			schema = t.Version
		}
	}
	return len(triggers), schema, nil
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
		case r.Triggers != 0 && r.Schema < fence.SchemaVersion:
			state = fmt.Sprintf("fenced by schema %d, older than this program's %d: run migrator fence install", r.Schema, fence.SchemaVersion)
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
