package preflight

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"drover/bucketmap"
	"drover/migrator/internal/setup"
	"drover/shardlib/fence"
)

// The checks of the fence's tables and rows, besides those of Homes.
const (
	FenceTable   = "fence-table"
	DroverTables = "drover-tables"
	FenceStates  = "fence-states"
	BucketsFree  = "buckets-free"
)

// judgeFenceTables checks the tables that migrator init makes, and the row of
// the shard.
func (p *Preflight) judgeFenceTables(f *findings, s *facts) {
	if s.comments.err != nil {
		f.check(s.server, FenceTable, unknown(Error, "SELECT", s.comments.err))
		return
	}
	names, comments := s.comments.column("name"), s.comments.column("comment")
	have := map[string]string{}
	for i, name := range names {
		have[name] = comments[i]
	}
	var found []finding
	comment, there := have[fence.Table]
	want := fmt.Sprintf("drover fence, schema %d", fence.SchemaVersion)
	switch {
	case !there:
		found = append(found, refuse("run migrator init", "there is no table %s", fence.Table))
	case comment != want:
		found = append(found, refuse("run migrator fence install, which brings an older table to this version; for a newer one use the migrator that made it",
			"the table %s says %q, and this program knows %q", fence.Table, comment, want))
	case s.fenceErr != nil:
		found = append(found, unknown(Error, "SELECT", s.fenceErr))
	}
	f.check(s.server, FenceTable, found...)

	var missing []string
	for _, name := range setup.Tables() {
		if _, ok := have[name]; !ok && name != fence.Table {
			missing = append(missing, name)
		}
	}
	found = nil
	if len(missing) != 0 {
		found = append(found, refuse("run migrator init", "there is no table %s", strings.Join(missing, ", ")))
	}
	f.check(s.server, DroverTables, found...)
	if s.fenceErr != nil || !there {
		return
	}
	id, _ := s.number("server_id")
	shard, _ := p.Map.Shard(s.server.Shard)
	f.check(s.server, ShardActive, shardRow(s.shardRows(), uint32(id), shard.Epoch)...)
	f.check(s.server, FenceStates, states(s)...)
}

// states finds rows in states that no program writes. The fence refuses by
// them.
func states(s *facts) []finding {
	var found []finding
	for _, r := range s.fenceRows {
		switch r.State {
		case fence.Active, fence.Frozen, fence.Moved, fence.Incoming:
		default:
			if len(found) < bucketWords {
				found = append(found, refuse("find out who wrote it; the states are active, frozen, moved and incoming",
					"the row of bucket %d has the state %q", r.Bucket, r.State))
			}
		}
	}
	return found
}

// holder is what stands in a reason for a state and who has it.
func holder(r fence.Row) string {
	if r.Token.Move == "" {
		return string(r.State)
	}
	return fmt.Sprintf("%s, and %s has them", r.State, r.Token.Move)
}

// judgeBuckets checks the rows of a move's buckets at one of its ends.
func (p *Preflight) judgeBuckets(f *findings, s *facts) {
	if s.fenceErr != nil {
		return // said by the check of the table
	}
	rows := map[bucketmap.BucketID]fence.Row{}
	for _, r := range s.bucketRows() {
		rows[bucketmap.BucketID(r.Bucket)] = r
	}
	if s.isTarget {
		p.judgeTarget(f, s, rows)
		return
	}
	elsewhere, claimed := map[string][]bucketmap.BucketID{}, map[string][]bucketmap.BucketID{}
	var epochs []bucketmap.BucketID
	for _, b := range s.buckets {
		r, ok := rows[b]
		home, _ := p.Map.Home(b)
		switch {
		case home.Name != s.server.Shard:
			elsewhere["on another shard by the map"] = append(elsewhere["on another shard by the map"], b)
		case !ok:
			elsewhere["not in the fence"] = append(elsewhere["not in the fence"], b)
		case r.Token.Move != "":
			claimed[holder(r)] = append(claimed[holder(r)], b)
		case r.State != fence.Active:
			elsewhere[string(r.State)] = append(elsewhere[string(r.State)], b)
		case r.Epoch != p.Map.Epoch(b):
			epochs = append(epochs, b)
		}
	}
	f.check(s.server, HomeActive, group(elsewhere, func(what string, buckets []bucketmap.BucketID) finding {
		return refuse("run migrator check and migrator map diff: the map and the fence must agree before anything is moved",
			"the map has %s here, and they are %s", rangesOf(buckets), what)
	})...)
	f.check(s.server, HomeEpoch, p.epochs(epochs, rows)...)
	f.check(s.server, BucketsFree, group(claimed, func(what string, buckets []bucketmap.BucketID) finding {
		return refuse("end that move first: migrator status shows it; then migrator resume, abort, or bucket finish",
			"%s: %s", rangesOf(buckets), what)
	})...)
}

func (p *Preflight) judgeTarget(f *findings, s *facts, rows map[bucketmap.BucketID]fence.Row) {
	taken := map[string][]bucketmap.BucketID{}
	for b, r := range rows {
		if r.State != fence.Moved || r.Token.Move != "" {
			taken[holder(r)] = append(taken[holder(r)], b)
		}
	}
	f.check(s.server, BucketsFree, group(taken, func(what string, buckets []bucketmap.BucketID) finding {
		return refuse("end the move that has them: migrator status shows it; where none has, the map and the fence disagree: run migrator check",
			"the target's fence has %s already: %s", rangesOf(buckets), what)
	})...)
}

// judgeHomes checks all rows of a shard against the map.
func (p *Preflight) judgeHomes(f *findings, s *facts) {
	if s.fenceErr != nil {
		return
	}
	rows := map[bucketmap.BucketID]fence.Row{}
	wrong, moving := map[string][]bucketmap.BucketID{}, map[string][]bucketmap.BucketID{}
	var epochs []bucketmap.BucketID
	for _, r := range s.bucketRows() {
		b := bucketmap.BucketID(r.Bucket)
		rows[b] = r
		home, ok := p.Map.Home(b)
		here := ok && home.Name == s.server.Shard
		switch {
		case r.Bucket < 0 || r.Bucket >= int64(p.Map.Buckets()):
			wrong["in the fence, and the map has no such bucket"] = append(wrong["in the fence, and the map has no such bucket"], b)
		case r.Token.Move != "":
			moving[holder(r)] = append(moving[holder(r)], b)
		case here && r.State != fence.Active:
			what := string(r.State) + " here, and the map has them here"
			wrong[what] = append(wrong[what], b)
		case !here && r.State != fence.Moved:
			what := string(r.State) + " here, and the map does not have them here"
			wrong[what] = append(wrong[what], b)
		case here && r.Epoch != p.Map.Epoch(b):
			epochs = append(epochs, b)
		}
	}
	const missing = "not in the fence, and the map has them here"
	for run := range p.Map.Runs() {
		for b := run.First; run.Shard == s.server.Shard && b <= run.Last; b++ {
			if _, ok := rows[b]; !ok {
				wrong[missing] = append(wrong[missing], b)
			}
		}
	}
	found := group(wrong, func(what string, buckets []bucketmap.BucketID) finding {
		return refuse("the database says where a bucket is: publish a map that follows it (migrator map push), or run migrator init where rows are missing",
			"%s: %s", rangesOf(buckets), what)
	})
	f.check(s.server, HomeActive, found...)
	f.check(s.server, HomeEpoch, p.epochs(epochs, rows)...)
	f.check(s.server, BucketsFree, group(moving, func(what string, buckets []bucketmap.BucketID) finding {
		return note("%s: %s", rangesOf(buckets), what)
	})...)
}

func (p *Preflight) epochs(buckets []bucketmap.BucketID, rows map[bucketmap.BucketID]fence.Row) []finding {
	if len(buckets) == 0 {
		return nil
	}
	b := buckets[0]
	return []finding{refuse("publish a map with the fence's epochs (migrator map push)",
		"the epoch of %s is another one in the fence than in the map: that of bucket %d is %d and %d",
		rangesOf(buckets), b, rows[b].Epoch, p.Map.Epoch(b))}
}

// group makes a finding of each group of buckets, in order.
func group(groups map[string][]bucketmap.BucketID, f func(what string, buckets []bucketmap.BucketID) finding) []finding {
	var found []finding
	for _, what := range slices.Sorted(maps.Keys(groups)) {
		found = append(found, f(what, groups[what]))
	}
	return found
}
