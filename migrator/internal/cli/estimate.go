package cli

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
	"drover/shardlib/fence"
)

const (
	// estimateMax bounds the estimate: it is an aid, and nothing waits for it.
	estimateMax = 2 * time.Second
	// remarkMax bounds a remark in the journal, made while the buckets can be
	// written.
	remarkMax = 1 * time.Second
	// estimateBuckets bounds the buckets that the index is asked about; for more,
	// their share of the table's rows is near enough.
	estimateBuckets = 1000
)

// follow makes p the progress of a move: it estimates how many rows will be
// copied, and keeps in the journal why a freeze was not to be had. Both are aids:
// where they fail, the move goes on.
func (p *progress) follow(ctx context.Context, m *move.Move) {
	p.remark = func(note string) {
		ctx, cancel := context.WithTimeout(ctx, remarkMax)
		defer cancel()
		if server, err := p.app.shards.Primary(ctx, m.Record.Home); err == nil {
			_ = journal.Open(server).Remark(ctx, m.Record, note)
		}
	}
	p.expect(ctx, m)
}

// expect estimates how many rows a move will copy. Where it cannot be told
// there is no total, and no error.
func (p *progress) expect(ctx context.Context, m *move.Move) {
	switch m.State() {
	case move.Planned, move.Copying:
	default:
		return // no copy is to come
	}
	ctx, cancel := context.WithTimeout(ctx, estimateMax)
	defer cancel()
	snap, err := p.app.store.Load(ctx)
	if err != nil {
		return
	}
	server, err := p.app.shards.Primary(ctx, m.From())
	if err != nil {
		return
	}
	total := int64(0)
	for _, t := range p.app.cfg.Tables {
		n, err := estimate(ctx, server, t, m.Buckets, snap.BucketsOf(m.From()))
		if err != nil {
			return
		}
		total += n
	}
	p.total = total
}

// estimate asks the server's statistics: of the index where the table has one
// on the bucket, of the table where not: the share of the buckets that live
// here. No row is read.
func estimate(ctx context.Context, server *database.Server, t fence.Sharded, buckets move.Buckets, here uint32) (int64, error) {
	if t.BucketColumn != "" && len(buckets) <= estimateBuckets {
		if n, ok, err := estimateByIndex(ctx, server, t, buckets); ok || err != nil {
			return n, err
		}
	}
	var rows int64
	if err := server.DB.QueryRowContext(ctx, "SELECT COALESCE(TABLE_ROWS, 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?",
		t.Name).Scan(&rows); err != nil {
		return 0, fmt.Errorf("rows of %s: %w", t.Name, err)
	}
	return int64(float64(rows) * float64(len(buckets)) / float64(max(1, here))), nil
}

func estimateByIndex(ctx context.Context, server *database.Server, t fence.Sharded, buckets move.Buckets) (n int64, ok bool, err error) {
	list := make([]string, len(buckets))
	for i, b := range buckets {
		list[i] = fmt.Sprint(uint32(b))
	}
	rows, err := server.DB.QueryContext(ctx, "EXPLAIN SELECT 1 FROM "+fence.Quote(t.Name)+" WHERE "+
		fence.Quote(t.BucketColumn)+" IN ("+strings.Join(list, ",")+")")
	if err != nil {
		return 0, false, fmt.Errorf("rows of %s: %w", t.Name, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return 0, false, err
	}
	values, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return 0, false, err
		}
		for i, column := range columns {
			switch column {
			case "type":
				ok = values[i].String == "range" || values[i].String == "ref"
			case "rows":
				if n, err = strconv.ParseInt(values[i].String, 10, 64); err != nil {
					return 0, false, fmt.Errorf("rows of %s: %w", t.Name, err)
				}
			}
		}
	}
	return n, ok, rows.Err()
}
