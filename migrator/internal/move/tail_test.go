package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"drover/migrator/internal/binlog"
)

// hugeRows × some 200 bytes are 4 MB: many times what the tests' moves may have
// in memory of one transaction.
const (
	hugeRows    = 20_000
	smallMemory = 256 << 10
)

func (w *world) huge(bucket int) {
	w.t.Helper()
	w.exec(w.gamma, fmt.Sprintf("INSERT INTO steps SELECT %d, CONCAT('huge', seq), '2026-01-01', seq FROM seq_1_to_%d", bucket, hugeRows))
}

func TestATransactionOfOtherBucketsOfAnySizePassesTheTail(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 20)
	w.huge(9)
	w.exec(w.gamma, "UPDATE steps SET steps = steps + 1 WHERE bucket = 9", "DELETE FROM steps WHERE bucket = 9 AND steps % 2 = 0",
		// One row of the bucket's own in the middle of it.
		fmt.Sprintf("INSERT INTO steps SELECT IF(seq = %d, 7, 9), CONCAT('mixed', seq), '2026-01-01', seq FROM seq_1_to_%d", hugeRows/2, hugeRows))
	e := w.engine(nil)
	e.Limits.TransactionMax = smallMemory
	must(t, e.Return(t.Context(), m))
	if n := w.count(w.alpha, "SELECT COUNT(*) FROM steps WHERE user_id LIKE 'huge%' OR user_id LIKE 'mixed%'"); n != 1 {
		t.Errorf("%d rows came back, want the one of bucket 7", n)
	}
	w.agree()
}

func TestATransactionTooLargeForMemoryStopsTheMoveWithARemedyAndMoreMemoryGoesOn(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 20)
	w.huge(7)
	small := w.engine(nil)
	small.Limits.TransactionMax = smallMemory
	err := small.Return(t.Context(), m)
	if !errors.Is(err, binlog.ErrUnreadable) {
		t.Fatalf("error %v, want ErrUnreadable", err)
	}
	for _, words := range []string{"more than 256KiB", "table steps", "raise move.transaction_max", "run migrator resume " + string(m.Record.Move)} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%v: does not say %q", err, words)
		}
	}
	w.agree()
	must(t, w.engine(nil).Resume(t.Context(), m))
	if n := w.count(w.alpha, "SELECT COUNT(*) FROM steps WHERE user_id LIKE 'huge%'"); n != hugeRows {
		t.Errorf("%d rows came back, want %d", n, hugeRows)
	}
	w.agree()
}

func TestTheLagIsTheAgeOfTheOldestChangeThatWaits(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 5)
	ctx, end := context.WithCancel(t.Context())
	e := w.engine(nil)
	measured := make(chan Event, 1000)
	e.Report = func(ev Event) {
		if ev.Measured {
			measured <- ev
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Soak(ctx, m) }()
	until := func(what string, so func(Event) bool) Event {
		t.Helper()
		for deadline := time.After(time.Minute); ; {
			select {
			case ev := <-measured:
				if so(ev) {
					return ev
				}
			case err := <-ended:
				t.Fatalf("the soak has ended: %v", err)
			case <-deadline:
				t.Fatalf("never %s", what)
			}
		}
	}
	until("up to date", func(ev Event) bool { return ev.Lag == 0 && ev.Behind == 0 })
	// Somebody has the row at the old home.
	blocker, err := w.open(w.alpha).BeginTx(t.Context(), &sql.TxOptions{})
	must(t, err)
	_, err = blocker.ExecContext(t.Context(), "SELECT * FROM tricky WHERE id = 1 FOR UPDATE")
	must(t, err)
	w.exec(w.gamma, "UPDATE tricky SET text = 'waits' WHERE id = 1")
	late := until("behind", func(ev Event) bool { return ev.Lag > 1500*time.Millisecond })
	if late.Behind == 0 {
		t.Errorf("%+v: a lag of no transactions", late)
	}
	until("further behind", func(ev Event) bool { return ev.Lag > late.Lag })
	before := late.Applied
	must(t, blocker.Rollback())
	if ev := until("up to date again", func(ev Event) bool { return ev.Lag == 0 && ev.Behind == 0 }); ev.Applied <= before {
		t.Errorf("%d row changes applied, and %d before", ev.Applied, before)
	}
	end()
	must(t, <-ended)
}
