package shardlib

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
)

// OnceTable is the name of the table of Once.
const OnceTable = "drover_once"

// OnceSharded are the columns of OnceTable that the migrator must know: the
// table moves with its buckets, and belongs into tables of the migrator's
// configuration as {name: drover_once, bucket_column: bucket}.
const OnceSharded = "bucket"

// CreateOnceTable is the statement that makes OnceTable. The application runs it
// on every shard before the first call of Once.
const CreateOnceTable = `CREATE TABLE IF NOT EXISTS ` + OnceTable + ` (
  bucket     INT UNSIGNED NOT NULL,
  user_id    VARBINARY(256) NOT NULL,
  request_id VARBINARY(128) NOT NULL,
  result     MEDIUMBLOB NOT NULL,
  created    DATETIME NOT NULL COMMENT 'UTC',
  PRIMARY KEY (user_id, request_id),
  KEY (bucket, created)
) ENGINE=InnoDB`

// Bounds of Once.
const (
	RequestIDMax  = 128     // bytes
	OnceResultMax = 1 << 20 // bytes: a result is kept until it is purged
	// onceTries bounds how often Once begins again: after an outcome that is
	// not known, or a conflict with a repeat of the same request.
	onceTries = 3
)

const numberDuplicate = 1062

// Once runs fn in an Update at most once for each user and request id, whoever
// calls, however often, in whatever process and datacenter, before and after a
// move; and returns the result that fn returned then. The id is what the client
// sends again when it repeats a request: 1 to RequestIDMax bytes. The result has
// at most OnceResultMax bytes; nil comes back empty.
//
// Two calls at once with one id: the second waits for the first. If the first
// commits, the second returns its result; if the first fails, nothing is kept,
// and the second runs.
//
// A COMMIT without an answer is no end: Once looks for itself whether the
// request was done. It is ErrOutcomeUnknown only when that cannot be found out
// in time; a repeat with the same id is safe then, and always. Other errors are
// those of Update. The table's rows are kept until PurgeOnce, so a client must
// not repeat for longer than that.
func (l *Library) Once(ctx context.Context, user bucketmap.UserID, requestID string,
	fn func(context.Context, *Tx) ([]byte, error)) ([]byte, error) {
	if len(requestID) < 1 || len(requestID) > RequestIDMax {
		return nil, fmt.Errorf("shardlib: request id of %d bytes: want 1 to %d", len(requestID), RequestIDMax)
	}
	var unsure error // of the first try whose outcome is not known
	for tries := 1; ; tries++ {
		o := once{user: user, requestID: requestID, fn: fn}
		err := l.Update(ctx, user, o.run)
		again := errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrConflict) && !o.called
		switch {
		case err == nil && o.repeat:
			l.metrics.once.WithLabelValues("repeated").Inc()
			return o.result, nil
		case err == nil:
			l.metrics.once.WithLabelValues("done").Inc()
			return o.result, nil
		case again && tries < onceTries && ctx.Err() == nil:
			if unsure == nil && errors.Is(err, ErrOutcomeUnknown) {
				unsure = err
			}
			if pauseErr := pauseBeforeRetry(ctx, tries); pauseErr == nil {
				continue
			}
		}
		l.metrics.once.WithLabelValues("failed").Inc()
		if unsure != nil && !errors.Is(err, ErrOutcomeUnknown) {
			// %v: the last error says that its own try did nothing, and no more.
			err = fmt.Errorf("%w; then it could not be found out: %v", unsure, err) //nolint:errorlint // see above
		}
		return nil, err
	}
}

// once is one try of Once.
type once struct {
	user      bucketmap.UserID
	requestID string
	fn        func(context.Context, *Tx) ([]byte, error)

	called, repeat bool
	result         []byte
}

func (o *once) run(ctx context.Context, tx *Tx) error {
	o.called, o.repeat, o.result = false, false, nil
	// The row comes first: a repeat waits at it, and runs nothing meanwhile.
	_, err := tx.ExecContext(ctx, "INSERT INTO "+OnceTable+" (bucket, user_id, request_id, result, created) VALUES (?, ?, ?, '', UTC_TIMESTAMP())",
		uint32(tx.home.Bucket), []byte(o.user), []byte(o.requestID))
	if server, ok := errors.AsType[*mysql.MySQLError](err); ok && server.Number == numberDuplicate {
		o.repeat = true
		return o.stored(ctx, tx)
	}
	if err != nil {
		return fmt.Errorf("request %q: %w", o.requestID, err)
	}
	o.called = true
	if o.result, err = o.fn(ctx, tx); err != nil {
		return err
	}
	if len(o.result) > OnceResultMax {
		return fmt.Errorf("shardlib: request %q: a result of %d bytes: want at most %d", o.requestID, len(o.result), OnceResultMax)
	}
	if len(o.result) == 0 {
		return nil
	}
	res, err := tx.ExecContext(ctx, "UPDATE "+OnceTable+" SET result = ? WHERE user_id = ? AND request_id = ?", o.result, []byte(o.user), []byte(o.requestID))
	if err != nil {
		return fmt.Errorf("request %q: %w", o.requestID, err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("shardlib: request %q: its row is gone within its transaction", o.requestID), err)
	}
	return nil
}

// stored reads what the first call returned, past this transaction's snapshot.
func (o *once) stored(ctx context.Context, tx *Tx) error {
	err := tx.QueryRowContext(ctx, "SELECT result FROM "+OnceTable+" WHERE user_id = ? AND request_id = ? LOCK IN SHARE MODE",
		[]byte(o.user), []byte(o.requestID)).Scan(&o.result)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: request %q was purged while it was looked for", ErrConflict, o.requestID)
	}
	return err
}

// purgeChunk bounds one transaction of PurgeOnce.
const purgeChunk = 1000

// PurgeOnce removes the requests that are older than age from the buckets whose
// home is in the own datacenter, in small transactions, and returns how many
// they were. It goes on past a bucket that cannot be used now. Let one process
// of a datacenter call it now and then.
func (l *Library) PurgeOnce(ctx context.Context, age time.Duration) (purged int64, err error) {
	if age < time.Second {
		return 0, fmt.Errorf("shardlib: purge requests older than %v: want a second or more", age)
	}
	var failures []error
	for run := range l.current.Load().Runs() {
		for b := run.First; b <= run.Last && ctx.Err() == nil && len(failures) < purgeFailuresMax; b++ {
			home, err := homeOf(l.current.Load(), b)
			if err != nil || home.Datacenter != l.config.Datacenter {
				continue
			}
			n, err := l.purgeBucket(ctx, b, age)
			purged += n
			if err != nil {
				failures = append(failures, err)
			}
		}
	}
	return purged, errors.Join(append(failures, ctx.Err())...)
}

// purgeFailuresMax ends a purge that fails everywhere.
const purgeFailuresMax = 16

func (l *Library) purgeBucket(ctx context.Context, b bucketmap.BucketID, age time.Duration) (purged int64, err error) {
	for {
		var n int64
		err := l.runAt(ctx, func() (Home, error) { return homeOf(l.current.Load(), b) }, "", update, func(ctx context.Context, tx *Tx) error {
			res, err := tx.ExecContext(ctx, "DELETE FROM "+OnceTable+" WHERE bucket = ? AND created < UTC_TIMESTAMP() - INTERVAL ? SECOND LIMIT ?",
				uint32(b), int64(age/time.Second), purgeChunk)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return purged, err
		}
		if purged += n; n < purgeChunk {
			return purged, nil
		}
	}
}
