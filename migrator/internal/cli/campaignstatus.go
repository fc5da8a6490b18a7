package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/list"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"drover/migrator/internal/campaign"
)

func (k *campaigns) statusCommand() *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the campaign is getting on: waves, steps, pace, verdict, and when it will end",
		Long: `Show how the campaign is getting on: waves, steps, pace, verdict, and when it will
end. --watch shows it again whenever something changes, until it is over or
interrupted.

Exit codes:
  0  ready, moving, or done
  20 held: nothing begins until the cause is gone, such as objectives that are unknown
  21 paused by an operator
  22 stopped: a step failed, burnt or went back, and waits for an operator
  23 users are going back
  24 aborted
  3  there is no campaign`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := k.dir()
			if err != nil {
				return err
			}
			if watch {
				return k.watchStatus(cmd.Context(), dir)
			}
			s, err := campaign.Read(dir, time.Now())
			if err != nil {
				return refused(err)
			}
			if err := k.printStatus(s); err != nil {
				return err
			}
			return phaseError(s)
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, "show it again whenever something changes")
	return c
}

// phaseError is nil while all is well.
func phaseError(s campaign.Status) error {
	codes := map[campaign.Phase]int{campaign.PhaseHeld: exitHeld, campaign.PhasePaused: exitPaused, campaign.PhaseStopped: exitStopped,
		campaign.PhaseReturning: exitReturning, campaign.PhaseAborted: exitAborted}
	if code, ok := codes[s.Phase]; ok {
		return &codeError{fmt.Errorf("the campaign is %s: %s", s.Phase, plain(s.Reason)), code}
	}
	return nil
}

// watchEvery is how soon --watch shows what changes by time alone.
const watchEvery = time.Second

func (k *campaigns) watchStatus(ctx context.Context, dir string) error {
	reader := campaign.NewReader(dir)
	first, err := reader.Read(time.Now())
	if err != nil {
		return refused(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	changed, err := campaign.WatchFiles(ctx, filepath.Join(dir, first.Campaign))
	if err != nil {
		cancel()
		return err
	}
	defer func() {
		cancel()
		for range changed { // until its goroutine is over
		}
	}()
	f, ok := k.out.(*os.File)
	tty := ok && !k.json() && term.IsTerminal(int(f.Fd()))
	shown, last := "", time.Time{}
	for {
		s, err := reader.Read(time.Now())
		if err != nil {
			return refused(err)
		}
		line := fmt.Sprint(s.Phase, s.Reason, s.Users, s.Live, len(s.Journal))
		if n := len(s.Journal); n != 0 {
			line += fmt.Sprint(s.Journal[n-1].Seq)
		}
		if line != shown || tty && time.Since(last) >= watchEvery {
			if tty {
				k.printf("\x1b[H\x1b[2J")
			}
			if err := k.printStatus(s); err != nil {
				return err
			}
			shown, last = line, time.Now()
		}
		if s.Phase == campaign.PhaseDone || s.Phase == campaign.PhaseAborted {
			return phaseError(s)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed: // or its clock
		}
	}
}

func (k *campaigns) printStatus(s campaign.Status) error {
	if k.json() {
		return k.printJSON(s)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "campaign %s to %s: %s", s.Campaign, s.To, s.Phase)
	if s.Reason != "" {
		fmt.Fprintf(&b, ": %s", short200(plain(s.Reason)))
	}
	fmt.Fprintf(&b, "\nusers    %s of %d moved", share(s.Users.Moved, s.Users.All), s.Users.All)
	if w := s.Whitelisted; w.All != 0 {
		fmt.Fprintf(&b, ", and %d of %d of them by the whitelist", w.Moved, w.All)
	}
	b.WriteString("\n")
	fmt.Fprintf(&b, "pace     %.0f users an hour (%d to %d), %d in the last hour\n", s.Pace.Rate, s.Pace.Min, s.Pace.Max, s.Pace.LastHour)
	if v := s.Verdict; v != nil && v.Level != "" {
		fmt.Fprintf(&b, "verdict  %s, %s: %s\n", v.Level, v.At.Local().Format("2006-01-02 15:04:05"), short200(plain(v.Reason)))
	}
	if s.Default != "" {
		fmt.Fprintf(&b, "default  %s\n", s.Default)
	}
	switch {
	case !s.End.IsZero():
		fmt.Fprintf(&b, "end      about %s, in %s\n", s.End.Local().Format("2006-01-02 15:04"), s.Left.Round(time.Second))
	case s.Left != 0:
		fmt.Fprintf(&b, "end      about %s after it goes on\n", s.Left.Round(time.Second))
	}
	if !s.Live && s.Phase != campaign.PhaseDone && s.Phase != campaign.PhaseAborted {
		fmt.Fprintf(&b, "run      none is live: migrator campaign run\n")
	}
	if s.Stuck() {
		fmt.Fprintf(&b, "run      is stuck: it was last seen to go round at %s; end it, and migrator campaign run\n", s.Looked.Local().Format("2006-01-02 15:04:05"))
	}
	fmt.Fprintf(&b, "\n%s\n", statusTree(s))
	k.printf("%s", b.String())
	return nil
}

func share(n, of uint64) string {
	if of == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d (%.1f %%)", n, 100*float64(n)/float64(of))
}

// treeSteps is how many steps of a wave the tree shows: those of which something
// is to be said. The others are counted.
const treeSteps = 12

// marks are what stands before a step or a wave.
var marks = map[string]string{"waiting": "○", "running": "▶", "moving": "▶", "baking": "◐", "passed": "✔", "done": "✔",
	"failed": "✖", "skipped": "–", "returning": "◀", "returned": "↩"}

func statusTree(s campaign.Status) string {
	l := list.NewWriter()
	l.SetStyle(list.StyleConnectedLight)
	for _, w := range s.Waves {
		l.AppendItem(fmt.Sprintf("%s %s  %s, %d steps, %s of %d users", marks[w.State], w.Name, w.State, len(w.Steps), share(w.Users.Moved, w.Users.All), w.Users.All))
		l.Indent()
		shown, counts := 0, map[campaign.StepState]int{}
		for _, t := range w.Steps {
			quiet := t.State == campaign.Passed || t.State == campaign.Waiting || t.State == campaign.Skipped
			if shown >= treeSteps || quiet && len(w.Steps) > treeSteps {
				counts[t.State]++
				continue
			}
			shown++
			line := fmt.Sprintf("%s %s  %s, %s, %d users", marks[string(t.State)], t.Step, t.State, short40(t.What), t.Users)
			if t.Error != "" {
				line += ": " + short200(plain(t.Error))
			}
			l.AppendItem(line)
		}
		for _, state := range campaign.StepStates() {
			if n := counts[state]; n != 0 {
				l.AppendItem(fmt.Sprintf("%s %d more %s", marks[string(state)], n, state))
			}
		}
		l.UnIndent()
	}
	return l.Render()
}

func (k *campaigns) simulateCommand() *cobra.Command {
	var model, begin string
	var runs int
	var seed uint64
	c := &cobra.Command{
		Use:   "simulate [PLAN]",
		Short: "Run a plan against a model of the fleet: when it ends, the worst hour, the load on the link",
		Long: `Run a plan against a model of the fleet, with the pacer of campaign run and a
clock of its own: when it ends, as a median and for nine runs of ten, the worst
hour, and the load on the link between the datacenters.

Without a plan it is the model's own fleet: 1,000 instances of the application,
200 shards and 100 million users, unless --model says otherwise; docs/campaign.md
lists its keys. The same seed gives the same result.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			m := campaign.DefaultModel()
			var err error
			if model != "" {
				if m, err = campaign.LoadModel(model); err != nil {
					return refused(err)
				}
			}
			if cmd.Flags().Changed("runs") {
				m.Runs = runs
			}
			if cmd.Flags().Changed("seed") {
				m.Seed = seed
			}
			at := time.Now()
			if begin != "" {
				if at, err = time.Parse(time.RFC3339, begin); err != nil {
					return fmt.Errorf("%w: --begin: %w", errUsage, err)
				}
			}
			var plan *campaign.Plan
			if len(args) == 1 {
				plan, err = readPlan(args[0])
			} else if err = m.Check(); err == nil {
				plan, err = m.Plan(campaign.Options{})
			}
			if err != nil {
				return refused(err)
			}
			result, err := campaign.Simulate(plan, m, at)
			if err != nil {
				return refused(err)
			}
			return k.printSimulation(result)
		},
	}
	c.Flags().StringVar(&model, "model", "", "a file with the model; what it does not say is the default's")
	c.Flags().StringVar(&begin, "begin", "", "when it begins, such as 2026-11-23T09:00:00Z; default now")
	c.Flags().IntVar(&runs, "runs", 0, "how often it is simulated; default the model's, 100")
	c.Flags().Uint64Var(&seed, "seed", 0, "the first run's seed; default the model's, 1")
	return c
}

func (k *campaigns) printSimulation(r campaign.Simulation) error {
	if k.json() {
		return k.printJSON(r)
	}
	const mib = 1 << 20
	at := func(t time.Time) string { return t.Local().Format("2006-01-02 15:04 MST") }
	k.printf("%d users in %d steps, %d runs from %s\n", r.Users, r.Steps, r.Runs, at(r.Begin))
	k.printf("end         %s, after %s (median)\n", at(r.Median), r.TookMedian.Round(time.Second))
	k.printf("            %s, after %s (9 of 10 runs)\n", at(r.P90), r.TookP90.Round(time.Second))
	k.printf("held        %s of it; %d waves went back, %d steps failed (median run)\n", r.Held.Round(time.Minute), r.Returns, r.Failures)
	k.printf("worst hour  from %s: %.0f failed requests, %d users in front of what burns, %d users moved (seed %d)\n",
		at(r.Worst.Begins), r.Worst.Requests, r.Worst.Users, r.Worst.Moved, r.Worst.Seed)
	k.printf("link        %.1f MiB/s of replication, %.1f on average, %.1f in the busiest hour, from %s: %.1f %% of it\n",
		r.Link.Base/mib, r.Link.Mean/mib, r.Link.Peak/mib, at(r.Link.PeakAt), 100*r.Link.PeakShare)
	return nil
}
