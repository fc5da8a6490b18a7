package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"drover/migrator/internal/campaign"
)

// runFlags are the flags of campaign run.
type runFlags struct {
	every    time.Duration
	verdicts string
	proxies  []string
}

func (k *campaigns) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Go on with the campaign, until it is done, aborted, or interrupted",
		Long: `Go on with the campaign, until it is done, aborted, or interrupted.

Before each step, and while its users bake, it asks the objectives of the section
slo of the configuration, or those that something else judges by and writes to
the file of --verdicts: {"level":"healthy","reason":"...","at":"2026-11-22T10:00:00Z"}.
Without either, nothing is known, and nobody moves.

A run that was killed is gone on with by the same command, here or on another
machine that has the folder of --state. An interrupt steps back and stops; again,
the same command goes on.

Exit codes: 0 the campaign is done; 24 it was aborted; 3 there is none, or another
run has it; 1 something failed; 130 interrupted.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.every < 50*time.Millisecond || f.every > time.Hour {
				return fmt.Errorf("%w: --every %s: want 50ms to 1h", errUsage, f.every)
			}
			dir, err := k.dir()
			if err != nil {
				return err
			}
			if err := k.open(); err != nil {
				return err
			}
			return k.runCampaign(cmd.Context(), dir, f)
		},
	}
	c.Flags().DurationVar(&f.every, "every", campaign.DefaultEvery, "how often the objectives are asked; at least as often as their windows need it")
	c.Flags().StringVar(&f.verdicts, "verdicts", "", "a file that something else keeps writing verdicts to, in the place of the section slo")
	c.Flags().StringArrayVar(&f.proxies, "proxy", nil, "proxies that gates with parity ask; default map.push.proxies, or else those of slo.source.urls")
	return k.canMeasure(c)
}

func (k *campaigns) runCampaign(ctx context.Context, dir string, f runFlags) error {
	status, err := campaign.Read(dir, time.Now())
	if err != nil {
		return refused(err)
	}
	judge, err := k.judge(status, f)
	if err != nil {
		return err
	}
	defer judge.close()
	if err := k.measure(ctx); err != nil {
		return err
	}
	gate := k.gateParity(f.proxies)
	defer gate.close()
	k.errOut = &lockedWriter{w: k.errOut} // steps run side by side
	r := &campaign.Runner{
		Executor: &movers{app: k.app, to: status.To, why: "campaign " + status.Campaign},
		Maps:     k.store, Judge: judge, Parity: gate, Watch: campaign.WatchFiles, Crash: &k.points, Who: k.env.Who, Every: judge.every(f.every),
	}
	if k.measuring != nil {
		if registry, ok := k.measuring.own.(prometheus.Registerer); ok {
			r.Metrics = campaign.NewMetrics(registry)
			judge.register(registry)
		}
	}
	r.Report = func(e campaign.Entry) {
		judge.heard(e)
		k.tellEntry(e)
	}
	err = r.Run(ctx, dir)
	switch {
	case errors.Is(err, campaign.ErrAborted):
		return &codeError{err, exitAborted}
	case errors.Is(err, campaign.ErrRunning):
		return fmt.Errorf("%w: %w", errRefused, err)
	case err != nil:
		return refused(err)
	}
	return k.printDone(dir)
}

func (k *campaigns) printDone(dir string) error {
	status, err := campaign.Read(dir, time.Now())
	if err != nil {
		return err
	}
	if k.json() {
		return k.printJSON(status)
	}
	k.printf("campaign %s is done: %d of %d users live in %s\n", status.Campaign, status.Users.Moved, status.Users.All, status.To)
	return nil
}

// tellEntry tells a line of the journal: a line for people, or an event.
func (k *campaigns) tellEntry(e campaign.Entry) {
	if k.json() {
		_ = json.NewEncoder(k.errOut).Encode(e) // who has gone needs no word
		return
	}
	if text := entryText(e); text != "" {
		fmt.Fprintf(k.errOut, "%s  %s\n", e.At.Local().Format("15:04:05.000"), text)
	}
}

// entryText is a line of the journal for people; empty for what they need not
// see.
func entryText(e campaign.Entry) string {
	switch e.Kind {
	case campaign.EntryApplied:
		return "applied by " + plain(e.Who)
	case campaign.EntryRun:
		return "a run began, by " + plain(e.Who)
	case campaign.EntryCommand:
		text := string(e.Command)
		if e.Rate != 0 {
			text += fmt.Sprintf(" %d", e.Rate)
		}
		for _, id := range e.Steps {
			text += " " + string(id)
		}
		return short200(fmt.Sprintf("%s, by %s: %s", text, plain(e.Who), plain(e.Why)))
	case campaign.EntryDecision:
		return short200(fmt.Sprintf("%-8s %s (%s), %.0f users an hour", e.Decision.Action, plain(e.Why), e.Decision.Cause, e.Decision.Rate))
	case campaign.EntryStep:
		text := fmt.Sprintf("%s is %s", e.Step, e.State)
		if e.Took > 0 {
			text += fmt.Sprintf(" after %s", e.Took.Round(time.Millisecond))
		}
		if e.Error != "" {
			text += ": " + plain(e.Error)
		}
		return short200(text)
	case campaign.EntryReturning:
		if len(e.Steps) == 0 {
			return "the way back is over: " + plain(e.Why)
		}
		return fmt.Sprintf("%d steps go back, %s: %s", len(e.Steps), e.Mode, plain(e.Why))
	case campaign.EntryDefault:
		return "the default is " + plain(e.Why)
	case campaign.EntryEnded:
		return "ended: " + plain(e.Why)
	default:
		return ""
	}
}

// short200 keeps the beginning of a long line.
func short200(line string) string {
	const most = 200
	if len(line) <= most {
		return line
	}
	return line[:most] + "…"
}
