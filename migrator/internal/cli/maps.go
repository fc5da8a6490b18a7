package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/bucketmap/yaml"
	"drover/migrator/internal/preflight"
)

func (a *app) mapCommand() *cobra.Command {
	c := &cobra.Command{Use: "map", Short: "Show, compare and publish the map"}
	c.AddCommand(a.mapShow(), a.mapDiff(), a.mapPush(), a.mapHistory(), a.mapRollback())
	return c
}

func (a *app) mapShow() *cobra.Command {
	var version uint64
	c := &cobra.Command{
		Use:   "show",
		Short: "Print the map in force, or one of the history",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.open(); err != nil {
				return err
			}
			snap, err := a.mapAt(cmd.Context(), bucketmap.Version(version))
			if err != nil {
				return err
			}
			encode := yaml.Encode
			if a.json() {
				encode = yaml.EncodeJSON
			}
			text, err := encode(snap)
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		},
	}
	c.Flags().Uint64Var(&version, "version", 0, "a version of the history; the map in force when not given")
	return c
}

// mapAt returns a version of the map; 0 is the one in force.
func (a *app) mapAt(ctx context.Context, version bucketmap.Version) (*bucketmap.Snapshot, error) {
	if version == 0 {
		return a.store.Load(ctx)
	}
	snap, err := a.store.At(ctx, version)
	if errors.Is(err, bucketmap.ErrNoMap) {
		return nil, fmt.Errorf("%w: %w; migrator map history lists the versions", errUsage, err)
	}
	return snap, err
}

// mapNamed returns the map that an argument names: a version, or a file.
func (a *app) mapNamed(ctx context.Context, name string) (*bucketmap.Snapshot, error) {
	if version, err := strconv.ParseUint(name, 10, 64); err == nil && version != 0 {
		return a.mapAt(ctx, bucketmap.Version(version))
	}
	return readMapFile(name)
}

func (a *app) mapDiff() *cobra.Command {
	return &cobra.Command{
		Use:   "diff [FROM] [TO|FILE]",
		Short: "Show what changes from one map to another",
		Long: `Show what changes from one map to another.

Without arguments: from the version before to the one in force. With a version:
from it to the one in force. With a file: from the one in force to the file.
With two: from the first to the second. A file whose name is a number is ./12.`,
		Args: usageArgs(cobra.MaximumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.open(); err != nil {
				return err
			}
			from, to, err := a.mapPair(cmd.Context(), args)
			if err != nil {
				return err
			}
			return a.printDiff(bucketmap.Diff(from, to))
		},
	}
}

// mapPair finds the two maps that the arguments of map diff name. from is nil
// before the first map.
func (a *app) mapPair(ctx context.Context, args []string) (from, to *bucketmap.Snapshot, err error) {
	if len(args) == 2 {
		if from, err = a.mapNamed(ctx, args[0]); err != nil {
			return nil, nil, err
		}
		to, err = a.mapNamed(ctx, args[1])
		return from, to, err
	}
	current, err := a.store.Load(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(args) == 0 {
		if current.Version() > 1 {
			from, err = a.mapAt(ctx, current.Version()-1)
		}
		return from, current, err
	}
	named, err := a.mapNamed(ctx, args[0])
	if err != nil {
		return nil, nil, err
	}
	if _, err := strconv.ParseUint(args[0], 10, 64); err == nil {
		return named, current, nil
	}
	return current, named, nil
}

func (a *app) printDiff(d *bucketmap.Difference) error {
	if a.json() {
		return a.printJSON(d)
	}
	a.printf("from version %d to %d:\n", d.FromVersion, d.ToVersion)
	if d.Empty() {
		a.printf("no difference\n")
		return nil
	}
	a.printf("%s", d)
	return nil
}

// mapResult is what the commands that publish a map print as JSON.
type mapResult struct {
	Version    bucketmap.Version     `json:"version"`
	Difference *bucketmap.Difference `json:"difference"`
	DryRun     bool                  `json:"dry_run,omitempty"`
}

// pushFlags are the flags that push and rollback share.
type pushFlags struct {
	force bool
	wait  time.Duration
}

func (a *app) canPush(c *cobra.Command, f *pushFlags) *cobra.Command {
	c.Flags().BoolVar(&f.force, "force", false, "publish though the databases say otherwise: users of such buckets will be refused")
	a.canWait(c, &f.wait)
	return a.canDryRun(c)
}

func (a *app) mapPush() *cobra.Command {
	var f pushFlags
	return a.canPush(&cobra.Command{
		Use:   "push FILE",
		Short: "Publish a map that was edited by hand",
		Long: `Publish a map that was edited by hand, in YAML or JSON, as migrator map show
prints it.

The file is the map that will be in force: its version must be one higher than
that of the map in force. Somebody else's version that you have not seen is so
never overwritten. Only a default that follows the users is worked out anew.

The map follows the databases: a map that gives a bucket a home where it is not
active, or an epoch that it does not have, is refused. To change a home run
migrator bucket move.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.open(); err != nil {
				return err
			}
			ctx := cmd.Context()
			next, err := readMapFile(args[0])
			if err != nil {
				return err
			}
			current, err := a.store.Load(ctx)
			if err != nil {
				return err
			}
			if want := current.Version() + 1; next.Version() != want {
				return fmt.Errorf("%w: version %d is in force, so the file's must be %d, and is %d. If the file was made "+
					"from an older version, look at migrator map diff %s first, then set its version", errRefused,
					current.Version(), want, next.Version(), args[0])
			}
			draft := next.Edit()
			draft.Version = next.Version()
			return a.publishMap(ctx, current, draft, f, "migrator map push "+args[0])
		},
	}, &f)
}

func (a *app) mapRollback() *cobra.Command {
	var f pushFlags
	return a.canPush(&cobra.Command{
		Use:   "rollback VERSION",
		Short: "Publish the content of an old version as a new one",
		Long: `Publish the content of an old version as a new one.

Epochs are never lowered and holds in force are kept, for both say what goes on
in the databases. Buckets that have moved since are refused, as with migrator
map push: to take them back run migrator bucket return, or bucket move.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || version == 0 {
				return fmt.Errorf("%w: %q: want a version, 1 or higher", errUsage, args[0])
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

// publishMap publishes a whole map in the place of current, if the databases
// agree with it and nobody was faster.
func (a *app) publishMap(ctx context.Context, current *bucketmap.Snapshot, draft *bucketmap.Draft, f pushFlags, what string) error {
	draft.ResolveDefault(a.weights)
	next, err := draft.Snapshot()
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err := bucketmap.CheckSuccessor(current, next); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	result := mapResult{Version: next.Version(), Difference: bucketmap.Diff(current, next), DryRun: a.dryRun}
	if result.Difference.Empty() {
		result.Version = current.Version()
		return a.printMap(result)
	}
	if err := a.followsDatabases(ctx, current, next, f.force); err != nil {
		return err
	}
	if a.dryRun {
		return a.printMap(result)
	}
	// Not Publisher.Edit, which tries again on a newer map: what was checked
	// and shown is this one.
	err = a.store.Publish(ctx, next, bucketmap.Change{Who: a.env.Who, Why: a.reason(what)})
	if errors.Is(err, bucketmap.ErrConflict) {
		return fmt.Errorf("%w: nothing was changed: %w; run migrator map diff, then the command again", errRefused, err)
	}
	if err != nil {
		return err
	}
	return errors.Join(a.printMap(result), a.waitAcks(ctx, next.Version(), f.wait))
}

// followsDatabases refuses a map that the fence does not agree with.
func (a *app) followsDatabases(ctx context.Context, current, next *bucketmap.Snapshot, force bool) error {
	results, err := preflight.Homes(ctx, a.shards, current, next)
	if err != nil {
		return err
	}
	failed := preflight.Errors(results)
	if len(failed) == 0 {
		return nil
	}
	lines := make([]string, len(failed))
	for i, r := range failed {
		lines[i] = "  " + r.String()
	}
	text := strings.Join(lines, "\n")
	if force {
		fmt.Fprintf(a.errOut, "migrator: --force: the map does not follow the databases:\n%s\n", text)
		return nil
	}
	return fmt.Errorf("%w: nothing was changed: the map does not follow the databases (--force publishes it all the same):\n%s", errRefused, text)
}

func (a *app) printMap(r mapResult) error {
	if a.json() {
		return a.printJSON(r)
	}
	switch {
	case r.Difference.Empty():
		a.printf("no difference; map version %d stays in force\n", r.Version)
	case r.DryRun:
		a.printf("nothing was changed; version %d would change this:\n%s", r.Version, r.Difference)
	default:
		a.printf("%smap version %d is published\n", r.Difference, r.Version)
	}
	return nil
}

// historyLine is one line of migrator map history as JSON.
type historyLine struct {
	Version bucketmap.Version `json:"version"`
	When    time.Time         `json:"when"`
	Who     string            `json:"who"`
	Why     string            `json:"why"`
}

func (a *app) mapHistory() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use:   "history",
		Short: "Show who published which version, when and why; the newest first",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.open(); err != nil {
				return err
			}
			records, err := a.store.History(cmd.Context())
			if err != nil {
				return err
			}
			total := len(records)
			if limit > 0 && total > limit {
				records = records[:limit]
			}
			lines := make([]historyLine, len(records))
			t := a.table("version", "when", "who", "why")
			for i, r := range records {
				lines[i] = historyLine{Version: r.Version, When: r.When, Who: r.Who, Why: r.Why}
				t.AppendRow(table.Row{r.Version, r.When.Format(time.RFC3339), r.Who, r.Why})
			}
			if a.json() {
				return a.printJSON(lines)
			}
			t.Render()
			if len(records) != total {
				a.printf("and %d older ones; --limit 0 shows all\n", total-len(records))
			}
			return nil
		},
	}
	c.Flags().IntVar(&limit, "limit", 50, "show so many; 0 shows all")
	return c
}
