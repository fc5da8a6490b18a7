package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"drover/migrator/internal/campaign"
	"drover/migrator/internal/move"
)

// The exit codes of campaign status and campaign run, beside those of every
// command.
const (
	exitHeld      = 20
	exitPaused    = 21
	exitStopped   = 22
	exitReturning = 23
	exitAborted   = 24
	exitNotTaken  = 25 // a live run has not taken an order in
)

// codeError is an error with an exit code of its own.
type codeError struct {
	error
	code int
}

func (e *codeError) exitCode() int { return e.code }
func (e *codeError) Unwrap() error { return e.error }

// campaigns are what the commands on campaigns share.
type campaigns struct {
	*app
	state string // --state
}

func (a *app) campaignCommand() *cobra.Command {
	k := &campaigns{app: a}
	c := &cobra.Command{
		Use:   "campaign",
		Short: "Take everybody over: a plan in waves, at the pace that the objectives allow",
		Long: `Take everybody over: a plan in waves, at the pace that the objectives allow.

  migrator campaign plan --to cloud --out plan.yaml    write a plan; edit it
  migrator campaign simulate plan.yaml                 when will it end
  migrator campaign apply plan.yaml                    begin the campaign
  migrator campaign run                                go on with it, until it is done
  migrator campaign status --watch                     see how it is getting on

pause, resume, rate, skip, return and abort are orders to the run, which takes
them in within a second, wherever on this machine it runs. Their reason is --why,
or --reason. The campaign's plan and journal are in the folder of --state.`,
	}
	c.PersistentFlags().StringVar(&k.state, "state", "", `the folder of campaigns (default "campaign" beside the configuration file)`)
	c.AddCommand(k.planCommand(), k.applyCommand(), k.runCommand(), k.statusCommand(), k.simulateCommand())
	c.AddCommand(k.orders()...)
	return c
}

// dir is the folder of campaigns.
func (k *campaigns) dir() (string, error) {
	if k.state != "" {
		return k.state, nil
	}
	if k.configPath == "" {
		return "", fmt.Errorf("%w: give --state DIR, or --config FILE, or set DROVER_MIGRATOR_CONFIG", errUsage)
	}
	return filepath.Join(filepath.Dir(k.configPath), "campaign"), nil
}

// refused makes errors of the plan and of how the campaign is refusals.
func refused(err error) error {
	if campaign.IsProblem(err) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

func (k *campaigns) applyCommand() *cobra.Command {
	return k.canDryRun(&cobra.Command{
		Use:   "apply PLAN",
		Short: "Check a plan against the map in force, and begin its campaign; nobody moves before campaign run",
		Long: `Check a plan against the map in force, and begin its campaign. Nobody moves
before migrator campaign run.

Every problem is reported at once, with exit code 3: a key that is not known, a
wave or a bucket that is there twice, buckets that live there already, a shard
that is promoted and that buckets leave, a plan made for another version of the
map, a campaign that is not over.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := readPlan(args[0])
			if err != nil {
				return err
			}
			dir, err := k.dir()
			if err != nil {
				return err
			}
			if err := k.open(); err != nil {
				return err
			}
			snap, err := k.store.Load(cmd.Context())
			if err != nil {
				return err
			}
			if err := k.servers(plan); err != nil {
				return err
			}
			if k.dryRun {
				if err := errors.Join(campaign.CheckMap(plan, snap), campaign.Check(plan, snap, k.weights)); err != nil {
					return refused(err)
				}
				k.printf("the plan is good for map %d; nothing was changed\n", snap.Version())
				return nil
			}
			id, err := campaign.Apply(cmd.Context(), dir, plan, snap, k.weights, k.env.Who, k.why, time.Now())
			if err != nil {
				return refused(err)
			}
			if k.json() {
				return k.printJSON(map[string]any{"campaign": id, "map": snap.Version()})
			}
			k.printf("campaign %s has begun with map %d; migrator campaign run goes on with it\n", id, snap.Version())
			return nil
		},
	})
}

// servers refuses a plan that promotes shards with no server in the target.
func (k *campaigns) servers(plan *campaign.Plan) error {
	var errs []error
	for _, w := range plan.Waves {
		for _, s := range w.Steps {
			if s.Shard == "" || plan.To == "" {
				continue
			}
			if _, ok := k.shards.List().Shards[s.Shard][plan.To]; !ok {
				errs = append(errs, fmt.Errorf("wave %s: the shard list has no server of %s in %s: make a replica there and add it", w.Name, s.Shard, plan.To))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return nil
}

func readPlan(path string) (*campaign.Plan, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > campaign.PlanBytesMax {
		err = fmt.Errorf("%s has %d bytes: want %d at most", path, info.Size(), campaign.PlanBytesMax)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	plan, err := campaign.DecodePlan(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errRefused, path, err)
	}
	return plan, nil
}

// sendMax is how long an order waits to be taken in: a run takes it in within a
// second, unless its machine has stopped.
const sendMax = 5 * time.Second

// orders are the commands that go into the journal.
func (k *campaigns) orders() []*cobra.Command {
	var o campaign.Order
	order := func(use, short string, args cobra.PositionalArgs, fill func([]string) error) *cobra.Command {
		var reason string
		c := &cobra.Command{Use: use, Short: short, Args: usageArgs(args), RunE: func(cmd *cobra.Command, args []string) error {
			o.Command, o.Who, o.Why = campaign.Command(cmd.Name()), k.env.Who, k.why
			if reason != "" {
				o.Why = reason
			}
			if err := fill(args); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			return k.send(cmd.Context(), o)
		}}
		c.Flags().StringVar(&reason, "reason", "", "the reason, for the journal; the same as --why")
		return c
	}
	none := func([]string) error { return nil }
	target := func(args []string) error {
		if len(args) == 1 {
			o.Target = args[0]
		}
		return nil
	}
	pause := order("pause", "Begin nothing; what is under way steps back and waits; who bakes and burns still goes back", cobra.NoArgs, none)
	resume := order("resume", "End a pause or a stop; what failed or went back is tried again", cobra.NoArgs, none)
	rate := order("rate USERS", "Set how many users an hour move from now on; healthy bakes add to it", cobra.ExactArgs(1), func(args []string) error {
		n, err := fmt.Sscanf(args[0]+"\n", "%d\n", &o.Rate)
		if n != 1 || err != nil {
			return fmt.Errorf("%q: want users an hour, a whole number", args[0])
		}
		return nil
	})
	skip := order("skip [STEP|WAVE]", "Leave out the step that the campaign waits at, or the named ones, such as singles/3", cobra.MaximumNArgs(1), target)
	back := order("return [STEP|WAVE]", "Take the users of the newest wave home, or those of a wave or step, and stop", cobra.MaximumNArgs(1), target)
	var stepwise, atOnce bool
	back.Flags().BoolVar(&o.All, "all", false, "everybody that the campaign has moved")
	back.Flags().BoolVar(&stepwise, "stepwise", false, "one step after the other, the newest first")
	back.Flags().BoolVar(&atOnce, "at-once", false, "side by side; without either, as the plan says")
	back.MarkFlagsMutuallyExclusive("stepwise", "at-once")
	back.PreRun = func(*cobra.Command, []string) {
		switch {
		case stepwise:
			o.Mode = campaign.Stepwise
		case atOnce:
			o.Mode = campaign.AtOnce
		}
	}
	abort := order("abort", "End the campaign where it is: what is under way is given up, who has moved stays", cobra.NoArgs, none)
	all := []*cobra.Command{pause, resume, rate, skip, back, abort}
	for _, c := range all {
		c.Long = c.Short + `.

It is in the journal when the command returns, with who and why. A live run takes
it in within a second; exit code 25 says that it has not. Without a live run it
is in force from the next campaign run on. Exit code 3: the campaign refuses.`
	}
	return all
}

func (k *campaigns) send(ctx context.Context, o campaign.Order) error {
	dir, err := k.dir()
	if err != nil {
		return err
	}
	r, err := campaign.Send(ctx, dir, o, sendMax, campaign.WatchFiles)
	if err != nil {
		return refused(err)
	}
	if k.json() {
		if err := k.printJSON(r); err != nil {
			return err
		}
	} else {
		what := string(o.Command)
		if len(r.Steps) != 0 {
			what += " " + short40(r.String())
		}
		switch {
		case r.Obeyed:
			k.printf("%s: in force after %s\n", what, r.After.Round(time.Millisecond))
		case !r.Live:
			k.printf("%s: noted; no run is live, and migrator campaign run will obey\n", what)
		}
	}
	if r.Live && !r.Obeyed {
		return &codeError{fmt.Errorf("%s is in the journal, line %d, but the live run has not taken it in within %s: is its machine all right?", o.Command, r.Line, sendMax), exitNotTaken}
	}
	return nil
}

// usersOf sums the weights of buckets.
func (a *app) usersOf(buckets move.Buckets) uint64 {
	if a.weights == nil {
		return uint64(len(buckets))
	}
	n := uint64(0)
	for _, b := range buckets {
		n += a.weights(b)
	}
	return n
}
