package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/shardlib/fence"
)

// writers are the users of the shard: they write on either server, as chance
// has it, through the library's fence, and keep a ledger.
type writers struct {
	w    *world
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	acked   map[int64]bool
	unknown map[int64]bool
	refused int
}

const writersCount = 4

// writersPause is between two writes of one writer: some 150 writes a second in all,
// a few of them in the freeze of any promotion, leave the processors to what is
// tested.
const writersPause = 20 * time.Millisecond

func (w *world) startWriters() *writers {
	ctx, stop := context.WithCancel(context.Background())
	ws := &writers{w: w, stop: stop, acked: map[int64]bool{}, unknown: map[int64]bool{}}
	dbs := []*sql.DB{w.appDB(legacy), w.appDB(cloud)}
	for n := range writersCount {
		ws.done.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 7))
			pace := testrun.NewPace(writersPause)
			defer pace.Stop()
			for i := int64(0); pace.Wait(ctx); i++ {
				ws.one(dbs[random.IntN(2)], int64(n)<<40|i, random.IntN(buckets))
			}
		})
	}
	w.t.Cleanup(func() { stop(); ws.done.Wait() })
	return ws
}

// one makes one write. The writer itself is never interrupted, so that what it
// was told is what there is to know.
func (ws *writers) one(db *sql.DB, id int64, bucket int) {
	ctx := context.Background()
	committing := false
	err := func() error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		seen, err := fence.CheckWrite(ctx, tx, bucketmap.BucketID(bucket))
		if err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO ledger SELECT ?, ?, @@server_id, ?", id, bucket, uint64(seen.ShardEpoch)); err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE counter SET n = n + 1 WHERE bucket = ?", bucket); err != nil {
			return err
		}
		committing = true
		return tx.Commit()
	}()
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var answered *mysql.MySQLError
	switch {
	case err == nil:
		ws.acked[id] = true
	case committing && !errors.As(err, &answered):
		ws.unknown[id] = true
	default:
		ws.refused++
	}
}

// waitAcked waits until n more writes were acknowledged.
func (ws *writers) waitAcked(n int) {
	ws.w.t.Helper()
	count := func() int { ws.mu.Lock(); defer ws.mu.Unlock(); return len(ws.acked) }
	want := count() + n
	ws.w.until(fmt.Sprintf("%d more writes are acknowledged", n), func() bool { return count() >= want })
}

// check ends the writers and compares what they were told with what a server
// has: nothing lost, nothing there that was refused, nothing twice, and in each
// epoch one server alone.
func (ws *writers) check(dc bucketmap.Datacenter) {
	t := ws.w.t
	t.Helper()
	ws.stop()
	ws.done.Wait()
	rows, err := ws.w.server(dc).DB.Query("SELECT id, server, epoch FROM ledger")
	must(t, err)
	defer rows.Close()
	there := map[int64]bool{}
	primaries := map[uint64][]uint32{}
	for rows.Next() {
		var id int64
		var server uint32
		var epoch uint64
		must(t, rows.Scan(&id, &server, &epoch))
		there[id] = true
		if !ws.acked[id] && !ws.unknown[id] {
			t.Errorf("write %d was refused and is there", id)
		}
		if !slices.Contains(primaries[epoch], server) {
			primaries[epoch] = append(primaries[epoch], server)
		}
	}
	must(t, rows.Err())
	lost := 0
	for id := range ws.acked {
		if !there[id] {
			lost++
		}
	}
	if lost != 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(ws.acked))
	}
	var sum int
	must(t, ws.w.server(dc).DB.QueryRow("SELECT SUM(n) FROM counter").Scan(&sum))
	if sum != len(there) {
		t.Errorf("the counters say %d, the ledger has %d writes", sum, len(there))
	}
	for epoch, servers := range primaries {
		if len(servers) != 1 {
			t.Errorf("in epoch %d the servers %v took writes", epoch, servers)
		}
	}
	t.Logf("%d acknowledged, %d unknown, %d refused, %d epochs", len(ws.acked), len(ws.unknown), ws.refused, len(primaries))
}
