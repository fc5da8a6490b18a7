package doctor

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/move"
	"drover/shardlib/fence"
)

// orphansMax bounds the buckets that one table's orphans are listed of.
const orphansMax = 1000

// orphan is one bucket's rows in one table where it neither lives nor moves.
type orphan struct {
	table  string
	bucket sql.NullInt64
	rows   int64
	expr   string
}

// readOrphans counts the rows of buckets whose row of the fence neither lets
// them live here nor belongs to a move. The count of a table is bounded by
// rowsMax.
func (d *Doctor) readOrphans(ctx context.Context, s *shardView, snap *bucketmap.Snapshot) ([]orphan, error) {
	var here move.Buckets
	for _, r := range s.rows {
		if r.bucket >= 0 && r.bucket < int64(snap.Buckets()) && (r.state != fence.Moved || r.text != "") {
			here = append(here, bucketmap.BucketID(r.bucket))
		}
	}
	var all []orphan
	for _, t := range d.Tables {
		expr := t.Expr("", snap.Buckets())
		bounded, cancel := context.WithTimeout(ctx, rowsMax)
		found, err := countRows(bounded, s.server, t.Name, expr, append(outside(here, expr), expr+" IS NULL"))
		cancel()
		if err != nil {
			return nil, fmt.Errorf("count rows of %s: %w", t.Name, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// conditionsMax is how many ranges of buckets one statement asks for: about
// 50 KB of text.
const conditionsMax = 1000

// countRows counts, by bucket, the rows of which one of the conditions is true.
// The server ends a statement that takes too long.
func countRows(ctx context.Context, server *database.Server, table, expr string, conditions []string) ([]orphan, error) {
	var all []orphan
	for some := range slices.Chunk(conditions, conditionsMax) {
		found, err := countSome(ctx, server, table, expr, strings.Join(some, " OR "))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func countSome(ctx context.Context, server *database.Server, table, expr, condition string) ([]orphan, error) {
	rows, err := server.DB.QueryContext(ctx, database.WithinMillis(int(rowsMax.Milliseconds()))+
		"SELECT "+expr+" AS b, COUNT(*) FROM "+fence.Quote(table)+" WHERE "+condition+
		fmt.Sprintf(" GROUP BY b ORDER BY b LIMIT %d", orphansMax))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []orphan
	for rows.Next() {
		o := orphan{table: table, expr: expr}
		if err := rows.Scan(&o.bucket, &o.rows); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, rows.Err()
}

// outside are conditions of which one is true when a bucket is not of these.
func outside(here move.Buckets, expr string) []string {
	var gaps []string
	next := uint64(0)
	for _, b := range here {
		switch {
		case uint64(b) == next:
		case uint64(b) == next+1:
			gaps = append(gaps, fmt.Sprintf("%s = %d", expr, next))
		default:
			gaps = append(gaps, fmt.Sprintf("%s BETWEEN %d AND %d", expr, next, b-1))
		}
		next = uint64(b) + 1
	}
	return append(gaps, fmt.Sprintf("%s >= %d", expr, next), expr+" < 0")
}

func (v *view) judgeRows(n *notebook) {
	for _, s := range v.shards {
		for _, o := range s.orphans {
			f := Finding{Kind: RowsOrphaned, Severity: Untidy, Shard: s.server.Shard, key: o.table,
				Says:  fmt.Sprintf("have rows in table %s on %s, where they neither live nor move.", o.table, s.server.Name()),
				Cause: "The rows were written past the fence, or were left behind by hand, by a restore or by a table that was added to the configuration after a move.",
				Decide: "No program can know whether a copy of them is elsewhere: compare them with the rows at the buckets' home first. " +
					"Then delete them as the migrator's account, again and again until no row is left. Until then no move brings these buckets here.",
			}
			if !o.bucket.Valid || o.bucket.Int64 < 0 || o.bucket.Int64 >= int64(v.snap.Buckets()) {
				f.key += " outside"
				f.Says = fmt.Sprintf("table %s on %s has rows of no bucket of the map: their bucket is NULL, or not 0 to %d.", o.table, s.server.Name(), v.snap.Buckets()-1)
				f.SQL = []SQL{{s.server.Name(), fmt.Sprintf("SELECT * FROM %s WHERE %s IS NULL OR %s < 0 OR %s >= %d LIMIT 100",
					fence.Quote(o.table), o.expr, o.expr, o.expr, v.snap.Buckets())}}
				n.add(f)
				continue
			}
			f.sql = func(b move.Buckets) []SQL {
				return []SQL{{s.server.Name(), fmt.Sprintf("DELETE FROM %s WHERE %s IN (%s) LIMIT 1000", fence.Quote(o.table), o.expr, inSQL(b))}}
			}
			n.bucket(bucketmap.BucketID(o.bucket.Int64), f)
		}
	}
}
