package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/campaign"
	"drover/migrator/internal/move"
)

// campaignPlanFlags are the flags of campaign plan.
type campaignPlanFlags struct {
	options         campaign.Options
	to, out         string
	users           []string
	usersFile       string
	drain, into     []string
	burning, way    string
	bake            time.Duration
	parity          float64
	rowsPerSecond   float64
	step, promotion time.Duration
	force           bool
}

func (k *campaigns) planCommand() *cobra.Command {
	var f campaignPlanFlags
	c := &cobra.Command{
		Use:   "plan --to DATACENTER",
		Short: "Write the plan that takes everybody to a datacenter, for a person to read and edit",
		Long: `Write the plan that takes everybody to a datacenter, for a person to read and
edit. Nothing is changed.

Waves: the users of --user and --users-file on the whitelist; single buckets;
batches of buckets, each wave's twice as large as the one before's; whole shards,
1, 2, 4 … a wave. A shard that has a server in the datacenter is promoted, unless
it is named by --drain; the others' buckets move to the shards that live there.

Times are estimates: by the servers' statistics of rows and --rows-per-second for
buckets, --promotion-time for shards. Users are counted by "weights" of the
configuration; without it each bucket counts as one.`,
		Example: `  migrator campaign plan --to cloud --user ann --quiet 22:00-06:00 --quiet-zone Europe/Berlin --out plan.yaml`,
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.to == "" {
				return fmt.Errorf("%w: give --to DATACENTER", errUsage)
			}
			if err := k.open(); err != nil {
				return err
			}
			if err := f.fill(k, cmd); err != nil {
				return err
			}
			snap, err := k.store.Load(cmd.Context())
			if err != nil {
				return err
			}
			f.options.Takes = k.estimates(cmd.Context(), snap, f)
			plan, err := campaign.Build(snap, f.options)
			if err != nil {
				return refused(err)
			}
			return k.writePlan(plan, f)
		},
	}
	f.flags(c)
	return c
}

func (f *campaignPlanFlags) flags(c *cobra.Command) {
	flags, o := c.Flags(), &f.options
	flags.StringVar(&f.to, "to", "", "the datacenter that everybody goes to")
	flags.StringVar(&f.out, "out", "", "the file to write; standard output when not given")
	flags.BoolVar(&f.force, "force", false, "write over a file that is there")
	flags.StringSliceVar(&f.users, "user", nil, "users of the whitelist wave")
	flags.StringVar(&f.usersFile, "users-file", "", "a file with one user id a line, for the whitelist wave")
	flags.StringSliceVar(&f.drain, "drain", nil, "shards whose buckets move, though they could be promoted")
	flags.StringSliceVar(&f.into, "into", nil, "the shards that buckets move to; default: all in the datacenter")
	flags.IntVar(&o.Singles, "singles", 0, "buckets that move alone at first; default 3")
	flags.IntVar(&o.BatchMax, "batch-max", 0, "buckets of the largest batch; default a 50th of those that move")
	flags.StringVar(&o.Default, "default", campaign.DefaultAuto, "auto: the default becomes the datacenter at half of the users; or the datacenter to pin it to")
	flags.StringVar(&f.burning, "burning", string(campaign.PolicyReturn), "when the objectives burn while users bake: hold, stop or return")
	flags.StringVar(&f.way, "return", string(campaign.AtOnce), "how users go back: at_once or stepwise")
	flags.DurationVar(&f.bake, "bake", campaign.DefaultBake, "how long the objectives are looked at after each step")
	flags.StringSliceVar(&o.Objectives, "objective", nil, "the objectives that gates ask; default: all")
	flags.Float64Var(&f.parity, "parity", -1, "the share of mirrored answers that may differ, 0 to 1; default: parity is not asked")
	flags.Uint64Var(&o.Pace.Start, "rate", 0, "users an hour at first; default a 96th of all")
	flags.Uint64Var(&o.Pace.Add, "rate-add", 0, "users an hour that each healthy bake adds; default a 96th of all")
	flags.Uint64Var(&o.Pace.Min, "rate-min", 0, "the slowest; default a 960th of all")
	flags.Uint64Var(&o.Pace.Max, "rate-max", 0, "the fastest; default a 12th of all")
	flags.Uint64Var(&o.Pace.UsersMax, "users-an-hour-max", 0, "users that may move in any 60 minutes; 0 is no bound")
	flags.IntVar(&o.Pace.Parallel, "parallel", 1, "steps that run or bake at a time")
	flags.StringArrayVar(&o.Quiet.Hours, "quiet", nil, "when no step begins, such as 22:00-06:00 or \"sat,sun 00:00-24:00\"; may be given again")
	flags.StringVar(&o.Quiet.Zone, "quiet-zone", "", "the time zone of --quiet, such as Europe/Berlin; default UTC")
	flags.Float64Var(&f.rowsPerSecond, "rows-per-second", 20_000, "how fast a move copies, for the estimates")
	flags.DurationVar(&f.step, "step-time", 2*time.Second, "what a move takes besides the copy, for the estimates")
	flags.DurationVar(&f.promotion, "promotion-time", 20*time.Second, "what a promotion takes, for the estimates")
}

// fill makes options of the flags.
func (f *campaignPlanFlags) fill(k *campaigns, cmd *cobra.Command) error {
	o := &f.options
	o.To, o.Weight = bucketmap.Datacenter(f.to), k.weights
	o.Burning, o.Return = campaign.Policy(f.burning), campaign.Mode(f.way)
	if o.Bake = f.bake; f.bake == 0 {
		o.Bake = -1 // none
	}
	if cmd.Flags().Changed("parity") {
		o.Parity = &f.parity
	}
	if !(f.rowsPerSecond > 0) {
		return fmt.Errorf("%w: --rows-per-second %v: want more than 0", errUsage, f.rowsPerSecond)
	}
	for _, name := range f.drain {
		o.Drain = append(o.Drain, bucketmap.ShardName(name))
	}
	for _, name := range f.into {
		o.Into = append(o.Into, bucketmap.ShardName(name))
	}
	if len(f.users) != 0 || f.usersFile != "" {
		ids, err := userIDs(f.users, f.usersFile)
		if err != nil {
			return err
		}
		for _, id := range ids {
			o.Users = append(o.Users, id.String())
		}
	}
	o.Replicated = func(shard bucketmap.ShardName) bool {
		_, ok := k.shards.List().Shards[shard][o.To]
		return ok
	}
	return nil
}

// estimates gives what a step takes. A shard is asked once for its rows; one
// that cannot be asked counts as empty, and the file says so by the time.
func (k *campaigns) estimates(ctx context.Context, snap *bucketmap.Snapshot, f campaignPlanFlags) func(campaign.Step) time.Duration {
	rowsPerUser := map[bucketmap.ShardName]float64{}
	var dark []string
	rows := func(shard bucketmap.ShardName) float64 {
		if per, known := rowsPerUser[shard]; known {
			return per
		}
		ctx, cancel := context.WithTimeout(ctx, estimateMax)
		defer cancel()
		var all move.Buckets
		for b := range bucketmap.BucketID(snap.Buckets()) {
			if home, ok := snap.Home(b); ok && home.Name == shard {
				all = append(all, b)
			}
		}
		total := int64(0)
		server, err := k.shards.Primary(ctx, shard)
		for _, t := range k.cfg.Tables {
			if err != nil {
				break
			}
			t.BucketColumn = "" // of the whole shard the table's statistics are enough
			var n int64
			n, err = estimate(ctx, server, t, all, uint32(len(all)))
			total += n
		}
		if err != nil && !slices.Contains(dark, string(shard)) {
			dark = append(dark, string(shard))
			k.remark("warning", fmt.Sprintf("no estimate of the rows of %s: %v", shard, err), nil)
		}
		rowsPerUser[shard] = float64(total) / float64(max(1, k.usersOf(all)))
		return rowsPerUser[shard]
	}
	return func(s campaign.Step) time.Duration {
		switch s.Kind() {
		case campaign.KindShards:
			return f.promotion
		case campaign.KindBuckets:
			seconds := min(rows(s.From)*float64(s.Users)/f.rowsPerSecond, (24 * time.Hour).Seconds())
			return (f.step + time.Duration(seconds*float64(time.Second))).Round(time.Millisecond)
		default:
			return 100 * time.Millisecond
		}
	}
}

// writePlan writes the file, or to standard output.
func (k *campaigns) writePlan(plan *campaign.Plan, f campaignPlanFlags) error {
	text, err := campaign.EncodePlan(plan)
	if err != nil {
		return err
	}
	if f.out == "" {
		if k.json() {
			return k.printJSON(plan)
		}
		_, err := k.out.Write(text)
		return err
	}
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if f.force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := os.OpenFile(filepath.Clean(f.out), mode, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s is there already, perhaps edited: give another --out, or --force", errRefused, f.out)
	}
	if err != nil {
		return err
	}
	if _, err = file.Write(text); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	steps := 0
	for _, w := range plan.Waves {
		steps += len(w.Steps)
	}
	if k.json() {
		return k.printJSON(plan)
	}
	k.printf("%s: %d users in %d waves and %d steps, for map %d; read it, edit it, then: migrator campaign apply %s\n",
		f.out, plan.Users(), len(plan.Waves), steps, plan.Map.Version, f.out)
	return nil
}
