package cli

import "testing"

func TestPlanRebalanceSaysTheFewestMovesAndTheirCommands(t *testing.T) {
	d := ready(t) // 64 buckets on alpha, none on gamma
	d.unchanged(0, []string{"plan", "rebalance"}, "32 bucket moves by map 1", "migrator bucket move 32-63 --to gamma")
	d.unchanged(0, []string{"plan", "rebalance", "--to-shards", "alpha=3,gamma"}, "migrator bucket move 48-63 --to gamma")
	d.unchanged(0, []string{"plan", "rebalance", "--to-shards", "alpha,gamma=0"}, "nothing to move")
	var r planResult
	d.reads(&r, "plan", "rebalance", "--to-shards", "alpha=0,gamma", "--max-moves", "5")
	if r.Moves != 5 || len(r.Batches) != 1 || r.Batches[0].Buckets.String() != "0-4" || r.Batches[0].Count != 5 ||
		len(r.Shards) != 2 || r.Shards[0].BucketsAfter != 59 || r.Shards[1].BucketsAfter != 5 {
		t.Errorf("got %+v", r)
	}
	weights := d.write("weights.yaml", `{"0": 1000, "1-10": 100, "11-63": 0}`)
	r = planResult{}
	d.reads(&r, "plan", "rebalance", "--weights", weights)
	if w := r.Shards[1].WeightAfter; w != 1000 {
		t.Errorf("gamma has a weight of %d after %d moves, want half", w, r.Moves)
	}
	for _, args := range [][]string{{"--to-shards", "alpha"}, {"--to-shards", "alpha,other"}, {"--to-shards", "alpha=x,gamma"},
		{"--to-shards", "alpha,alpha"}, {"--to-shards", "alpha=-1,gamma"}, {"--max-moves", "-1"}, {"--tolerance", "2"}, {"--weights", d.path("none")}} {
		d.unchanged(2, append([]string{"plan", "rebalance"}, args...))
	}
}
