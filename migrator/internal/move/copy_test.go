package move

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"drover/tools/testservers"
)

// fill writes rows of buckets 5 and 6 to the source, more than some chunks.
func (w *world) fill(rows int) {
	w.t.Helper()
	w.exec(w.alpha, fmt.Sprintf("INSERT INTO steps SELECT 5 + seq %% 2, CONCAT('u', seq), '2026-01-01' + INTERVAL seq %% 301 DAY, seq FROM seq_1_to_%d", rows))
}

const stepsSum = "SELECT CONCAT(COUNT(*), ' ', COALESCE(SUM(CRC32(CONCAT_WS('#', bucket, user_id, day, steps))), 0)) FROM steps"

func TestACopyKilledBetweenOrInChunksGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"copying.before_chunk#3", "copying.after_chunk#3", "copying.after_chunk#4"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			const rows = 10 * chunkFirst // no chunk is larger than the first
			w := newWorld(t)
			w.fill(rows)
			w.killed(orders{Buckets: Buckets{5, 6}, Steps: []string{"move"}, CrashAt: at, ChunkTime: time.Microsecond})
			if n := w.count(w.gamma, "SELECT COUNT(*) FROM steps"); n == 0 || n == rows {
				t.Fatalf("%d rows were copied before the kill: it was not in the middle", n)
			}
			// What the rest of the copy must see: rows before and after the cursor.
			w.exec(w.alpha, "UPDATE steps SET steps = steps + 1 WHERE day = '2026-01-05'")
			w.exec(w.alpha, "DELETE FROM steps WHERE day = '2026-01-07'")
			if m := w.resume(); m == nil || m.State() != Soaking {
				t.Fatalf("%+v, want a move that soaks", m)
			}
			if here, there := w.text(w.alpha, stepsSum), w.text(w.gamma, stepsSum); here != there {
				t.Errorf("%s at the source, %s at the target", here, there)
			}
		})
	}
}

func TestACopyWaitsWhileAReplicaCannotBeReachedAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(10)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	e := w.engine(nil)
	// Port 1 of this machine answers nobody.
	e.Limits.Throttle = ThrottleLimits{Replicas: "127.0.0.1:1", LagMax: time.Second, ThreadsRunningMax: 1000, HistoryMax: 1 << 40}
	reason := ""
	e.Report = func(ev Event) {
		if strings.HasPrefix(ev.Note, "waiting: ") && strings.Contains(ev.Note, "127.0.0.1:1") {
			reason = ev.Note
			cancel()
		}
	}
	m, err := e.Start(ctx, Plan{Buckets: Buckets{5, 6}, Target: "gamma", Who: "test"})
	must(t, err)
	if err := e.Run(ctx, m); err == nil || reason == "" {
		t.Fatalf("%v, said %q: want a copy that waits until it is interrupted", err, reason)
	}
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM steps"); n != 0 {
		t.Errorf("%d rows were copied", n)
	}
	must(t, w.engine(nil).Resume(t.Context(), m))
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM steps"); n != 10 {
		t.Errorf("%d rows after the resumption, want 10", n)
	}
}

func TestATransactionLargerThanABatchIsAppliedWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(applyRows + 3000)
	e := w.engine(nil)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{5, 6}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(t.Context(), m))
	// At the new home now: one transaction that changes, deletes and adds.
	w.exec(w.gamma, "BEGIN NOT ATOMIC START TRANSACTION; UPDATE steps SET steps = steps + 1; DELETE FROM steps WHERE day < '2026-02-01'; "+
		"INSERT INTO steps SELECT 5, CONCAT('n', seq), '2026-12-01', seq FROM seq_1_to_6000; COMMIT; END")
	must(t, e.Return(t.Context(), m))
	if here, there := w.text(w.alpha, stepsSum), w.text(w.gamma, stepsSum); here != there {
		t.Errorf("%s at the old home, %s at the new one", here, there)
	}
	for _, server := range []*testservers.MariaDB{w.alpha, w.gamma} {
		if n := w.count(server, "SELECT COUNT(*) FROM steps WHERE user_id LIKE 'n%'"); n != 6000 {
			t.Errorf("%d of the new rows, want 6000", n)
		}
	}
}
