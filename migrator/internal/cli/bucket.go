package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
)

func (a *app) bucketCommand() *cobra.Command {
	c := &cobra.Command{Use: "bucket", Short: "Move buckets from shard to shard"}
	c.AddCommand(a.bucketMove(), a.bucketReturn(), a.bucketSoak(), a.bucketFinish())
	return c
}

// moveResult is what a command on one move prints as JSON.
type moveResult struct {
	Move    bucketmap.MoveID    `json:"move,omitempty"`
	State   move.State          `json:"state,omitempty"`
	Buckets move.Buckets        `json:"buckets"`
	From    bucketmap.ShardName `json:"from"`
	To      bucketmap.ShardName `json:"to"`
	DryRun  bool                `json:"dry_run,omitempty"`
}

func (a *app) bucketMove() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "move BUCKETS --to SHARD",
		Short: "Move one bucket, or a batch between the same two shards, such as 17 or 0-99,200",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.open(); err != nil {
				return err
			}
			ctx := cmd.Context()
			snap, err := a.store.Load(ctx)
			if err != nil {
				return err
			}
			buckets, err := move.ParseBuckets(args[0], snap.Buckets())
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			plan := move.Plan{Buckets: buckets, Target: bucketmap.ShardName(to), Who: a.env.Who, Why: a.why}
			if err := a.measure(ctx); err != nil {
				return err
			}
			progress := a.newProgress()
			engine := a.engine(progress.event)
			source, err := engine.Source(ctx, plan)
			if err != nil {
				return fmt.Errorf("%w: %w", errRefused, err)
			}
			if err := a.preflightMove(ctx, source, plan); err != nil {
				return err
			}
			if a.dryRun {
				return a.printMove(moveResult{Buckets: buckets, From: source, To: plan.Target, DryRun: true})
			}
			m, err := engine.Start(ctx, plan)
			if err != nil {
				return err
			}
			progress.follow(ctx, m)
			err = engine.Run(ctx, m)
			progress.end()
			if err != nil {
				return err
			}
			return a.printMove(moveResult{Move: m.Record.Move, State: m.State(), Buckets: m.Buckets, From: m.Source, To: m.Target})
		},
	}
	c.Flags().StringVar(&to, "to", "", "the target shard")
	_ = c.MarkFlagRequired("to") // fails only for a flag that does not exist
	return a.canMeasure(a.canDryRun(c))
}

func (a *app) printMove(r moveResult) error {
	if a.json() {
		return a.printJSON(r)
	}
	switch {
	case r.DryRun:
		a.printf("would move buckets %s from %s to %s; every check passed, nothing was changed\n", r.Buckets, r.From, r.To)
	case r.State == move.Soaking:
		a.printf("%s: buckets %s are on %s and soaking; migrator bucket return %s goes back, migrator bucket finish %s ends it\n",
			r.Move, r.Buckets, r.To, r.Move, r.Move)
	default:
		a.printf("%s: %s\n", r.Move, r.State)
	}
	return nil
}

func (a *app) bucketReturn() *cobra.Command {
	return a.canDryRun(a.onMove("return MOVE|BUCKET", "Take a soaking move's buckets back to where they came from, with no copy",
		func(ctx context.Context, engine *move.Engine, m *move.Move) error {
			if a.dryRun {
				if m.State() != move.Soaking {
					return fmt.Errorf("%w: %s is %s: only what is soaking can return", errRefused, m.Record.Move, m.State())
				}
				return a.printMove(moveResult{Buckets: m.Buckets, From: m.To(), To: m.From(), DryRun: true})
			}
			if err := engine.Return(ctx, m); err != nil {
				return err
			}
			return a.printMove(moveResult{Move: m.Record.Move, State: m.State(), Buckets: m.Buckets, From: m.From(), To: m.To()})
		}))
}

func (a *app) bucketSoak() *cobra.Command {
	var lasting time.Duration
	c := a.onMove("soak MOVE|BUCKET", "Keep the old home up to date, until interrupted",
		func(ctx context.Context, engine *move.Engine, m *move.Move) error {
			if lasting > 0 {
				var end func()
				ctx, end = soakFor(ctx, engine, lasting)
				defer end()
			}
			return engine.Soak(ctx, m)
		})
	c.Flags().DurationVar(&lasting, "for", 0, "stop this long after the reverse tail has begun; 0 is until interrupted")
	return c
}

// soakFor returns a context that ends so long after the soak has begun, which
// its first report says. Taking the move over comes before that: where it took
// longer than the soak was to last, an end counted from the command's beginning
// would interrupt it, and that is a failure.
func soakFor(ctx context.Context, engine *move.Engine, lasting time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var timer *time.Timer
	report := engine.Report
	// It is called by the goroutine that soaks alone.
	engine.Report = func(e move.Event) {
		if report(e); timer == nil && e.State == move.Soaking {
			timer = time.AfterFunc(lasting, cancel)
		}
	}
	return ctx, func() {
		if timer != nil {
			timer.Stop()
		}
		cancel()
	}
}

func (a *app) bucketFinish() *cobra.Command {
	var force, yes string
	var c *cobra.Command
	c = a.canDryRun(a.onMove("finish MOVE|BUCKET", "End the soak: purge the old home's rows; there is no return without a copy after it",
		func(ctx context.Context, engine *move.Engine, m *move.Move) error {
			if a.dryRun {
				if m.State() != move.Soaking && m.State() != move.Done {
					return fmt.Errorf("%w: %s is %s: only what is soaking can be finished", errRefused, m.Record.Move, m.State())
				}
				if a.json() {
					return a.printJSON(moveResult{Move: m.Record.Move, State: m.State(), Buckets: m.Buckets, From: m.From(), To: m.To(), DryRun: true})
				}
				a.printf("would purge the rows of buckets %s from %s for good; nothing was changed\n", m.Buckets, m.From())
				return nil
			}
			if err := a.confirmOnTerminal(c, yes, m.Buckets.String(),
				fmt.Sprintf("the rows of buckets %s are purged from %s for good", m.Buckets, m.From())); err != nil {
				return err
			}
			finish := engine.Finish
			if force != "" {
				finish = func(ctx context.Context, m *move.Move) error {
					return engine.FinishForced(ctx, m, a.env.Who+": "+force)
				}
			}
			if err := finish(ctx, m); errors.Is(err, move.ErrReaders) {
				return fmt.Errorf("%w: %w", errRefused, err)
			} else if err != nil {
				return err
			}
			return a.printMove(moveResult{Move: m.Record.Move, State: m.State(), Buckets: m.Buckets, From: m.From(), To: m.To()})
		}))
	c.Flags().StringVar(&yes, "yes", "", "the buckets, such as 17, in the place of typing them on a terminal")
	c.Flags().StringVar(&force, "force", "", "the reason to purge although proxies or open transactions may still read there; it goes to the journal")
	return c
}

// onMove is a command on one open move, named by its id or by a bucket of it.
func (a *app) onMove(use, short string, do func(context.Context, *move.Engine, *move.Move) error) *cobra.Command {
	return a.canMeasure(&cobra.Command{
		Use:   use,
		Short: short,
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.open(); err != nil {
				return err
			}
			record, err := a.findOpen(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			m, err := move.Load(record)
			if err != nil {
				return err
			}
			if err := a.measure(cmd.Context()); err != nil {
				return err
			}
			progress := a.newProgress()
			defer progress.end()
			progress.follow(cmd.Context(), m)
			return do(cmd.Context(), a.engine(progress.event), m)
		},
	})
}

// errNoOpen says that nothing open goes by a name.
var errNoOpen = errors.New("no open move or promotion")

// openRecords lists what is open in the journals of all shards, the oldest
// first. Shards that cannot be asked are named in the error; the others'
// records are returned all the same.
func (a *app) openRecords(ctx context.Context) ([]*journal.Record, error) {
	return a.records(ctx, true)
}

func (a *app) records(ctx context.Context, open bool) ([]*journal.Record, error) {
	snap, err := a.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	var all []*journal.Record
	var errs []error
	for _, shard := range snap.Shards() {
		server, err := a.shards.Primary(ctx, shard.Name)
		if err == nil {
			var records []*journal.Record
			if records, err = journal.Open(server).List(ctx, open); err == nil {
				all = append(all, records...)
			}
		}
		if err != nil {
			all = append(all, a.promotionsElsewhere(ctx, shard, open)...)
			errs = append(errs, err)
		}
	}
	return all, errors.Join(errs...)
}

// findOpen finds an open record by the move's id, or a move by a bucket of it.
func (a *app) findOpen(ctx context.Context, name string) (*journal.Record, error) {
	records, err := a.openRecords(ctx)
	var buckets move.Buckets
	if snap, loadErr := a.store.Load(ctx); loadErr == nil {
		buckets, _ = move.ParseBuckets(name, snap.Buckets()) // not a bucket: an id
	}
	for _, r := range records {
		if string(r.Move) == name {
			return r, nil
		}
		if len(buckets) != 1 || r.Kind != journal.KindMove {
			continue
		}
		if m, loadErr := move.Load(r); loadErr == nil {
			for _, b := range m.Buckets {
				if b == buckets[0] {
					return r, nil
				}
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w called %q on the shards that answer: %w", errNoOpen, name, err)
	}
	return nil, fmt.Errorf("%w: %w called %q; migrator status lists them", errRefused, errNoOpen, name)
}

// usageArgs makes errors of an argument check usage errors.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return fmt.Errorf("%w: %s: %w", errUsage, cmd.CommandPath(), err)
		}
		return nil
	}
}
