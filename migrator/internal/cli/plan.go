package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/config"
	"drover/migrator/internal/move"
	"drover/migrator/internal/plan"
)

// planResult is what plan rebalance prints as JSON.
type planResult struct {
	Version bucketmap.Version `json:"version"` // of the map that it is for
	Moves   int               `json:"moves"`   // of single buckets
	Batches []planBatch       `json:"batches"`
	Shards  []planShard       `json:"shards"`
}

// planBatch is what one command moves.
type planBatch struct {
	From    bucketmap.ShardName `json:"from"`
	To      bucketmap.ShardName `json:"to"`
	Buckets move.Buckets        `json:"buckets"`
	Count   int                 `json:"count"`
	Weight  uint64              `json:"weight"`
	Command string              `json:"command"`
}

// planShard is one shard before and after.
type planShard struct {
	Shard         bucketmap.ShardName `json:"shard"`
	Share         float64             `json:"share"`
	BucketsBefore int                 `json:"buckets_before"`
	BucketsAfter  int                 `json:"buckets_after"`
	WeightBefore  uint64              `json:"weight_before"`
	WeightAfter   uint64              `json:"weight_after"`
}

func (a *app) planCommand() *cobra.Command {
	c := &cobra.Command{Use: "plan", Short: "Say which buckets to move; nothing is changed"}
	c.AddCommand(a.planRebalance())
	return c
}

func (a *app) planRebalance() *cobra.Command {
	var shares []string
	var weights string
	goal := plan.Goal{}
	c := &cobra.Command{
		Use:   "rebalance",
		Short: "The fewest bucket moves after which the shards are even",
		Long: `The fewest bucket moves after which the shards are even, and the commands.

Without --to-shards every shard of the map gets the same share: a new, empty one
too. With it only the named shards take part, each with its share (1 where none
is given); a share of 0 drains a shard. Other shards are left alone.

Buckets count as one each, or by their weights: those of --weights, or of
"weights" in the configuration. By weights a shard may have the tolerance more
than its share. Only the map is looked at: plan again after each batch.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if goal.MovesMax < 0 || goal.Tolerance < 0 || goal.Tolerance > 1 {
				return fmt.Errorf("%w: want --max-moves of 0 or more, --tolerance of 0 to 1", errUsage)
			}
			if err := a.open(); err != nil {
				return err
			}
			snap, err := a.store.Load(cmd.Context())
			if err != nil {
				return err
			}
			if goal.Shares, err = parseShares(snap, shares); err != nil {
				return err
			}
			goal.Weight = a.weights
			if weights != "" {
				if goal.Weight, err = config.LoadWeights(weights); err != nil {
					return fmt.Errorf("%w: %w", errUsage, err)
				}
			}
			result, err := rebalance(snap, goal)
			if err != nil {
				return err
			}
			return a.printPlan(result)
		},
	}
	c.Flags().StringSliceVar(&shares, "to-shards", nil, "the shards that take part, with shares, such as alpha=0,beta,gamma=2; default: all")
	c.Flags().StringVar(&weights, "weights", "", `a file with the weight of each bucket, such as {"0-99": 200, "100": 150}`)
	c.Flags().Float64Var(&goal.Tolerance, "tolerance", 0.05, "by weights, how much more than its share a shard may have")
	c.Flags().IntVar(&goal.MovesMax, "max-moves", 0, "plan at most so many bucket moves; 0 is no bound")
	return c
}

// parseShares reads --to-shards.
func parseShares(snap *bucketmap.Snapshot, texts []string) (map[bucketmap.ShardName]float64, error) {
	shares := map[bucketmap.ShardName]float64{}
	for _, text := range texts {
		name, number, given := strings.Cut(strings.TrimSpace(text), "=")
		shard, share := bucketmap.ShardName(name), 1.0
		if given {
			var err error
			if share, err = strconv.ParseFloat(number, 64); err != nil {
				return nil, fmt.Errorf("%w: --to-shards %q: want SHARD or SHARD=SHARE", errUsage, text)
			}
		}
		if _, ok := snap.Shard(shard); !ok {
			return nil, fmt.Errorf("%w: --to-shards %q: the map has no such shard; add it by migrator shard, or see migrator map status", errUsage, text)
		}
		if _, twice := shares[shard]; twice {
			return nil, fmt.Errorf("%w: --to-shards names %s twice", errUsage, shard)
		}
		shares[shard] = share
	}
	if len(texts) == 0 {
		for _, shard := range snap.Shards() {
			shares[shard.Name] = 1
		}
	}
	return shares, nil
}

func rebalance(snap *bucketmap.Snapshot, goal plan.Goal) (planResult, error) {
	result := planResult{Version: snap.Version(), Batches: []planBatch{}}
	home := func(b bucketmap.BucketID) bucketmap.ShardName {
		shard, _ := snap.Home(b)
		return shard.Name
	}
	moves, err := plan.Rebalance(snap.Buckets(), home, goal)
	if err != nil {
		return result, fmt.Errorf("%w: %w", errUsage, err)
	}
	byShard := map[bucketmap.ShardName]*planShard{}
	for _, shard := range snap.Shards() {
		if share, ok := goal.Shares[shard.Name]; ok {
			byShard[shard.Name] = &planShard{Shard: shard.Name, Share: share}
		}
	}
	for b := range bucketmap.BucketID(snap.Buckets()) {
		if s := byShard[home(b)]; s != nil {
			weight := uint64(1)
			if goal.Weight != nil {
				weight = goal.Weight(b)
			}
			s.BucketsBefore, s.WeightBefore = s.BucketsBefore+1, s.WeightBefore+weight
			s.BucketsAfter, s.WeightAfter = s.BucketsAfter+1, s.WeightAfter+weight
		}
	}
	for _, m := range moves {
		from, to := byShard[m.From], byShard[m.To]
		from.BucketsAfter, from.WeightAfter = from.BucketsAfter-1, from.WeightAfter-m.Weight
		to.BucketsAfter, to.WeightAfter = to.BucketsAfter+1, to.WeightAfter+m.Weight
		i := slices.IndexFunc(result.Batches, func(b planBatch) bool { return b.From == m.From && b.To == m.To })
		if i < 0 {
			i = len(result.Batches)
			result.Batches = append(result.Batches, planBatch{From: m.From, To: m.To})
		}
		batch := &result.Batches[i]
		batch.Buckets, batch.Count, batch.Weight = append(batch.Buckets, m.Bucket), batch.Count+1, batch.Weight+m.Weight
	}
	result.Moves = len(moves)
	for i := range result.Batches {
		batch := &result.Batches[i]
		slices.Sort(batch.Buckets)
		batch.Command = fmt.Sprintf("migrator bucket move %s --to %s", batch.Buckets, batch.To)
	}
	for _, shard := range snap.Shards() {
		if s := byShard[shard.Name]; s != nil {
			result.Shards = append(result.Shards, *s)
		}
	}
	return result, nil
}

func (a *app) printPlan(r planResult) error {
	if a.json() {
		return a.printJSON(r)
	}
	t := a.table("shard", "share", "buckets", "after", "weight", "after")
	for _, s := range r.Shards {
		t.AppendRow(table.Row{s.Shard, s.Share, s.BucketsBefore, s.BucketsAfter, s.WeightBefore, s.WeightAfter})
	}
	t.Render()
	if r.Moves == 0 {
		a.printf("\nnothing to move: the shards are even by map %d\n", r.Version)
		return nil
	}
	a.printf("\n%d bucket moves by map %d:\n", r.Moves, r.Version)
	t = a.table("from", "to", "count", "weight", "buckets")
	for _, b := range r.Batches {
		t.AppendRow(table.Row{b.From, b.To, b.Count, b.Weight, b.Buckets})
	}
	t.Render()
	a.printf("\n")
	for _, b := range r.Batches {
		a.printf("%s\n", b.Command)
	}
	return nil
}
