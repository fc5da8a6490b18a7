package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/promote"
)

func (a *app) shardCommand() *cobra.Command {
	c := &cobra.Command{Use: "shard", Short: "Promote whole shards from datacenter to datacenter"}
	c.AddCommand(a.shardReplicate(), a.shardPromote(), a.shardFinish(), a.shardList())
	return c
}

// promoter promotes replicas.
func (a *app) promoter(report func(promote.Event)) *promote.Engine {
	return a.measuredPromotion(&promote.Engine{Servers: a.shards, Map: a.publisher(), Replication: a.cfg.Replication.Database(),
		Limits: a.cfg.PromotionLimits(), Hooks: a.cfg.PromotionHooks(), PastReadOnly: a.cfg.Promotion.PastReadOnly,
		AllowMySQL: a.cfg.Promotion.AllowMySQL, Crash: &a.points, Report: report})
}

// promoted is what a command on one promotion prints as JSON.
type promoted struct {
	Move       bucketmap.MoveID     `json:"move,omitempty"`
	State      promote.State        `json:"state,omitempty"`
	Shard      bucketmap.ShardName  `json:"shard"`
	From       bucketmap.Datacenter `json:"from"`
	To         bucketmap.Datacenter `json:"to"`
	DryRun     bool                 `json:"dry_run,omitempty"`
	Statements []promote.Statement  `json:"statements,omitempty"`
	// Loss is what a failover may lose.
	Loss  *promote.Loss `json:"loss,omitempty"`
	Error string        `json:"error,omitempty"` // with --all
}

func (a *app) printPromoted(r promoted) error {
	switch {
	case a.json():
		return a.printJSON(r)
	case r.DryRun && r.Loss != nil:
		a.printf("every check passed, nothing was changed\n")
	case r.DryRun:
		a.printf("would promote %s from %s to %s; every check passed, nothing was changed\n\n", r.Shard, r.From, r.To)
		t := a.table("state", "server", "what would be executed")
		for _, s := range r.Statements {
			t.AppendRow(table.Row{s.State, s.Server, s.Do})
		}
		t.Render()
	case r.Loss != nil:
		a.printf("%s: %s lives in %s; when the old primary in %s is back: migrator resume %s; if it never will be: migrator shard finish %s\n",
			r.Move, r.Shard, r.To, r.From, r.Move, r.Shard)
	case r.State == promote.Done:
		a.printf("%s: %s lives in %s; migrator shard promote %s --to %s goes back\n", r.Move, r.Shard, r.To, r.Shard, r.From)
	default:
		a.printf("%s: %s\n", r.Move, r.State)
	}
	return nil
}

func (a *app) shardFinish() *cobra.Command {
	return a.canMeasure(&cobra.Command{
		Use:   "finish SHARD",
		Short: "End a promotion that is reversing without the old primary, which is lost or will be made a replica by hand",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.open(); err != nil {
				return err
			}
			ctx := cmd.Context()
			record, err := a.findPromotion(ctx, bucketmap.ShardName(args[0]))
			if err != nil {
				return err
			}
			p, err := promote.Load(record)
			if err != nil {
				return err
			}
			if err := a.measure(ctx); err != nil {
				return err
			}
			progress := a.newProgress()
			defer progress.end()
			if err := a.promoter(progress.promotion).Finish(ctx, p, a.why); err != nil {
				if errors.Is(err, promote.ErrState) {
					return fmt.Errorf("%w: %w", errRefused, err)
				}
				return err
			}
			return a.printPromoted(promoted{Move: p.Record.Move, State: p.State(), Shard: p.Shard, From: p.Source, To: p.Target})
		},
	})
}

// findPromotion finds the open promotion of a shard.
func (a *app) findPromotion(ctx context.Context, shard bucketmap.ShardName) (*journal.Record, error) {
	records, err := a.openRecords(ctx)
	for _, r := range records {
		if r.Kind == journal.KindPromotion && r.Home == shard {
			return r, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("no open promotion of %q on the shards that answer: %w", shard, err)
	}
	return nil, fmt.Errorf("%w: no open promotion of %q; migrator status lists them", errRefused, shard)
}

// promotionsElsewhere looks for promotions on a shard's other servers, when
// that which the map calls its primary cannot be asked: past the commit point
// the map is behind, until it is published.
func (a *app) promotionsElsewhere(ctx context.Context, shard bucketmap.Shard, open bool) []*journal.Record {
	var all []*journal.Record
	for _, dc := range slices.Sorted(maps.Keys(a.shards.List().Shards[shard.Name])) {
		if dc == shard.Datacenter {
			continue
		}
		server, err := a.shards.In(shard.Name, dc)
		if err != nil {
			continue
		}
		records, err := journal.Open(server).List(ctx, open)
		if err != nil {
			continue // the caller tells of the primary already
		}
		for _, r := range records {
			if r.Kind == journal.KindPromotion {
				all = append(all, r)
			}
		}
	}
	return all
}

// shardLine is what migrator shard list prints of one server.
type shardLine struct {
	Shard      bucketmap.ShardName  `json:"shard"`
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Server     string               `json:"server"`
	Role       string               `json:"role"` // "primary" or "replica", by the map
	Epoch      bucketmap.Epoch      `json:"epoch"`
	// Lag is how many transactions a replica is behind its primary.
	Lag     *uint64 `json:"lag_transactions,omitempty"`
	Problem string  `json:"problem,omitempty"`
}

func (a *app) shardList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the servers of every shard: which is the primary, and how its replicas are getting on",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.open(); err != nil {
				return err
			}
			lines, err := a.listShards(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(lines)
			}
			t := a.table("shard", "epoch", "datacenter", "server", "role", "lag", "problem")
			for _, l := range lines {
				lag := ""
				if l.Lag != nil {
					lag = fmt.Sprintf("%d transactions", *l.Lag)
				}
				t.AppendRow(table.Row{l.Shard, l.Epoch, l.Datacenter, l.Server, l.Role, lag, l.Problem})
			}
			t.Render()
			return nil
		},
	}
}

// listShards asks every server, the primaries before their replicas. A server
// that does not answer is listed with its problem.
func (a *app) listShards(ctx context.Context) ([]shardLine, error) {
	snap, err := a.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	lines := []shardLine{}
	for _, shard := range snap.Shards() {
		primary, err := a.shards.In(shard.Name, shard.Datacenter)
		if err != nil {
			lines = append(lines, shardLine{Shard: shard.Name, Datacenter: shard.Datacenter, Role: "primary", Epoch: shard.Epoch, Problem: err.Error()})
			continue
		}
		line := shardLine{Shard: shard.Name, Datacenter: shard.Datacenter, Server: primary.Addr, Role: "primary", Epoch: shard.Epoch}
		end, err := primary.BinlogPosition(ctx)
		if err != nil {
			line.Problem = err.Error()
		}
		lines = append(lines, line)
		for _, dc := range slices.Sorted(maps.Keys(a.shards.List().Shards[shard.Name])) {
			if dc == shard.Datacenter {
				continue
			}
			server, err := a.shards.In(shard.Name, dc)
			if err != nil {
				return nil, err
			}
			lines = append(lines, replicaLine(ctx, server, end, shard))
		}
	}
	return lines, ctx.Err()
}

func replicaLine(ctx context.Context, server *database.Server, end database.Position, shard bucketmap.Shard) shardLine {
	line := shardLine{Shard: shard.Name, Datacenter: server.Datacenter, Server: server.Addr, Role: "replica", Epoch: shard.Epoch}
	upstream, err := server.OneUpstream(ctx)
	if err == nil {
		line.Problem = upstream.Failure()
		var applied database.Position
		if applied, err = server.ReplicaPosition(ctx); err == nil && end != nil {
			lag := applied.Lag(end)
			line.Lag = &lag
		}
	}
	if err != nil {
		line.Problem = err.Error()
	}
	return line
}
