package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"drover/tools/demo/internal/faults"
	"drover/tools/demo/internal/stage"
)

// faultsOptions say which faults are tried, and on what.
type faultsOptions struct {
	users int
	rate  int    // requests a second
	bin   string // ready programs
	work  string
	only  []int // numbers of cases; empty: all

	buckets uint32
	// Shares of all requests: of the users of the wave whose users meet faults, and
	// of those who stay at the source beside it.
	wave, reserve float64
	every         int // an answer in so many is spoiled
	delay         time.Duration
	scale         float64 // of the objectives' windows
	budget        float64 // of availability
	minEvents     int     // of the objectives, when users meet faults
	lived         bool    // some live in the target since before
	hidden        bool    // the ratio of everybody must stay within the objective
	looks         int     // at a page that is not well, in which nothing may begin
}

// defaultFaults make these figures, at 300 requests a second and a shortest window
// of 12 s: 3,600 requests in it, of which the wave's users send 8%, 288, and those
// who stay at the source 20%. Of 288, 2% are 5 or 6 that go wrong: enough for a
// comparison (5), by 8 times the budget of 0.25% (6 is the limit), 4.5 standard
// errors above the 1,000 who stayed. Of everybody in the target, 72%, it is 0.22%:
// within the objective.
func defaultFaults() faultsOptions {
	return faultsOptions{users: 3000, rate: 300, buckets: 400, wave: 0.08, reserve: 0.2, every: 50, delay: 200 * time.Millisecond,
		scale: 0.04, budget: 0.0025, minEvents: 200, lived: true, hidden: true, looks: 20}
}

func (o faultsOptions) validate() error {
	switch {
	case o.users < 500 || o.users > 100_000:
		return fmt.Errorf("--users %d: want 500 to 100000", o.users)
	case o.rate < 20 || o.rate > 5000:
		return fmt.Errorf("--rate %d: want 20 to 5000", o.rate)
	}
	for _, n := range o.only {
		if !slices.ContainsFunc(faultCases(), func(c faultCase) bool { return c.number == n }) {
			return fmt.Errorf("--only %d: want 1 to %d", n, len(faultCases()))
		}
	}
	return nil
}

// base is the shortest window of a page.
func (o faultsOptions) base() time.Duration {
	return time.Duration(o.scale * float64(5*time.Minute)).Round(time.Millisecond)
}

// faultsCommand tries what a campaign and the tracers do when something is wrong.
func faultsCommand(out io.Writer) *cobra.Command {
	o := defaultFaults()
	c := &cobra.Command{
		Use:   "faults",
		Short: "Inject faults while a campaign runs, and see that it holds or takes the users home, and that tracers find them",
		Long: `Inject faults while a campaign runs, and see that it holds or takes the users
home, and that tracers find them. The campaign, the tracers, the edge and the
applications are the real ones; relays between them do the harm.

Exit codes: 0 every case was as it must be; 1 one was not.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			o.scale *= float64(defaultFaults().rate) / float64(o.rate)
			return runFaults(cmd.Context(), o, newScreen(out, false))
		},
	}
	flags := c.Flags()
	flags.IntVar(&o.users, "users", o.users, "how many users there are")
	flags.IntVar(&o.rate, "rate", o.rate, "requests a second; with fewer the windows are longer, and have as many")
	flags.IntSliceVar(&o.only, "only", nil, "the cases, by their numbers; all when not given")
	flags.StringVar(&o.bin, "bin", "", "a folder with the programs proxy, migrator and sampleapp; built when not given")
	flags.StringVar(&o.work, "work", "", "the folder for configurations, logs and the map; a temporary one when not given")
	return c
}

// runFaults sets the stage, tries the cases and judges.
func runFaults(ctx context.Context, o faultsOptions, screen *screen) error {
	began := time.Now()
	screen.line("Setting the stage:")
	return onStage(ctx, screen, stage.Options{Users: o.users, Buckets: o.buckets, AlphaShare: 1 - betaShare, Fence: "library",
		Bin: o.bin, Dir: o.work}, func(set *stage.Stage, problems *problems) (err error) {
		t := &trial{options: o, screen: screen, stage: set}
		defer func() { err = errors.Join(err, t.close()) }()
		if err := t.open(ctx, problems); err != nil {
			return err
		}
		screen.line("   set up in %.0f s", time.Since(began).Seconds())
		if err := t.play(ctx); err != nil {
			return err
		}
		return t.judge(ctx)
	})
}

// faultCase is one thing that goes wrong.
type faultCase struct {
	number int
	name   string
	play   func(*trial, context.Context, *faultRow) error
}

// faultCases are all of them, in the order in which they are tried.
func faultCases() []faultCase {
	harm := func(what func(*trial) faults.Faults, hidden bool) func(*trial, context.Context, *faultRow) error {
		return func(t *trial, ctx context.Context, row *faultRow) error { return t.harm(ctx, row, what(t), hidden) }
	}
	blind := func(state faults.State, words ...string) func(*trial, context.Context, *faultRow) error {
		return func(t *trial, ctx context.Context, row *faultRow) error { return t.blind(ctx, row, state, words) }
	}
	spoiled := func(t *trial) faults.Faults { return faults.Faults{Every: t.options.every, Apart: t.inWave} }
	late := func(t *trial) faults.Faults { return faults.Faults{Delay: t.options.delay} }
	moved := func(f func(*trial) faults.Faults) func(*trial) faults.Faults {
		return func(t *trial) faults.Faults {
			one := f(t)
			one.Of = t.inWave
			return one
		}
	}
	return []faultCase{
		{1, "errors of the target", harm(spoiled, false)},
		{2, "latency of the target", harm(late, false)},
		{3, "errors of just-moved users alone", harm(moved(spoiled), true)},
		{4, "latency of just-moved users alone", harm(moved(late), true)},
		{5, "metrics killed", blind(faults.Killed, "EOF")},
		{6, "metrics empty", blind(faults.Empty, "has neither")},
		{7, "metrics stale", blind(faults.Stale, "is the same, byte for byte", "too few events")},
		{8, "metrics NaN", blind(faults.NaN, "NaN")},
		{9, "tracers: a stale proxy", (*trial).staleProxy},
		{10, "tracers: a wrong map entry", (*trial).wrongEntry},
		{11, "tracers: the wrong datacenter answers", (*trial).wrongDatacenter},
	}
}

// play tries the cases. One that goes wrong keeps no other from being tried.
func (t *trial) play(ctx context.Context) error {
	for _, c := range faultCases() {
		if len(t.options.only) != 0 && !slices.Contains(t.options.only, c.number) {
			continue
		}
		row := &faultRow{number: c.number, name: c.name}
		t.rows = append(t.rows, row)
		t.screen.line("\n%d. %s", c.number, c.name)
		if err := c.play(t, ctx, row); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			row.not("%v", err)
		}
		t.front.Heal()
		if err := t.page.Be(ctx, faults.Well); err != nil {
			return err
		}
		if name := t.stage.Ended(); name != "" {
			return fmt.Errorf("%s has ended; its log is %s", name, t.stage.LogPath(name))
		}
		t.screen.line("   %s", row)
	}
	return nil
}

// writeText writes a file of the trial's into the work folder.
func (t *trial) writeText(name, text string) (string, error) {
	path := filepath.Join(t.stage.Dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}
