package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/move"
	"drover/migrator/internal/preflight"
)

func (a *app) checkCommand() *cobra.Command {
	var buckets, to string
	c := &cobra.Command{
		Use:   "check",
		Short: "Check every shard, or with --move all that a move needs; nothing is changed",
		Long: `Check every shard, or with --move all that a move needs; nothing is changed.

Every check is listed, with what it found and what to do. The exit code is 3
when one refuses. SQL does not show the free disk of a server: see yourself that
the target has room for what comes, and for binlogs of as much again.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (buckets == "") != (to == "") {
				return fmt.Errorf("%w: give --move and --to together", errUsage)
			}
			if err := a.open(); err != nil {
				return err
			}
			results, err := a.check(cmd.Context(), buckets, bucketmap.ShardName(to))
			if err != nil {
				return err
			}
			if err := a.printChecks(results); err != nil {
				return err
			}
			if n := len(preflight.Errors(results)); n != 0 {
				return fmt.Errorf("%w: %d of %d checks refuse", errRefused, n, len(results))
			}
			return nil
		},
	}
	c.Flags().StringVar(&buckets, "move", "", "check a move of these buckets, such as 17 or 0-99,200")
	c.Flags().StringVar(&to, "to", "", "the target shard of that move")
	return c
}

func (a *app) check(ctx context.Context, buckets string, to bucketmap.ShardName) ([]preflight.Result, error) {
	snap, err := a.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	if buckets == "" {
		return a.preflight(snap).Shards(ctx)
	}
	plan := move.Plan{Target: to}
	if plan.Buckets, err = move.ParseBuckets(buckets, snap.Buckets()); err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	source, err := a.engine(nil).Source(ctx, plan)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	return a.preflight(snap).Move(ctx, source, to, plan.Buckets)
}

func (a *app) preflight(snap *bucketmap.Snapshot) *preflight.Preflight {
	return &preflight.Preflight{Servers: a.shards, Map: snap, Tables: a.cfg.Tables, Account: a.cfg.Account.User}
}

func (a *app) printChecks(results []preflight.Result) error {
	if a.json() {
		return a.printJSON(results)
	}
	const wide = 60 // columns of a reason, so that a line fits a wide terminal
	t := a.table("check", "shard", "verdict", "reason", "remedy")
	t.SetColumnConfigs([]table.ColumnConfig{
		{Name: "reason", WidthMax: wide, WidthMaxEnforcer: text.WrapSoft},
		{Name: "remedy", WidthMax: wide, WidthMaxEnforcer: text.WrapSoft},
	})
	for _, r := range results {
		t.AppendRow(table.Row{r.Name, r.Shard, r.Verdict, r.Reason, r.Remedy})
	}
	t.Render()
	return nil
}

// preflightMove runs every check of a move. It prints warnings, and returns an
// errRefused that lists every check that refuses.
func (a *app) preflightMove(ctx context.Context, source bucketmap.ShardName, plan move.Plan) error {
	snap, err := a.store.Load(ctx)
	if err != nil {
		return err
	}
	results, err := a.preflight(snap).Move(ctx, source, plan.Target, plan.Buckets)
	if err != nil {
		return err
	}
	return a.refuseOn(results)
}

// refuseOn prints warnings, and returns an errRefused that lists every check
// that refuses.
func (a *app) refuseOn(results []preflight.Result) error {
	a.warn(preflight.Warnings(results)...)
	failed := preflight.Errors(results)
	if len(failed) == 0 {
		return nil
	}
	lines := make([]string, len(failed))
	for i, r := range failed {
		lines[i] = "  " + r.String()
	}
	return fmt.Errorf("%w: %d check(s) refuse; nothing was changed:\n%s", errRefused, len(failed), strings.Join(lines, "\n"))
}

// warn says on standard error what does not refuse, one line for what several
// servers have in common.
func (a *app) warn(warnings ...preflight.Result) {
	if a.json() {
		if len(warnings) != 0 {
			_ = json.NewEncoder(a.errOut).Encode(map[string][]preflight.Result{"warnings": warnings})
		}
		return
	}
	type said struct{ name, text string }
	shards := map[said][]string{}
	var order []said
	for _, r := range warnings {
		w := said{r.Name, r.Reason + "; " + r.Remedy}
		if shards[w] == nil {
			order = append(order, w)
		}
		shards[w] = append(shards[w], string(r.Shard))
	}
	for _, w := range order {
		fmt.Fprintf(a.errOut, "warning: %s on %s: %s\n", w.name, strings.Join(shards[w], ", "), w.text)
	}
}
