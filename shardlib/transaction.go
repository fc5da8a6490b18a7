package shardlib

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
	"drover/shardlib/fence"
)

// Tx is a transaction on the user's home shard. It has the methods of *sql.Tx
// that query builders ask for, and none that end it.
type Tx struct {
	inner       *sql.Tx
	home        Home
	seen        fence.Seen
	user        bucketmap.UserID
	invalidated []string
	replica     bool
}

// ExecContext is that of *sql.Tx.
func (tx *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return tx.inner.ExecContext(ctx, query, args...)
}

// QueryContext is that of *sql.Tx. Rows that are not closed block the
// transaction.
func (tx *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return tx.inner.QueryContext(ctx, query, args...)
}

// QueryRowContext is that of *sql.Tx.
func (tx *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return tx.inner.QueryRowContext(ctx, query, args...)
}

// PrepareContext is that of *sql.Tx.
func (tx *Tx) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return tx.inner.PrepareContext(ctx, query)
}

// Home is where the transaction runs, and by which map it was decided. That of
// a replica's read is the primary's.
func (tx *Tx) Home() Home { return tx.home }

// invalidatedMax bounds the keys of one transaction: each costs four exchanges
// with memcached.
const invalidatedMax = 64

// Invalidate says that the transaction changes the values of these keys of
// Cached. Readers that begin after Update has returned see the new ones.
func (tx *Tx) Invalidate(keys ...string) { tx.invalidated = append(tx.invalidated, keys...) }

// kind is what a transaction is for; a metrics' label.
type kind string

const (
	update kind = "update"
	view   kind = "view"
	// viewReplica is a ViewStale on a replica; one at the primary is a view.
	viewReplica kind = "view_replica"
)

// Update runs fn in a transaction on the user's home shard, in whichever
// datacenter that is, and commits it if fn returns nil. It is rolled back if fn
// fails or panics, and fn's error is returned as it is.
//
// Errors are ErrNotHome, ErrConflict, ErrInterrupted, ErrOutcomeUnknown,
// ErrNoServer, ErrUser, ErrCache, fn's own, and those of a server that cannot
// be reached. After all but ErrOutcomeUnknown, nothing was committed. A
// statement's error that ended the transaction counts even if fn conceals it.
//
// fn may run several times, once more after each conflict, if Config.Retries
// says so.
func (l *Library) Update(ctx context.Context, user bucketmap.UserID, fn func(context.Context, *Tx) error) error {
	return l.run(ctx, user, update, fn)
}

// View runs fn in a read-only transaction on the user's home shard. All its
// reads are of one snapshot, taken when the home was there: fn never sees what
// a shard kept of a bucket that has moved. A frozen bucket can be read.
//
// The errors are those of Update but for ErrOutcomeUnknown. fn may run several
// times.
func (l *Library) View(ctx context.Context, user bucketmap.UserID, fn func(context.Context, *Tx) error) error {
	return l.run(ctx, user, view, fn)
}

// run decides, tries, and tries again where nothing was done and there is
// reason to hope.
func (l *Library) run(ctx context.Context, user bucketmap.UserID, k kind, fn func(context.Context, *Tx) error) error {
	return l.runAt(ctx, func() (Home, error) { return l.Home(user) }, user, k, fn)
}

// runAt is run for whatever has a home.
func (l *Library) runAt(ctx context.Context, at func() (Home, error), user bucketmap.UserID, k kind, fn func(context.Context, *Tx) error) error {
	conflicts, decisions := 0, 1
	for {
		home, err := at()
		var result outcome
		called := false
		switch {
		case err == nil:
			result, err = l.try(ctx, user, home, k, func(ctx context.Context, tx *Tx) error {
				called = true
				return fn(ctx, tx)
			})
		case errors.Is(err, ErrNotHome):
			if refused, ok := errors.AsType[*NotHomeError](err); ok {
				home.MapVersion = refused.MapVersion
			}
			result = notHome
		default:
			return err
		}
		switch {
		case result == notHome && !called && decisions == 1 && l.newerMap(ctx, home.MapVersion):
			decisions++
		case result == conflict && conflicts < l.config.Retries && pauseBeforeRetry(ctx, conflicts) == nil:
			conflicts++
		default:
			return err
		}
	}
}

// newerMap says whether there is a map newer than this version, and waits for
// one for as long as Config.RefusedWait allows.
func (l *Library) newerMap(ctx context.Context, than bucketmap.Version) bool {
	if l.MapVersion() > than {
		return true
	}
	if l.config.RefusedWait == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, l.config.RefusedWait)
	defer cancel()
	return l.AtLeast(ctx, than+1) == nil
}

// retryPauseMax bounds the pause after a conflict, which is 1 ms at first and
// doubles, so that two that meet do not meet again.
const retryPauseMax = 50 * time.Millisecond

func pauseBeforeRetry(ctx context.Context, conflicts int) error {
	longest := min(time.Millisecond<<conflicts, retryPauseMax)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(rand.N(longest) + 1):
		return nil
	}
}

// try is one transaction, counted.
func (l *Library) try(ctx context.Context, user bucketmap.UserID, home Home, k kind,
	fn func(context.Context, *Tx) error) (outcome, error) {
	p, err := l.pools.get(home)
	if err != nil {
		return failed, err
	}
	defer l.pools.release(p)
	ctx, cancel := context.WithTimeout(ctx, l.config.Timeouts.Transaction)
	defer cancel()
	start := time.Now()
	result := rolledBack // if fn panics
	defer func() {
		l.metrics.transaction(k, result, home.Datacenter == l.config.Datacenter, time.Since(start))
	}()
	for dead := 0; ; dead++ {
		called := false
		result, err = l.transact(ctx, p.db, user, home, k, func(ctx context.Context, tx *Tx) error {
			called = true
			return fn(ctx, tx)
		})
		// A connection that proves dead at its first statement, the look at the
		// fence, is replaced: nothing was done on it.
		if called || dead == deadMax || ctx.Err() != nil || !isDead(err) {
			return result, err
		}
	}
}

func isDead(err error) bool {
	return errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn)
}

// deadMax bounds how many dead connections one call replaces. database/sql
// looks at each before it gives it out, so one is rare.
const deadMax = 2

func (l *Library) transact(ctx context.Context, db *sql.DB, user bucketmap.UserID, home Home, k kind,
	fn func(context.Context, *Tx) error) (outcome, error) {
	state := &txState{tell: k == update && l.config.Replicas.Enabled}
	// A connection that proves dead here is replaced by database/sql: nothing
	// was sent on it but this.
	inner, err := db.BeginTx(context.WithValue(ctx, txStateKey{}, state), &sql.TxOptions{ReadOnly: k == view})
	if err != nil {
		return home.classify(err, fmt.Errorf("begin: %w", err))
	}
	// Also when fn panics, or ends the goroutine. After Commit it does nothing.
	defer inner.Rollback()

	tx := &Tx{inner: inner, home: home, user: user}
	check := fence.CheckWrite
	if k == view {
		check = fence.CheckRead
	}
	if tx.seen, err = check(ctx, inner, home.Bucket); err != nil {
		return home.classify(err, err)
	}
	err = fn(ctx, tx)
	if failure := state.err(); failure != nil {
		if err == nil {
			err = failure
		}
		return home.classify(failure, err)
	}
	if err != nil {
		return rolledBack, err
	}
	if k == view {
		if len(tx.invalidated) != 0 {
			return rolledBack, errors.New("shardlib: Invalidate in a View: a read changes no value")
		}
		return committed, nil
	}
	return l.commit(ctx, tx, state)
}

// commit marks the cache, commits, and takes the marks away as far as the
// outcome is known.
func (l *Library) commit(ctx context.Context, tx *Tx, state *txState) (outcome, error) {
	marks, err := l.mark(tx)
	if err != nil {
		return rolledBack, err
	}
	err = tx.inner.Commit()
	var unanswered *unansweredCommit
	if errors.As(err, &unanswered) {
		// The marks stay: whoever fills now may have read either value.
		l.wrote(tx, "", time.Now().Add(l.config.Cache.MarkTTL))
		return unknown, fmt.Errorf("shard %s in %s: %w: %w", tx.home.Shard, tx.home.Datacenter, ErrOutcomeUnknown, unanswered)
	}
	l.unmark(marks)
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
		err = context.Cause(ctx) // for which database/sql rolled it back
	}
	if err != nil {
		return tx.home.classify(err, err)
	}
	l.wrote(tx, state.told, time.Now())
	return committed, nil
}

// wrote remembers a write for ViewStale: its GTID, or without one a time by
// which it is committed if it ever is.
func (l *Library) wrote(tx *Tx, told string, by time.Time) {
	if !l.config.Replicas.Enabled || tx.user == "" { // an errand of the library's has no user
		return
	}
	e := evidence{epoch: tx.seen.Epoch}
	var err error
	if e.position, err = parsePosition(told, ","); err != nil || len(e.position) == 0 {
		e.position, e.after = nil, by
	}
	l.writes.remember(tx, e)
}
