package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// home runs f in a transaction at the user's home by the newest map, and again
// while the fence refuses.
func (l *ledger) atHome(ctx context.Context, bucket bucketmap.BucketID, write bool, f func(q fence.Querier) error) error {
	for {
		snap, err := l.w.store.Load(ctx)
		if err != nil {
			return err
		}
		home, _ := snap.Home(bucket)
		tx, err := l.dbs[home.Datacenter].BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		check := fence.CheckRead
		if write {
			check = fence.CheckWrite
		}
		if _, err = check(ctx, tx, bucket); err == nil {
			if err = f(tx); err == nil {
				err = tx.Commit()
			}
		}
		_ = tx.Rollback() // of what was committed: nothing
		if !errors.Is(err, fence.ErrRefused) {
			return err
		}
		l.newer(ctx, snap.Version())
	}
}

func TestAReturnUnderEveryKindOfWriteLosesNothingAndEverybodyReadsWhatTheyWrote(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 50)
	l := w.newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	var rounds atomic.Int64
	round := make(chan struct{}, 1) // there were more
	ended := make(chan error, 2)
	for worker := range 2 {
		go func() {
			pace := testrun.NewPace(l.pause)
			defer pace.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				if err := l.everyWrite(context.WithoutCancel(ctx), pace, worker, n); err != nil {
					ended <- err
					return
				}
				rounds.Add(1)
				select {
				case round <- struct{}{}:
				default:
				}
			}
			ended <- nil
		}()
	}
	waitRounds := func() {
		for want := rounds.Load() + 4; rounds.Load() < want; {
			select {
			case err := <-ended:
				t.Fatal(err)
			case <-round:
			}
		}
	}
	e := w.engine(nil)
	for range 3 {
		waitRounds()
		must(t, e.Return(t.Context(), m))
	}
	waitRounds()
	cancel()
	for range 2 {
		must(t, <-ended)
	}
	w.agree()
	c, err := e.Verify(t.Context(), m, nil)
	must(t, err)
	if c.Outcome != Equal || c.Home != "alpha" {
		t.Errorf("after three returns: %+v", c)
	}
	t.Logf("%d rounds of writes", rounds.Load())
}

// everyWrite inserts, updates, changes the key of, replaces, upserts and deletes
// a row, and reads back after each what it just wrote.
func (l *ledger) everyWrite(ctx context.Context, pace testrun.Pace, worker, n int) error {
	id := 10_000 + 1000*worker + n%50
	const bucket = 7
	for _, s := range []struct{ statement, want string }{
		{"DELETE FROM tricky WHERE id = %d", ""},
		{"INSERT INTO tricky (bucket, id, part, text) VALUES (7, %d, 'a', 'one')", "a one"},
		{"UPDATE tricky SET text = 'two' WHERE id = %d", "a two"},
		{"UPDATE tricky SET part = 'b' WHERE id = %d", "b two"},
		{"REPLACE INTO tricky (bucket, id, part, text) VALUES (7, %d, 'b', 'three')", "b three"},
		{"INSERT INTO tricky (bucket, id, part, text) VALUES (7, %d, 'b', 'x') ON DUPLICATE KEY UPDATE text = 'four'", "b four"},
	} {
		if err := l.atHome(ctx, bucket, true, func(q fence.Querier) error {
			_, err := q.ExecContext(ctx, fmt.Sprintf(s.statement, id))
			return err
		}); err != nil {
			return err
		}
		var got string
		if err := l.atHome(ctx, bucket, false, func(q fence.Querier) error {
			rows, err := q.QueryContext(ctx, "SELECT CONCAT(part, ' ', text) FROM tricky WHERE id = ?", id)
			if err != nil {
				return err
			}
			defer rows.Close()
			for got = ""; rows.Next(); {
				if err := rows.Scan(&got); err != nil {
					return err
				}
			}
			return rows.Err()
		}); err != nil {
			return err
		}
		if got != s.want {
			return fmt.Errorf("row %d: read %q after %q", id, got, s.statement)
		}
		pace.Wait(ctx)
	}
	return nil
}

// While the reverse tail lags nobody is held, and the return goes on once it has
// caught up.
func TestAReturnBeginsWithTheReverseTailBehindAndHoldsNobodyMeanwhile(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 20)
	for n := range 30 {
		w.exec(w.gamma, fmt.Sprintf("INSERT INTO tricky (bucket, id, part) SELECT 7, %d + seq, 'later' FROM seq_1_to_100", 1000+1000*n))
	}
	lag, err := w.engine(nil).Lag(t.Context(), m)
	must(t, err)
	if lag.Transactions < 30 || !lag.Reverse || lag.From != "gamma" || lag.To != "alpha" {
		t.Errorf("lag %+v, want 30 transactions or more from gamma to alpha", lag)
	}
	var points crash.Points
	must(t, points.ArmFunc("tailing.after_journal", func() {
		snap, err := w.store.Load(t.Context())
		must(t, err)
		if len(snap.Holds()) != 0 {
			t.Error("the bucket is held while the reverse tail lags")
		}
		must(t, database.InTx(t.Context(), w.newLedger().dbs["cloud"], func(tx *sql.Tx) error {
			_, err := fence.CheckWrite(t.Context(), tx, 7)
			return err
		}))
	}))
	must(t, w.engine(&points).Return(t.Context(), m))
	if n := w.count(w.alpha, "SELECT COUNT(*) FROM tricky WHERE part = 'later'"); n != 3000 {
		t.Errorf("%d rows came back, want 3000", n)
	}
	w.agree()
}

func TestAnAbortedReturnGoesOnSoakingAndCanBeTakenAgain(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 20)
	ctx, interrupt := context.WithCancel(t.Context())
	var points crash.Points
	must(t, points.ArmFunc("returning.after_incoming", interrupt))
	if err := w.engine(&points).Return(ctx, m); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want canceled", err)
	}
	must(t, w.engine(nil).Abort(t.Context(), m, "test"))
	if m.State() != Soaking || m.Leg != 1 {
		t.Fatalf("state %s, leg %d; want soaking on leg 1", m.State(), m.Leg)
	}
	c, err := w.engine(nil).Verify(t.Context(), m, nil)
	must(t, err)
	if c.Outcome != Equal {
		t.Errorf("%+v", c)
	}
	w.agree()
	must(t, w.engine(nil).Return(t.Context(), m))
	w.agree()
}
