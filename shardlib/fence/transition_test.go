package fence

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
)

func TestTransitionChangesAllRowsOrNone(t *testing.T) {
	s := newShard(t)
	mine, other := Token{"mine", 1}, Token{"other", 1}
	run := func(c Change) error {
		tx := s.begin(s.drover)
		if err := Transition(t.Context(), tx, c); err != nil {
			tx.Rollback()
			return err
		}
		return tx.Commit()
	}
	row := func(b bucketmap.BucketID) Row {
		rows, err := Rows(t.Context(), s.app, []bucketmap.BucketID{b})
		if err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		return rows[0]
	}
	batch := []bucketmap.BucketID{3, 4, 3} // one of them twice
	if err := run(Change{Buckets: batch, From: Active, To: Frozen, ToToken: mine}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Change{
		{Buckets: batch, From: Active, To: Frozen},                                               // wrong state
		{Buckets: batch, From: Frozen, To: Active},                                               // no token
		{Buckets: batch, From: Frozen, FromToken: other, To: Active},                             // another's token
		{Buckets: batch, From: Frozen, FromToken: Token{"mine", 2}, To: Active},                  // another run
		{Buckets: append(batch, 5), From: Frozen, FromToken: mine, To: Active},                   // one row is not
		{Buckets: append(batch, testBuckets), From: Frozen, FromToken: mine, To: Active},         // one row is missing
		{Buckets: nil, From: Frozen, FromToken: mine, To: Active},                                // the shard's row is not
		{Buckets: []bucketmap.BucketID{5}, From: Moved, FromToken: mine, To: Active, EpochUp: 1}, // never moved
	} {
		if err := run(c); !errors.Is(err, ErrLostRow) {
			t.Fatalf("%+v: got %v", c, err)
		}
		if r := row(3); r.State != Frozen || r.Token != mine || r.Epoch != 1 {
			t.Fatalf("%+v changed %+v", c, r)
		}
	}
	if err := run(Change{Buckets: batch, From: Frozen, FromToken: mine, To: Moved, ToToken: mine, EpochUp: 1}); err != nil {
		t.Fatal(err)
	}
	if r := row(4); r.State != Moved || r.Token != mine || r.Epoch != 2 {
		t.Fatalf("got %+v", r)
	}
	if err := run(Change{From: Active, To: Frozen, ToToken: mine, EpochUp: 1, ServerID: 4_000_000_000}); err != nil {
		t.Fatal(err)
	}
	rows, err := AllRows(t.Context(), s.app)
	if err != nil || len(rows) != testBuckets+1 {
		t.Fatal(rows, err)
	}
	if want := (Row{Bucket: ShardRow, State: Frozen, Epoch: 2, Token: mine, ServerID: 4_000_000_000}); rows[0] != want {
		t.Fatalf("got %+v", rows[0])
	}
}

func TestOldRunLosesItsRowsToANewOne(t *testing.T) {
	s := newShard(t)
	ctx, batch := t.Context(), []bucketmap.BucketID{1, 2}
	first, second := Token{"m", 9}, Token{"m", 10} // 10 sorts before 9 as text
	if err := Transition(ctx, s.drover, Change{Buckets: batch, From: Active, To: Frozen, ToToken: first}); err != nil {
		t.Fatal(err)
	}
	rows, err := TakeOver(ctx, s.drover, append(batch, 3), second)
	if err != nil || len(rows) != 3 || rows[0].Token != second || rows[1].Token != second || rows[2].Token != (Token{}) {
		t.Fatal(rows, err)
	}
	if rows, err = TakeOver(ctx, s.drover, batch, second); err != nil || rows[0].Token != second {
		t.Fatalf("again: %v, %v", rows, err)
	}
	if _, err := TakeOver(ctx, s.drover, batch, first); !errors.Is(err, ErrLostRow) {
		t.Fatalf("the old run: got %v", err)
	}
	if err := Transition(ctx, s.drover, Change{Buckets: batch, From: Frozen, FromToken: first, To: Active}); !errors.Is(err, ErrLostRow) {
		t.Fatalf("the old run: got %v", err)
	}
	if err := Transition(ctx, s.drover, Change{Buckets: batch, From: Frozen, FromToken: second, To: Active}); err != nil {
		t.Fatal(err)
	}
}

// deaf is a server that calls a change a success and makes none.
type deaf struct{ Querier }

func (deaf) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return driver.RowsAffected(0), nil
}

func TestAChangeThatTheServerEndedSilentlyIsToldFromALostRow(t *testing.T) {
	s := newShard(t)
	change := Change{Buckets: []bucketmap.BucketID{4, 5}, From: Active, To: Frozen, ToToken: Token{"m", 1}}
	if err := TransitionWithin(t.Context(), deaf{s.drover}, freezeBound, change); !errors.Is(err, ErrUnfinished) || errors.Is(err, ErrLostRow) {
		t.Errorf("rows as they were: %v; want ErrUnfinished", err)
	}
	nowhere := change
	nowhere.Buckets = []bucketmap.BucketID{5, testBuckets}
	if err := Transition(t.Context(), s.drover, nowhere); !errors.Is(err, ErrLostRow) || !strings.Contains(err.Error(), "1 of 2 buckets have a row") {
		t.Errorf("a bucket without a row: %v; want ErrLostRow", err)
	}
	s.must(s.drover, "UPDATE "+Table+" SET state = 'active', move_id = '' WHERE bucket = 5") // no transaction undid it
	first, second := Token{"taken", 1}, Token{"taken", 2}
	if err := Transition(t.Context(), s.drover, Change{Buckets: []bucketmap.BucketID{6}, From: Active, To: Active, ToToken: first}); err != nil {
		t.Fatal(err)
	}
	if _, err := TakeOver(t.Context(), deaf{s.drover}, []bucketmap.BucketID{6}, second); !errors.Is(err, ErrUnfinished) || errors.Is(err, ErrLostRow) {
		t.Errorf("a row of an older run: %v; want ErrUnfinished", err)
	}
	other := Change{Buckets: []bucketmap.BucketID{5}, From: Active, To: Active, ToToken: Token{"n", 1}}
	if err := Transition(t.Context(), s.drover, other); err != nil {
		t.Fatal(err)
	}
	if err := TransitionWithin(t.Context(), deaf{s.drover}, freezeBound, change); !errors.Is(err, ErrLostRow) || !strings.Contains(err.Error(), "bucket 5 is active with move_id \"n/1\"") {
		t.Errorf("a row that another move has: %v; want ErrLostRow that names it", err)
	}
}

// No double can say how the server ends a statement.
func TestAnEndedChangeIsNeverTakenForALostRow(t *testing.T) {
	s := newShard(t)
	there := Change{Buckets: []bucketmap.BucketID{5}, From: Active, To: Frozen, ToToken: Token{"m", 1}}
	back := Change{Buckets: there.Buckets, From: Frozen, FromToken: there.ToToken, To: Active}
	made, timeUp, unfinished := 0, 0, 0
	for i := 0; i < 10_000 && (made == 0 || unfinished < 3); i++ {
		bound := fmt.Sprintf("SET STATEMENT max_statement_time=%.6f FOR ", float64(10*(1+i%8))/1e6)
		err := TransitionWithin(t.Context(), s.drover, bound, there)
		switch number, _ := errors.AsType[*mysql.MySQLError](err); {
		case err == nil:
			made++
			if err := Transition(t.Context(), s.drover, back); err != nil {
				t.Fatal(err)
			}
		case errors.Is(err, ErrUnfinished):
			unfinished++
		case number != nil && number.Number == 1969:
			timeUp++
			// It may have been made, and the time have been up after it.
			if err := Transition(t.Context(), s.drover, back); err != nil && !errors.Is(err, ErrLostRow) {
				t.Fatal(err)
			}
		default:
			t.Fatal(err)
		}
	}
	t.Logf("%d made, %d times up, %d ended with success", made, timeUp, unfinished)
	if made == 0 || timeUp+unfinished == 0 {
		t.Error("nothing was ended, or everything")
	}
}

// freezeBound is what the migrator bounds a freeze with on MariaDB.
const freezeBound = "SET STATEMENT max_statement_time=0.015 FOR "

func TestBoundedFreezeGivesUpAndHarmsNobody(t *testing.T) {
	s := newShard(t)
	writer := s.begin(s.app)
	if _, err := CheckWrite(t.Context(), writer, 5); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	err := TransitionWithin(t.Context(), s.drover, freezeBound,
		Change{Buckets: []bucketmap.BucketID{4, 5, 6}, From: Active, To: Frozen, ToToken: Token{"m", 1}})
	took := time.Since(start)
	var server *mysql.MySQLError
	if !errors.As(err, &server) || server.Number != 1969 {
		t.Fatalf("after %v: got %v, want error 1969", took, err)
	}
	t.Logf("gave up after %v", took)
	if took > 5*time.Second { // far below innodb_lock_wait_timeout
		t.Errorf("it waited %v", took)
	}
	rows, err := Rows(t.Context(), s.app, []bucketmap.BucketID{4, 5, 6})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.State != Active || r.Token != (Token{}) {
			t.Errorf("bucket %d was changed: %+v", r.Bucket, r)
		}
	}
	// Nothing is left locked: others write on, and so does the first one.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, bucket := range []bucketmap.BucketID{4, 5, 6} {
		tx := s.begin(s.app)
		if _, err := CheckWrite(ctx, tx, bucket); err != nil {
			t.Fatalf("bucket %d: %v", bucket, err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := Transition(t.Context(), s.drover, Change{Buckets: []bucketmap.BucketID{4, 5, 6}, From: Active, To: Frozen}); err != nil {
		t.Fatal(err)
	}
}

func TestBoundWorksInAPreparedStatementToo(t *testing.T) {
	s := newShard(t)
	db, err := primary.Open("drover", s.name) // no interpolated arguments
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	writer := s.begin(s.app)
	if _, err := CheckWrite(t.Context(), writer, 5); err != nil {
		t.Fatal(err)
	}
	change := Change{Buckets: []bucketmap.BucketID{5}, From: Active, To: Frozen}
	var server *mysql.MySQLError
	if err := TransitionWithin(t.Context(), db, freezeBound, change); !errors.As(err, &server) || server.Number != 1969 {
		t.Fatalf("got %v, want error 1969", err)
	}
	writer.Rollback()
	if err := TransitionWithin(t.Context(), db, "SET STATEMENT max_statement_time=20 FOR ", change); err != nil {
		t.Fatal(err)
	}
}

func TestWideBatchLocksItsOwnRowsAlone(t *testing.T) {
	s := newShard(t)
	const buckets = 20_000
	if err := Activate(t.Context(), s.root, 0, buckets-1); err != nil {
		t.Fatal(err)
	}
	writer := s.begin(s.app)
	if _, err := CheckWrite(t.Context(), writer, 1); err != nil {
		t.Fatal(err)
	}
	var even []bucketmap.BucketID
	for b := bucketmap.BucketID(0); b < buckets; b += 2 {
		even = append(even, b)
	}
	if err := TransitionWithin(t.Context(), s.drover, "SET STATEMENT max_statement_time=20 FOR ",
		Change{Buckets: even, From: Active, To: Frozen, ToToken: Token{"m", 1}}); err != nil {
		t.Fatal(err)
	}
	rows, err := TakeOver(t.Context(), s.drover, even, Token{"m", 2})
	if err != nil || len(rows) != len(even) {
		t.Fatal(len(rows), err)
	}
}
