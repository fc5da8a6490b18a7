package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/promote"
)

// promoteFlags are the flags of migrator shard promote.
type promoteFlags struct {
	to        string
	lost      bool
	yes       string
	all       bool
	parallel  int
	keepGoing bool
}

func (a *app) shardPromote() *cobra.Command {
	var f promoteFlags
	c := &cobra.Command{
		Use:   "promote {SHARD|--all} --to DATACENTER",
		Short: "Make a shard's replica in a datacenter the primary, and the old primary its replica",
		Long: `Make a shard's replica in a datacenter the primary, and the old primary its replica.

The shard list must name the replica. Every check is made first, the hooks of
promotion.hooks included; --dry-run stops after them and prints what would be
executed, statement by statement. What fails before the commit point is undone.
Going back is the same command with --to the other datacenter.

--all promotes every shard that lives elsewhere, --parallel of them at a time.
When one fails, those under way go on and no new one begins, unless --keep-going
is given.

--lost is for a primary that is gone: nothing but this command, given by a
person, makes its replica the primary. It says what may be lost, and asks for
the shard's name; --yes SHARD is the answer where nobody can be asked. The old
primary must not come back writable before migrator resume has made it a replica.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(args); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			if err := a.open(); err != nil {
				return err
			}
			if err := a.measure(cmd.Context()); err != nil {
				return err
			}
			if f.all {
				return a.promoteAll(cmd.Context(), f)
			}
			plan := a.promotionPlan(bucketmap.ShardName(args[0]), f)
			if f.lost {
				return a.promoteLost(cmd, plan, f.yes)
			}
			r, err := a.promote(cmd.Context(), plan)
			if err != nil {
				return err
			}
			return a.printPromoted(r)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.to, "to", "", "the target datacenter")
	flags.BoolVar(&f.lost, "lost", false, "the primary is gone: promote the replica without it")
	flags.StringVar(&f.yes, "yes", "", "with --lost: the shard's name, in the place of the operator's word")
	flags.BoolVar(&f.all, "all", false, "promote every shard that does not live there")
	flags.IntVar(&f.parallel, "parallel", 1, fmt.Sprintf("with --all: how many at a time, 1 to %d", parallelMax))
	flags.BoolVar(&f.keepGoing, "keep-going", false, "with --all: begin the next shard though one has failed")
	return a.canMeasure(a.canDryRun(c))
}

// check reports a command line that makes no sense.
func (f promoteFlags) check(args []string) error {
	switch {
	case f.to == "":
		return errors.New("give --to DATACENTER")
	case f.all == (len(args) == 1):
		return errors.New("give a SHARD or --all, one of the two")
	case f.all && f.lost:
		return errors.New("--lost is for one shard at a time")
	case f.yes != "" && !f.lost:
		return errors.New("--yes goes with --lost")
	case !f.all && (f.parallel != 1 || f.keepGoing):
		return errors.New("--parallel and --keep-going go with --all")
	case f.parallel < 1 || f.parallel > parallelMax:
		return fmt.Errorf("--parallel %d: want 1 to %d", f.parallel, parallelMax)
	}
	return nil
}

func (a *app) promotionPlan(shard bucketmap.ShardName, f promoteFlags) promote.Plan {
	return promote.Plan{Shard: shard, Target: bucketmap.Datacenter(f.to), Who: a.env.Who, Why: a.why}
}

// promote makes the checks and, unless it is a dry run, promotes.
func (a *app) promote(ctx context.Context, plan promote.Plan) (promoted, error) {
	progress := a.newProgress()
	defer progress.end()
	engine := a.promoter(progress.promotion)
	r := promoted{Shard: plan.Shard, To: plan.Target}
	results, err := engine.Preflight(ctx, plan)
	if errors.Is(err, promote.ErrTarget) {
		return r, fmt.Errorf("%w: %w", errRefused, err)
	}
	if err != nil {
		return r, err
	}
	if err := a.refuseOn(results); err != nil {
		return r, err
	}
	if a.dryRun {
		snap, err := a.store.Load(ctx)
		if err != nil {
			return r, err
		}
		shard, _ := snap.Shard(plan.Shard)
		r.From, r.DryRun = shard.Datacenter, true
		r.Statements, err = engine.Statements(ctx, plan)
		return r, err
	}
	p, err := engine.Start(ctx, plan)
	if err != nil {
		return r, err
	}
	r.Move, r.From = p.Record.Move, p.Source
	err = engine.Run(ctx, p)
	r.State = p.State()
	return r, err
}

// promoteLost says what may be lost, has the operator's word, and promotes.
func (a *app) promoteLost(cmd *cobra.Command, plan promote.Plan, yes string) error {
	ctx := cmd.Context()
	progress := a.newProgress()
	defer progress.end()
	engine := a.promoter(progress.promotion)
	results, loss, err := engine.InspectLost(ctx, plan)
	if errors.Is(err, promote.ErrTarget) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err != nil {
		return err
	}
	if err := a.refuseOn(results); err != nil {
		return err
	}
	r := promoted{Shard: plan.Shard, From: loss.From, To: plan.Target, Loss: loss, DryRun: a.dryRun}
	if !a.json() {
		fmt.Fprintln(a.errOut, loss)
	}
	if a.dryRun {
		return a.printPromoted(r)
	}
	if err := a.wordFor(cmd, plan.Shard, yes); err != nil {
		return err
	}
	p, err := engine.PromoteLost(ctx, plan)
	if errors.Is(err, promote.ErrNotLost) || errors.Is(err, promote.ErrTarget) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err == nil || p != nil && p.Record.Open {
		a.failedOver(loss)
	}
	if err != nil {
		return err
	}
	r.Move, r.State = p.Record.Move, p.State()
	progress.end()
	return a.printPromoted(r)
}

// wordFor wants the shard's name, from --yes or typed.
func (a *app) wordFor(cmd *cobra.Command, shard bucketmap.ShardName, yes string) error {
	word := yes
	if word == "" {
		fmt.Fprintf(a.errOut, "type the shard's name to go on: ")
		in := cmd.InOrStdin()
		var err error
		if word, err = typed(cmd.Context(), in); err != nil {
			return fmt.Errorf("%w: nothing was changed: %w", errRefused, err)
		}
		if word == "" {
			return fmt.Errorf("%w: nobody answers: give --yes %s", errRefused, shard)
		}
		if f, ok := in.(*os.File); !ok || f != os.Stdin {
			fmt.Fprintln(a.errOut)
		}
	}
	if word != string(shard) {
		return fmt.Errorf("%w: %q is not the shard's name; nothing was changed", errRefused, word)
	}
	return nil
}
