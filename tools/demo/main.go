package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"drover/internal/cli"
	"drover/tools/demo/internal/stage"
)

// A second signal ends the process at once; the watchdogs clean up.
func main() {
	os.Exit(cli.Run("", command(os.Stdout, os.Getenv("KEEP") != "")))
}

// options say what is played.
type options struct {
	users   int
	rate    int // requests a second
	rateMin int // fewer than this, and the demo fails
	fence   string
	bin     string
	work    string
	keep    bool

	buckets    uint32
	employees  int
	trickle    int           // single buckets that move
	batches    int           // that take the rest of alpha's buckets
	slow       time.Duration // of the objective of latency; 0: the stage's own
	offMax     float64       // by how much the forecast may be off, as a share of what the campaign took; 0: by anything
	rehearsals int           // buckets that go over and back before the plan is made
	bake       time.Duration // how long the campaign looks at the objectives after each step
	promotion  time.Duration // what the plan expects of a promotion
	calm       time.Duration // the acts in which nothing moves
	pause      time.Duration // before each wave, with the load on its users already
	jobWriters int           // in each datacenter
	jobRate    int           // writes a second

	// look is shown the console in the middle of the batches; nil: nobody is.
	look func(ctx context.Context, url, token string) error
}

func defaults() options {
	return options{
		users: 20_000, rate: 540, rateMin: 500, fence: "library",
		buckets: 1024, employees: 50, trickle: 20, batches: 8,
		rehearsals: 3, bake: time.Second, promotion: time.Second, calm: 6 * time.Second, pause: 700 * time.Millisecond, jobWriters: 6, jobRate: 50,
	}
}

// alphaShare is how much of the buckets alpha has at first: its moves alone
// take more than half of the users over.
const alphaShare = 0.6

func command(out io.Writer, keep bool) *cobra.Command {
	o := defaults()
	c := &cobra.Command{
		Use:   "demo",
		Short: "Watch 20,000 users leave one datacenter for another while they go on using the product",
		Args:  cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			terminal := false
			if f, ok := out.(*os.File); ok {
				terminal = term.IsTerminal(int(f.Fd()))
			}
			return run(cmd.Context(), o, newScreen(out, terminal))
		},
	}
	flags := c.Flags()
	flags.IntVar(&o.users, "users", o.users, "how many users there are")
	flags.IntVar(&o.rate, "rate", o.rate, "requests a second")
	flags.IntVar(&o.rateMin, "rate-min", o.rateMin, "requests a second that must be reached")
	flags.Float64Var(&o.offMax, "forecast-max", 0, "by how much of what the campaign took its simulation may be off; 0: it is printed and not judged, as a busy machine changes its pace")
	flags.StringVar(&o.fence, "fence", o.fence, "who refuses writes in the wrong place: library, trigger, or off to see writes lost")
	flags.StringVar(&o.bin, "bin", "", "a folder with the programs proxy, migrator and sampleapp; built when not given")
	flags.StringVar(&o.work, "work", "", "the folder for configurations, logs and the map; a temporary one when not given")
	flags.BoolVar(&o.keep, "keep", keep, "leave everything running at the end, until Ctrl-C")
	c.AddCommand(faultsCommand(out))
	return c
}

func (o options) validate() error {
	switch {
	case o.users < 1000 || o.users > 1_000_000:
		return fmt.Errorf("--users %d: want 1000 to 1000000", o.users)
	case o.rate < 1 || o.rate > 20_000:
		return fmt.Errorf("--rate %d: want 1 to 20000", o.rate)
	case o.rateMin < 0 || o.rateMin > o.rate:
		return fmt.Errorf("--rate-min %d: want 0 to the rate, %d", o.rateMin, o.rate)
	case !(o.offMax >= 0): // nor NaN
		return fmt.Errorf("--forecast-max %v: want 0 or more, such as 0.2", o.offMax)
	case o.fence != "library" && o.fence != "trigger" && o.fence != stage.FenceOff:
		return fmt.Errorf("--fence %q: want library, trigger or off", o.fence)
	}
	return nil
}
