package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
)

// handles is a table in which a name can go from one row to another.
const handles = `CREATE TABLE handles (id INT NOT NULL PRIMARY KEY, name VARCHAR(20), bucket INT UNSIGNED NOT NULL, UNIQUE KEY (name), KEY (bucket))`

var handlesTable = fence.Sharded{Name: "handles", BucketColumn: "bucket"}

// copierOf is a copier to the target with a cursor there, and two loaders.
func (w *world) copierOf(table *database.Table, target *database.Server) (c *copier, loaders [2]*loader) {
	w.t.Helper()
	e := w.engine(nil)
	m := &Move{Record: &journal.Record{Move: "m-1"}, Detail: Detail{Buckets: Buckets{5, 6}, Leg: 1}}
	r := &run{Engine: e, move: m, to: target, tables: []*database.Table{table}, token: m.Record.Token()}
	_, err := target.DB.ExecContext(w.t.Context(), "INSERT INTO drover_tail (move_id, leg, token, position, progress) VALUES (?, 1, ?, '', 'none')",
		string(m.Record.Move), r.token.String())
	must(w.t, err)
	for i := range loaders {
		loaders[i], err = newLoader(w.t.Context(), target, fmt.Sprintf("drover-test-%s-%d", w.database, i))
		must(w.t, err)
		w.t.Cleanup(loaders[i].close)
	}
	return newCopier(r, nil, len(loaders)), loaders
}

func handleChunk(t *database.Table, number int, text string) *chunk {
	return &chunk{number: number, table: t, size: 1, rows: 1, text: []byte(text), next: cursor{Rows: int64(number + 1)}}
}

// sent waits until the target has so many rows, committed or not.
func (w *world) sent(rows int) {
	w.t.Helper()
	db := w.openDrover(w.gamma)
	conn, err := db.Conn(w.t.Context())
	must(w.t, err)
	defer conn.Close()
	_, err = conn.ExecContext(w.t.Context(), "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
	must(w.t, err)
	testrun.Until(w.t, fmt.Sprintf("%d rows are sent", rows), func() error {
		var n int
		if err := conn.QueryRowContext(w.t.Context(), "SELECT COUNT(*) FROM handles").Scan(&n); err != nil || n == rows {
			return err
		}
		return fmt.Errorf("%d", n)
	})
}

func TestChunksCommitInTheOrderInWhichTheyWereRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	table, target := w.made(handlesTable, handles)
	c, loaders := w.copierOf(table, target)
	var group errgroup.Group
	group.Go(func() error { return c.write(t.Context(), loaders[1], handleChunk(table, 1, "2\tb\t6\n")) })
	w.sent(1)
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM handles"); n != 0 {
		t.Errorf("%d rows of the second chunk are committed before the first chunk's", n)
	}
	if progress := w.text(w.gamma, "SELECT progress FROM drover_tail"); progress != "none" {
		t.Errorf("the cursor is %s before the first chunk is written", progress)
	}
	must(t, c.write(t.Context(), loaders[0], handleChunk(table, 0, "1\ta\t5\n")))
	must(t, group.Wait())
	if rows := w.text(w.gamma, "SELECT GROUP_CONCAT(id, name ORDER BY id) FROM handles"); rows != "1a,2b" {
		t.Errorf("rows %s, want 1a,2b", rows)
	}
	if rows := w.text(w.gamma, "SELECT JSON_VALUE(progress, '$.rows') FROM drover_tail"); rows != "2" {
		t.Errorf("the cursor counts %s rows, want 2", rows)
	}
}

func TestAChunkThatBlocksTheOneBeforeItMakesWayAndIsWrittenAfterIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	table, target := w.made(handlesTable, handles)
	c, loaders := w.copierOf(table, target)
	// The name went from row 1 to row 2 between the reads, and the later chunk
	// has it at the target first.
	var group errgroup.Group
	group.Go(func() error { return c.write(t.Context(), loaders[1], handleChunk(table, 1, "2\ta\t6\n")) })
	w.sent(1)
	must(t, c.write(t.Context(), loaders[0], handleChunk(table, 0, "1\ta\t5\n")))
	must(t, group.Wait())
	if rows := w.text(w.gamma, "SELECT GROUP_CONCAT(id, name ORDER BY id) FROM handles"); rows != "2a" {
		t.Errorf("rows %s, want 2a: the later image", rows)
	}
}

func TestAChunkOfARunThatWasReplacedIsNotWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	table, target := w.made(handlesTable, handles)
	c, loaders := w.copierOf(table, target)
	w.exec(w.gamma, "UPDATE drover_tail SET token = 'm-1/2'")
	for name, text := range map[string]string{"by LOAD DATA": "1\ta\t5\n", "by statements": "300000000000\ta\t5\n"} {
		if err := c.write(t.Context(), loaders[0], handleChunk(table, 0, text)); !errors.Is(err, ErrReplaced) {
			t.Errorf("%s: %v, want ErrReplaced", name, err)
		}
	}
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM handles"); n != 0 {
		t.Errorf("%d rows were written", n)
	}
}

func TestAConnectionThatIsLostBeforeTheCommitCostsNoMoreThanTheChunk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	table, target := w.made(handlesTable, handles)
	c, loaders := w.copierOf(table, target)
	var group errgroup.Group
	group.Go(func() error { return c.write(t.Context(), loaders[1], handleChunk(table, 1, "2\tb\t6\n")) })
	w.sent(1)
	w.exec(w.gamma, "BEGIN NOT ATOMIC FOR c IN (SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() AND user = '"+
		target.Account.User+"' AND command = 'Sleep') DO KILL c.id; END FOR; END")
	w.sent(0)
	must(t, c.write(t.Context(), loaders[0], handleChunk(table, 0, "1\ta\t5\n")))
	must(t, group.Wait())
	if rows := w.text(w.gamma, "SELECT GROUP_CONCAT(id, name ORDER BY id) FROM handles"); rows != "1a,2b" {
		t.Errorf("rows %s, want 1a,2b", rows)
	}
}

func TestNamesThatGoFromRowToRowWhileLoadersCopySideBySideEndAsAtTheSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tables = append([]fence.Sharded{handlesTable}, w.tables...)
	w.made(handlesTable, handles)
	const rows = 3000
	w.exec(w.alpha, fmt.Sprintf("INSERT INTO handles SELECT seq, CONCAT('n', seq), 5 + seq %% 2 FROM seq_1_to_%d", rows))
	writing, stop := context.WithCancel(t.Context())
	var group errgroup.Group
	db := w.open(w.alpha)
	begun := make(chan struct{})
	group.Go(func() error {
		for i := 1; writing.Err() == nil; i++ {
			// Neighbours in the key, but in two buckets, that is far apart in the copy.
			a := i*7%(rows-1) + 1
			err := database.InTx(t.Context(), db, func(tx *sql.Tx) error { return swap(t.Context(), tx, a, a+1) })
			if errors.Is(err, fence.ErrRefused) {
				return nil // it has moved
			}
			if err != nil {
				return err
			}
			if i == 1 {
				close(begun)
			}
		}
		return nil
	})
	<-begun
	e := w.engine(nil)
	e.Limits.CopyParallel = CopyParallelMax
	e.Limits.ChunkTime = time.Microsecond // the smallest chunks
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{5, 6}, Target: "gamma", Who: "test"})
	must(t, err)
	err = e.Run(t.Context(), m)
	stop()
	must(t, errors.Join(err, group.Wait()))
	const sum = "SELECT CONCAT(COUNT(*), ' ', SUM(CRC32(CONCAT_WS('#', id, name, bucket)))) FROM handles"
	if here, there := w.text(w.alpha, sum), w.text(w.gamma, sum); here != there {
		t.Errorf("%s at the source, %s at the target", here, there)
	}
}

// swap gives each of two rows the other's name.
func swap(ctx context.Context, tx *sql.Tx, a, b int) error {
	for _, bucket := range []bucketmap.BucketID{5, 6} {
		if _, err := fence.CheckWrite(ctx, tx, bucket); err != nil {
			return err
		}
	}
	var names [2]string
	for i, id := range []int{a, b} {
		if err := tx.QueryRowContext(ctx, "SELECT name FROM handles WHERE id = ? FOR UPDATE", id).Scan(&names[i]); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		name any
		id   int
	}{{nil, a}, {names[0], b}, {names[1], a}} {
		if _, err := tx.ExecContext(ctx, "UPDATE handles SET name = ? WHERE id = ?", step.name, step.id); err != nil {
			return err
		}
	}
	return nil
}

func TestTheRateIsThatOfAllLoadersTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(3 * chunkFirst)
	e := w.engine(nil)
	e.Limits.CopyParallel = 2
	e.Limits.ChunkTime = time.Microsecond // no chunk is larger than the first
	e.Limits.Throttle = ThrottleLimits{RowsPerSecond: 2 * chunkFirst}
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{5, 6}, Target: "gamma", Who: "test"})
	must(t, err)
	began := time.Now()
	must(t, e.Run(t.Context(), m))
	// The last chunk waits for all rows before it.
	if took := time.Since(began); took < time.Second {
		t.Errorf("%d rows in %s, want %d a second at most", 3*chunkFirst, took, 2*chunkFirst)
	}
}
