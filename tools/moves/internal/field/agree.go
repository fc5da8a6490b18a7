package field

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"drover/bucketmap"
	"drover/shardlib/fence"
)

// Move is what the journal says of one move.
type Move struct {
	ID      string
	State   string
	Open    bool
	Buckets string
	Home    bucketmap.ShardName // whose journal it is in
}

// Moves reads the journals of both ends, the oldest of each first.
func (f *Field) Moves(ctx context.Context) ([]Move, error) {
	var all []Move
	for _, e := range f.Ends() {
		moves, err := e.moves(ctx)
		if err != nil {
			return nil, fmt.Errorf("journal of %s: %w", e.Shard, err)
		}
		all = append(all, moves...)
	}
	return all, nil
}

func (e *End) moves(ctx context.Context) ([]Move, error) {
	rows, err := e.root.QueryContext(ctx, "SELECT id, state, open, detail FROM drover_move ORDER BY created, id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var moves []Move
	for rows.Next() {
		m := Move{Home: e.Shard}
		var detail []byte
		if err := rows.Scan(&m.ID, &m.State, &m.Open, &detail); err != nil {
			return nil, err
		}
		var d struct{ Buckets string }
		if err := json.Unmarshal(detail, &d); err != nil {
			return nil, err
		}
		m.Buckets = d.Buckets
		moves = append(moves, m)
	}
	return moves, rows.Err()
}

// soaking returns the buckets of moves that are soaking.
func (f *Field) soaking(ctx context.Context) (map[bucketmap.BucketID]bool, error) {
	moves, err := f.Moves(ctx)
	if err != nil {
		return nil, err
	}
	soaks := map[bucketmap.BucketID]bool{}
	for _, m := range moves {
		if m.State != "soaking" {
			continue
		}
		for _, b := range splitBuckets(m.Buckets) {
			soaks[b] = true
		}
	}
	return soaks, nil
}

// Fences reads a bucket's fence row at each end.
func (f *Field) Fences(ctx context.Context) (map[bucketmap.ShardName]map[int64]fence.Row, error) {
	all := map[bucketmap.ShardName]map[int64]fence.Row{}
	for _, e := range f.Ends() {
		rows, err := fence.AllRows(ctx, e.root)
		if err != nil {
			return nil, fmt.Errorf("fence of %s: %w", e.Shard, err)
		}
		all[e.Shard] = map[int64]fence.Row{}
		for _, r := range rows {
			all[e.Shard][r.Bucket] = r
		}
	}
	return all, nil
}

// Agree returns where map, fences and journals contradict one another: each
// bucket must be active on its home by the map alone, with the map's epoch; no
// hold may be left; a move may be open only if it soaks, and a row may have a
// move's token only if that move is open.
func (f *Field) Agree(ctx context.Context) (problems []string, err error) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	snap, err := f.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	if holds := snap.Holds(); len(holds) != 0 {
		say("holds are left in the map: %v", holds)
	}
	moves, err := f.Moves(ctx)
	if err != nil {
		return nil, err
	}
	open := map[string]bool{}
	for _, m := range moves {
		if open[m.ID] = m.Open; m.Open && m.State != "soaking" {
			say("move %s is open and %s", m.ID, m.State)
		}
	}
	fences, err := f.Fences(ctx)
	if err != nil {
		return nil, err
	}
	for b := range int64(f.Buckets) {
		home, _ := snap.Home(bucketmap.BucketID(b))
		for shard, rows := range fences {
			row, ok := rows[b]
			if !ok {
				continue
			}
			if row.Token.Move != "" && !open[string(row.Token.Move)] {
				say("bucket %d on %s has the token %s of a move that is over", b, shard, row.Token)
			}
			if (row.State == fence.Active) != (shard == home.Name) {
				say("bucket %d is %s on %s, and its home by the map is %s", b, row.State, shard, home.Name)
			}
			if row.State == fence.Active && row.Epoch != snap.Epoch(bucketmap.BucketID(b)) {
				say("bucket %d has epoch %d on %s and %d in the map", b, row.Epoch, shard, snap.Epoch(bucketmap.BucketID(b)))
			}
		}
		if _, ok := fences[home.Name][b]; !ok {
			say("bucket %d has no fence row on its home %s", b, home.Name)
		}
	}
	return problems, nil
}

// splitBuckets reads ranges as the journal has them.
func splitBuckets(text string) []bucketmap.BucketID {
	var all []bucketmap.BucketID
	var first, last bucketmap.BucketID
	for _, part := range strings.Split(text, ",") {
		if n, _ := fmt.Sscanf(part, "%d-%d", &first, &last); n == 1 {
			last = first
		}
		for b := first; b <= last; b++ {
			all = append(all, b)
		}
	}
	return all
}

// Disown does to a migrator that does not run what a server does to a client
// that it has not heard of for too long: the connection that has the lock of the
// move ends. Its others stay, with what they have open, so that it finds them
// when it wakes. It says whether there was a lock.
func (f *Field) Disown(ctx context.Context, lock string) (bool, error) {
	owned := false
	for _, e := range f.Ends() {
		var holder sql.NullInt64
		if err := e.root.QueryRowContext(ctx, "SELECT IS_USED_LOCK(?)", lock).Scan(&holder); err != nil {
			return false, err
		}
		if holder.Valid {
			owned = true
			if _, err := e.root.ExecContext(ctx, "KILL ?", holder.Int64); err != nil {
				return false, err
			}
		}
	}
	return owned, nil
}

// Acked is how many writes to a bucket were acknowledged so far.
func (f *Field) Acked(bucket bucketmap.BucketID) int {
	n := 0
	for _, user := range f.users[bucket] {
		n += f.Book.Acked(user)
	}
	return n
}
