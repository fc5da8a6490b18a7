package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"drover/migrator/internal/slo"
)

// The exit codes of slo check, beside those of every command.
const (
	exitUnhealthy = 10
	exitBurning   = 11
	exitUnknown   = 12
)

// verdictError is a verdict other than healthy.
type verdictError struct{ verdict slo.Verdict }

func (e *verdictError) Error() string { return e.verdict.Reason }

func (e *verdictError) exitCode() int {
	return map[slo.Level]int{slo.Unhealthy: exitUnhealthy, slo.Burning: exitBurning, slo.Unknown: exitUnknown}[e.verdict.Level]
}

// exitCodeOf returns the exit code that an error has of its own, or 0.
func exitCodeOf(err error) int {
	var own interface{ exitCode() int }
	if errors.As(err, &own) {
		return own.exitCode()
	}
	return 0
}

func (a *app) sloCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "slo",
		Short: "Judge by the objectives: error ratio and latency, for each datacenter and for those who were just moved",
		Args:  usageArgs(cobra.NoArgs),
	}
	c.AddCommand(a.sloCheckCommand(), a.sloRulesCommand())
	return c
}

func (a *app) sloRulesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rules",
		Short: "Write the objectives as Prometheus' recording and alerting rules",
		Long: `Write the objectives as Prometheus' recording and alerting rules, to standard
output. Put them into a file of rule_files, and check it with promtool check rules.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			config, _, err := a.sloConfig()
			if err != nil {
				return err
			}
			text, err := config.Rules()
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			if a.json() {
				return a.printJSON(map[string]string{"rules": string(text)})
			}
			_, err = a.out.Write(text)
			return err
		},
	}
}

// sloOptions are the flags of slo check.
type sloOptions struct {
	watch        time.Duration
	empty, moved []string
}

func (a *app) sloCheckCommand() *cobra.Command {
	var o sloOptions
	c := &cobra.Command{
		Use:   "check",
		Short: "Judge by the objectives now, and show the figures",
		Long: `Judge by the objectives now, and show the figures, those that decided first.

With the source proxies nothing is known of what was before, so that they are
watched first, for the shortest window of a page unless --for says otherwise. A
shorter time than that gives unknown.

Exit codes: 0 healthy; 10 unhealthy; 11 burning; 12 unknown, which is no data, old
data, an error or too few events; 2 the command line or the configuration is
wrong; 130 interrupted.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := a.sloCheck(cmd.Context(), &o)
			if err != nil {
				return err
			}
			if a.json() {
				if err := a.printJSON(v); err != nil {
					return err
				}
			} else {
				a.printVerdict(&v)
			}
			if v.Level == slo.Healthy {
				return nil
			}
			return &verdictError{v}
		},
	}
	flags := c.Flags()
	flags.DurationVar(&o.watch, "for", -1, "how long to watch before judging (default the shortest window of a page with the source proxies, 0 with prometheus)")
	flags.StringSliceVar(&o.empty, "empty", nil, "a datacenter that no user lives in yet: too few requests there say nothing")
	flags.StringSliceVar(&o.moved, "moved", nil, "a datacenter that users were just moved to: too few requests of theirs are unknown")
	return c
}

func (a *app) sloCheck(ctx context.Context, o *sloOptions) (slo.Verdict, error) {
	config, datacenters, err := a.sloConfig()
	if err != nil {
		return slo.Verdict{}, err
	}
	for _, d := range slices.Concat(o.empty, o.moved) {
		if len(datacenters) != 0 && !slices.Contains(datacenters, d) {
			return slo.Verdict{}, fmt.Errorf("%w: the shard list has no datacenter %q: want one of %q", errUsage, d, datacenters)
		}
	}
	e, err := slo.New(config, slo.Options{Datacenters: datacenters, Expect: func(datacenter string, cohort slo.Cohort) bool {
		if cohort == slo.Moved {
			return slices.Contains(o.moved, datacenter)
		}
		return !slices.Contains(o.empty, datacenter)
	}})
	if err != nil {
		return slo.Verdict{}, fmt.Errorf("%w: %w", errUsage, err)
	}
	defer e.Close()
	watch := o.watch
	if watch < 0 {
		watch = 0
		if config.Source.Kind == slo.KindProxies {
			watch = e.Base()
		}
	}
	v := e.Evaluate(ctx)
	if watch == 0 {
		return v, ctx.Err()
	}
	a.remark("watching", fmt.Sprintf("watching for %v", watch), nil)
	ticker := time.NewTicker(e.Interval())
	defer ticker.Stop()
	for end := v.At.Add(watch); v.At.Before(end); v = e.Evaluate(ctx) {
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-ticker.C:
		}
	}
	return v, ctx.Err()
}

// printVerdict writes the figures for people.
func (a *app) printVerdict(v *slo.Verdict) {
	a.printf("%s\n", v.Reason)
	if len(v.Figures) == 0 {
		return
	}
	a.printf("\n")
	t := a.table("", "objective", "datacenter", "users", "window", "for", "requests", "bad", "burn", "limit", "why")
	for _, f := range v.Figures {
		level, burn := string(f.Level), fmt.Sprintf("%.3g", f.Burn)
		if f.Level == slo.Unknown {
			burn = "?"
		}
		if f.LeftOut {
			level = "(" + level + ")"
		}
		t.AppendRow([]any{level, f.Objective, f.Datacenter, cmp.Or(f.Cohort, string(slo.All)), f.Window, f.Severity,
			fmt.Sprintf("%.0f", f.Events), fmt.Sprintf("%.3g%%", 100*f.Ratio), burn, f.Limit, f.Why})
	}
	t.Render()
}
