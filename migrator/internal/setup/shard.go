package setup

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
	"drover/shardlib/fence"
)

var (
	// ErrReplica is returned for a server that cannot be a shard's primary:
	// one that replicates from another, or is read-only.
	ErrReplica = errors.New("this server is not a primary")
	// ErrRows is returned where the fence has rows that the map does not agree
	// with.
	ErrRows = errors.New("the fence's rows do not agree with the map")
	// ErrNotReady is returned where rows of the fence are missing, so that
	// triggers would refuse every write.
	ErrNotReady = errors.New("the fence has no active row for what lives here; run migrator init")
)

// tables are those that Prepare makes, in its order.
var tables = []string{fence.Table, "drover_move", "drover_journal", "drover_tail"}

// Tables names the tables that Prepare makes.
func Tables() []string { return append([]string(nil), tables...) }

// Examine says whether a server can become the primary of a shard of the map.
// It changes nothing.
func Examine(ctx context.Context, server *database.Server, snap *bucketmap.Snapshot) error {
	if err := examine(ctx, server, snap); err != nil {
		return fmt.Errorf("%s: %w", server.Name(), err)
	}
	return nil
}

func examine(ctx context.Context, server *database.Server, snap *bucketmap.Snapshot) error {
	if err := primary(ctx, server); err != nil {
		return err
	}
	rows, err := fenceRows(ctx, server)
	if err != nil || rows == nil {
		return err
	}
	return disagreement(ctx, server, snap, rows, false)
}

// Prepare makes the tables and, for the buckets that the map has on the shard,
// active rows. It fails with ErrRows when what is there then is not what the
// map says.
func Prepare(ctx context.Context, server *database.Server, snap *bucketmap.Snapshot) error {
	if err := prepare(ctx, server, snap); err != nil {
		return fmt.Errorf("%s: %w", server.Name(), err)
	}
	return nil
}

func prepare(ctx context.Context, server *database.Server, snap *bucketmap.Snapshot) error {
	if err := primary(ctx, server); err != nil {
		return err
	}
	for _, create := range []func(context.Context, fence.Querier) error{fence.Create, journal.Create, move.CreateTables} {
		if err := create(ctx, server.DB); err != nil {
			return err
		}
	}
	for run := range snap.Runs() {
		if run.Shard != server.Shard {
			continue
		}
		if err := fence.Activate(ctx, server.DB, run.First, run.Last); err != nil {
			return err
		}
	}
	rows, err := fence.AllRows(ctx, server.DB)
	if err != nil {
		return err
	}
	return disagreement(ctx, server, snap, rows, true)
}

// Ready says whether triggers may be installed: every bucket that lives on the
// shard by the map has a row, and the shard's own is active for this server.
func Ready(ctx context.Context, server *database.Server, snap *bucketmap.Snapshot) error {
	if err := ready(ctx, server, snap); err != nil {
		return fmt.Errorf("%s: %w", server.Name(), err)
	}
	return nil
}

func ready(ctx context.Context, server *database.Server, snap *bucketmap.Snapshot) error {
	if err := primary(ctx, server); err != nil {
		return err
	}
	rows, err := fenceRows(ctx, server)
	if err != nil {
		return err
	}
	id, err := serverID(ctx, server)
	if err != nil {
		return err
	}
	shard := false
	have := make(map[int64]bool, len(rows))
	for _, r := range rows {
		have[r.Bucket] = true
		shard = shard || r.Bucket == fence.ShardRow && r.State == fence.Active && r.ServerID == id
	}
	if !shard {
		return fmt.Errorf("the row of the shard: %w", ErrNotReady)
	}
	for run := range snap.Runs() {
		for b := run.First; run.Shard == server.Shard && b <= run.Last; b++ {
			if !have[int64(b)] {
				return fmt.Errorf("bucket %d: %w", b, ErrNotReady)
			}
		}
	}
	return nil
}

// primary refuses a server that must get its tables by replication. The
// migrator's account may write to a read-only server, so the server would not
// refuse by itself.
func primary(ctx context.Context, server *database.Server) error {
	readOnly, err := server.Variable(ctx, "read_only")
	if err != nil {
		return err
	}
	if readOnly != "0" && readOnly != "OFF" {
		return fmt.Errorf("%w: it is read-only; name the datacenter where the shard's primary is", ErrReplica)
	}
	rows, err := server.DB.QueryContext(ctx, "SHOW ALL SLAVES STATUS")
	if err != nil {
		return fmt.Errorf("ask whether it is a replica: %w", err)
	}
	defer rows.Close()
	if rows.Next() {
		return fmt.Errorf("%w: it is a replica; name the datacenter where the shard's primary is, "+
			"or run RESET SLAVE ALL if it no longer replicates", ErrReplica)
	}
	return rows.Err()
}

// fenceRows returns every row, nil where there is no table.
func fenceRows(ctx context.Context, server *database.Server) ([]fence.Row, error) {
	var name string
	err := server.DB.QueryRowContext(ctx, "SELECT TABLE_NAME FROM information_schema.TABLES "+
		"WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?", server.Database, fence.Table).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", fence.Table, err)
	}
	return fence.AllRows(ctx, server.DB)
}

func serverID(ctx context.Context, server *database.Server) (uint32, error) {
	var id uint32
	if err := server.DB.QueryRowContext(ctx, "SELECT @@global.server_id").Scan(&id); err != nil {
		return 0, fmt.Errorf("@@server_id: %w", err)
	}
	return id, nil
}

// disagreement returns an ErrRows for the first row that says something else
// than the map. With complete, a bucket without a row is one too.
func disagreement(ctx context.Context, server *database.Server, snap *bucketmap.Snapshot, rows []fence.Row, complete bool) error {
	id, err := serverID(ctx, server)
	if err != nil {
		return err
	}
	shard, _ := snap.Shard(server.Shard)
	here := make(map[bucketmap.BucketID]bool, len(rows))
	for _, r := range rows {
		if r.Bucket == fence.ShardRow {
			if r.State != fence.Active || r.ServerID != id || r.Epoch != shard.Epoch || r.Token != (fence.Token{}) {
				return fmt.Errorf("%w: the row of the shard is %s with epoch %d for server_id %d, want active with epoch %d for %d",
					ErrRows, r.State, r.Epoch, r.ServerID, shard.Epoch, id)
			}
			continue
		}
		if r.Bucket < 0 || r.Bucket >= int64(snap.Buckets()) {
			return fmt.Errorf("%w: it has bucket %d, and the map has buckets 0 to %d", ErrRows, r.Bucket, snap.Buckets()-1)
		}
		b := bucketmap.BucketID(r.Bucket)
		home, _ := snap.Home(b)
		at := home.Name == server.Shard
		here[b] = at
		switch {
		case at && (r.State != fence.Active || r.Token != (fence.Token{})):
			return fmt.Errorf("%w: bucket %d is %s with move_id %q, and the map has it here", ErrRows, b, r.State, r.Token)
		case at && r.Epoch != snap.Epoch(b):
			return fmt.Errorf("%w: bucket %d has epoch %d here, and %d in the map", ErrRows, b, r.Epoch, snap.Epoch(b))
		case !at && r.State != fence.Moved:
			return fmt.Errorf("%w: bucket %d is %s here, and the map does not have it here", ErrRows, b, r.State)
		}
	}
	for run := range snap.Runs() {
		for b := run.First; complete && run.Shard == server.Shard && b <= run.Last; b++ {
			if !here[b] {
				return fmt.Errorf("%w: bucket %d has no row", ErrRows, b)
			}
		}
	}
	return nil
}
