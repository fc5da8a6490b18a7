package move

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// tailOn is a tail that follows nothing: what it writes is the test's.
func tailOn(t *testing.T, target *database.Server, buckets Buckets, at database.Position) *tail {
	t.Helper()
	tl := &tail{move: "m-1", leg: 1, to: target, buckets: buckets, saved: at.String()}
	tl.mu.changed = make(chan struct{})
	_, err := target.DB.ExecContext(t.Context(), "INSERT INTO drover_tail (move_id, leg, token, position, progress) VALUES ('m-1', 1, ?, ?, '{}')",
		tl.token.String(), tl.saved)
	must(t, err)
	t.Cleanup(func() {
		if tl.session != nil {
			tl.session.close()
		}
	})
	return tl
}

func at(sequence uint64) database.Position {
	p := database.Position{}
	p.Advance(database.GTID{Domain: 0, Server: 1, Sequence: sequence})
	return p
}

// batchOf is a batch that writes rows.
func batchOf(table *database.Table, rows ...binlog.Row) *batch {
	b := newBatch()
	for _, row := range rows {
		b.note(table, row, row)
	}
	return b
}

func TestAScriptThatComesLateChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	table, target := w.made(fence.Sharded{Name: "late", BucketColumn: "bucket"}, `CREATE TABLE late (bucket INT UNSIGNED NOT NULL, id BIGINT NOT NULL PRIMARY KEY, v VARBINARY(300))`)
	tl := tailOn(t, target, Buckets{7}, at(1))
	old := batchOf(table, binlog.Row{int64(7), int64(1), []byte("old")})
	must(t, tl.write(t.Context(), old, at(2)))
	// Written again after an answer that was lost: neither row nor position changes.
	tl.saved = at(1).String()
	must(t, tl.write(t.Context(), old, at(2)))
	must(t, tl.write(t.Context(), batchOf(table, binlog.Row{int64(7), int64(1), []byte("new")}), at(3)))
	tl.saved = at(1).String()
	if err := tl.write(t.Context(), old, at(2)); !errors.Is(err, ErrReplaced) {
		t.Errorf("error %v, want ErrReplaced", err)
	}
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM late WHERE id = 1 AND v = 'new'"); n != 1 {
		t.Error("the late script wrote its row")
	}
}

func TestAnyBytesAndQuestionMarksGoThroughAScript(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	table, target := w.made(fence.Sharded{Name: "odd", BucketColumn: "bucket"}, `CREATE TABLE odd (bucket INT UNSIGNED NOT NULL, id VARBINARY(300) NOT NULL PRIMARY KEY, u INT, UNIQUE (u))`)
	tl := tailOn(t, target, Buckets{7}, at(1))
	var every []byte
	for b := range 256 {
		every = append(every, byte(b))
	}
	keys := [][]byte{every, []byte("?'; COMMIT; END -- \\"), []byte("END\n;"), {}}
	b := newBatch()
	for i, key := range keys {
		row := binlog.Row{int64(7), key, int64(i)}
		b.note(table, row, row)
	}
	must(t, tl.write(t.Context(), b, at(2)))
	for i, key := range keys {
		if n := w.count(w.gamma, "SELECT COUNT(*) FROM odd WHERE id = ? AND u = ?", key, i); n != 1 {
			t.Errorf("key %q did not arrive", key)
		}
	}
	// Two rows are in the way of one: no script, but it is written.
	must(t, tl.write(t.Context(), batchOf(table, binlog.Row{int64(7), keys[0], int64(1)}, binlog.Row{int64(7), keys[1], int64(0)}), at(3)))
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM odd WHERE (id = ? AND u = 1) OR (id = ? AND u = 0)", keys[0], keys[1]); n != 2 {
		t.Error("two rows that exchanged a unique value did not arrive")
	}
	b = newBatch()
	for _, key := range keys {
		b.note(table, binlog.Row{nil, key, nil}, nil)
	}
	must(t, tl.write(t.Context(), b, at(4)))
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM odd"); n != 0 {
		t.Errorf("%d rows are left, want none", n)
	}
	// A neighbour's row is not touched, and the error says so.
	w.exec(w.gamma, "INSERT INTO odd VALUES (8, 'hers', 5)")
	if err := tl.write(t.Context(), batchOf(table, binlog.Row{int64(7), []byte("mine"), int64(5)}), at(5)); !errors.Is(err, ErrCollides) {
		t.Errorf("error %v, want ErrCollides", err)
	}
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM odd WHERE bucket = 8 AND id = 'hers'"); n != 1 {
		t.Error("the neighbour's row is gone")
	}
}

func TestWhileItIsHeldBackABatchWaitsForTheFreezeInIt(t *testing.T) {
	tl := &tail{near: time.Minute}
	tl.mu.changed = make(chan struct{})
	wantHeld := func(want bool, position database.Position) {
		t.Helper()
		if held, _ := tl.holdsBack(position); held != want {
			t.Errorf("held %v at %v, want %v", held, position, want)
		}
	}
	wantHeld(false, at(1))
	tl.setBusy(true)
	armed := make(chan error, 1)
	go func() { armed <- tl.arm(t.Context()) }()
	for {
		held, changed := tl.holdsBack(at(1))
		if held {
			break
		}
		<-changed
	}
	select {
	case err := <-armed:
		t.Fatalf("armed while a batch was under way: %v", err)
	default:
	}
	tl.advance(at(1), 1)
	must(t, <-armed)
	wantHeld(true, at(9))
	_, changed := tl.holdsBack(at(1))
	tl.letGo(at(5))
	select {
	case <-changed:
	default:
		t.Error("nobody was woken up")
	}
	wantHeld(true, at(4))
	wantHeld(false, at(5))
	tl.disarm()
	wantHeld(false, at(1))
	tl.setBusy(true)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tl.arm(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}

// compare is the commit point's comparison, alone.
func (s *session) compare(ctx context.Context, checks []check) error {
	var one int
	return s.ask(ctx, "", scriptHead+string(checkScript(checks).body)+"COMMIT;\n", "1", &one)
}

func TestWhatWasReadBackIsEqualUntilARowDiffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	e := w.engine(nil)
	all := make(Buckets, worldBuckets)
	for b := range all {
		all[b] = bucketmap.BucketID(b)
	}
	m, err := e.Start(ctx, Plan{Buckets: all, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.locked(ctx, m, func(r *run) error {
		start, err := r.from.BinlogPosition(ctx)
		must(t, err)
		_, err = r.to.DB.ExecContext(ctx, "INSERT INTO drover_tail (move_id, leg, token, position, progress) VALUES (?, ?, ?, ?, '{}')",
			string(m.Record.Move), m.Leg, r.token.String(), start.String())
		must(t, err)
		must(t, r.startTail(ctx))
		if least := r.Limits.CatchUp; r.tail.near <= least {
			t.Errorf("near enough is %s, want more than %s: a round trip takes time", r.tail.near, least)
		}
		defer r.tail.disarm()
		write := func(n int) *readBack {
			must(t, r.tail.arm(ctx))
			user := userIn(bucketmap.BucketID(n), n)
			w.exec(w.alpha, fmt.Sprintf("INSERT INTO request (user_id, id) VALUES ('%s', %d)", user, n),
				fmt.Sprintf("INSERT INTO profile (user_id, name, lifetime) VALUES ('%s', 'näme ?', %d)", user, n))
			end, err := r.from.BinlogPosition(ctx)
			must(t, err)
			r.tail.letGo(end)
			must(t, r.tail.reach(ctx, end))
			read := r.tail.readBackNow()
			if read == nil || len(read.checks) != 2 || read.keys != 2*n {
				t.Fatalf("after %d users: read back %+v", n, read)
			}
			return read
		}
		source, err := openSession(ctx, r.from)
		must(t, err)
		defer source.close()
		read := write(1)
		if err := source.compare(ctx, read.checks); err != nil {
			t.Errorf("error %v, want the same rows", err)
		}
		if end, err := r.to.BinlogPosition(ctx); err != nil || !end.Reached(read.position) || len(read.position) == 0 {
			t.Errorf("read back at %v, the target is at %v, error %v", read.position, end, err)
		}
		w.exec(w.gamma, "UPDATE profile SET name = 'other' WHERE lifetime = 1")
		err = source.compare(ctx, write(2).checks)
		if number, _ := database.ErrorNumber(err); number != rowsDifferNumber {
			t.Errorf("error %v, want a difference", err)
		}
		if _, err := r.verifyLast(ctx, &crossing{}); !errors.Is(err, ErrDiffers) {
			t.Errorf("error %v, want ErrDiffers", err)
		}
		return nil
	}))
}
