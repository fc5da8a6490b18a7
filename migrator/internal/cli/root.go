package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/config"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/move"
	"drover/migrator/internal/publish"
	"drover/migrator/internal/shards"
	"drover/shardlib"
)

// Environment is what main takes from the process.
type Environment struct {
	Args     []string
	In       io.Reader // nil: standard input
	Out, Err io.Writer
	Who      string
	Config   string // default of --config
	CrashAt  string // where to die, in tests: see package crash
}

// The exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitPartial     = 2 // not everything could be asked
	exitRefused     = 3
	exitInterrupted = 130
)

var (
	// errUsage is the class of wrong command lines and configurations.
	errUsage = errors.New("usage")
	// errRefused is the class of what was refused with nothing changed.
	errRefused = errors.New("refused")
)

// Run runs one command and returns the exit code.
func Run(ctx context.Context, env Environment) int {
	a := &app{env: env, out: env.Out, errOut: env.Err}
	root := a.root()
	root.SetArgs(env.Args)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	if env.In != nil {
		root.SetIn(env.In)
	}
	a.noteStart(root)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.started && !errors.Is(err, errUsage) {
		err = fmt.Errorf("%w: %w", errUsage, err) // an unknown command, a flag that is missing
	}
	if closeErr := a.closeAll(); err == nil {
		err = closeErr
	}
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && !a.ended:
		a.fail(err)
		return exitInterrupted
	case errors.Is(err, errRefused):
		a.fail(err)
		return exitRefused
	case errors.Is(err, errUsage):
		a.fail(err)
		return exitUsage
	case errors.Is(err, errPartial):
		a.fail(err)
		return exitPartial
	case exitCodeOf(err) != 0:
		a.fail(err)
		return exitCodeOf(err)
	default:
		a.fail(err)
		return exitFailed
	}
}

// noteStart makes every command note that it has begun: what cobra refuses
// before that is a wrong command line.
func (a *app) noteStart(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			a.started = true
			return run(cmd, args)
		}
	}
	for _, child := range c.Commands() {
		a.noteStart(child)
	}
}

// app is one run of the program.
type app struct {
	env         Environment
	out, errOut io.Writer

	configPath string
	output     string
	dryRun     bool
	why        string
	// allowChange is --allow-change, 0 when it was not given.
	allowChange float64
	// metricsListen is --metrics, metricsFile --metrics-file, and measuring what is
	// served and written there.
	metricsListen, metricsFile string
	measuring                  *measuring

	started bool // a command's own work has begun
	ended   bool // by the operator's interrupt, as it is meant to
	cfg     *config.Config
	store   store
	shards  *shards.Shards
	points  crash.Points
	weights func(bucketmap.BucketID) uint64
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "migrator",
		Short:         "Move users between datacenters without an outage",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "text" && a.output != "json" {
				return fmt.Errorf("%w: --output %q: want text or json", errUsage, a.output)
			}
			return a.points.Arm(a.env.CrashAt)
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.configPath, "config", a.env.Config, "the migrator's configuration file (default $DROVER_MIGRATOR_CONFIG)")
	flags.StringVarP(&a.output, "output", "o", "text", "text or json")
	flags.StringVar(&a.why, "why", "", "the reason, for the history and the journal")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(a.commands()...)
	return root
}

// commands lists the commands in the order in which an operator meets them.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.initCommand(),
		a.fenceCommand(),
		a.mapCommand(),
		a.whitelistCommand(),
		a.checkCommand(),
		a.planCommand(),
		a.campaignCommand(),
		a.bucketCommand(),
		a.verifyCommand(),
		a.shardCommand(),
		a.moveCommand(),
		a.statusCommand(),
		a.parityCommand(),
		a.traceCommand(),
		a.sloCommand(),
		a.doctorCommand(),
		a.resumeCommand(),
		a.abortCommand(),
		a.serveCommand(),
	}
}

// canDryRun adds --dry-run to a command that changes something.
func (a *app) canDryRun(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&a.dryRun, "dry-run", false, "say what would be done, check what can be checked, change nothing")
	return c
}

// canAllow adds --allow-change to a command that publishes.
func (a *app) canAllow(c *cobra.Command) *cobra.Command {
	c.Flags().Var(&shareFlag{&a.allowChange}, "allow-change", "the share of the users that this version may move between datacenters, in the place of map.max_change; 1 is everybody")
	return c
}

// shareFlag is a share of more than 0, to 1.
type shareFlag struct{ share *float64 }

func (f *shareFlag) String() string {
	if f.share == nil || *f.share == 0 {
		return ""
	}
	return strconv.FormatFloat(*f.share, 'g', -1, 64)
}

func (f *shareFlag) Set(text string) error {
	share, err := strconv.ParseFloat(text, 64)
	if err != nil || !(share > 0 && share <= 1) { // not a number is neither
		return errors.New("want a share of the users, above 0 and up to 1, such as 0.25")
	}
	*f.share = share
	return nil
}

func (f *shareFlag) Type() string { return "SHARE" }

// open reads the configuration and opens store and shards. It connects to no
// database yet.
func (a *app) open() error {
	if a.configPath == "" {
		return fmt.Errorf("%w: give --config FILE or set DROVER_MIGRATOR_CONFIG", errUsage)
	}
	cfg, err := config.Load(a.configPath)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	list, err := shardlib.LoadShardList(cfg.Shards)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	store, err := openStore(&cfg.Map)
	if err != nil {
		return err
	}
	a.cfg, a.store = cfg, store
	a.shards = shards.New(list, store, cfg.Account.Database())
	if a.weights, err = config.LoadWeights(cfg.Weights); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return nil
}

func (a *app) close() error {
	var errs []error
	if a.shards != nil {
		errs = append(errs, a.shards.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	return errors.Join(errs...)
}

// publisher changes the map in the operator's name.
func (a *app) publisher() *publish.Publisher {
	p := &publish.Publisher{Store: a.store, Weight: a.weights, Who: a.env.Who, MaxChange: a.cfg.Map.MaxChange}
	if a.allowChange != 0 {
		p.MaxChange = a.allowChange
	}
	return p
}

// engine moves buckets.
func (a *app) engine(report func(move.Event)) *move.Engine {
	return &move.Engine{Servers: a.shards, Map: a.publisher(), Tables: a.cfg.Tables,
		Limits: a.cfg.MoveLimits(), Crash: &a.points, Report: a.measured(report)}
}

// json says whether --output json was given.
func (a *app) json() bool { return a.output == "json" }

// printJSON writes one document.
func (a *app) printJSON(v any) error {
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// printf writes words for people; with --output json it is silent.
func (a *app) printf(format string, args ...any) {
	if !a.json() {
		fmt.Fprintf(a.out, format, args...)
	}
}

// fail prints an error.
func (a *app) fail(err error) {
	if a.json() {
		said := map[string]any{"error": err.Error()}
		if late, ok := errors.AsType[*publish.LateError](err); ok {
			said["late"] = late.Late
		}
		_ = json.NewEncoder(a.errOut).Encode(said)
		return
	}
	fmt.Fprintf(a.errOut, "migrator: %v\n", err)
}
