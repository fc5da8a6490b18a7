package fence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
)

// ErrRefused is the class of writes and reads that the fence refuses. Nothing
// of the transaction was committed.
var ErrRefused = errors.New("the bucket is not here")

// RefusedNumber is the error number with which the triggers refuse.
const RefusedNumber = 30421

// RefusedError says which row refused, and why.
type RefusedError struct {
	Bucket bucketmap.BucketID
	// State is the state of the row that refused: the shard's when Shard, else
	// the bucket's. Empty when there is no such row, or when a trigger refused.
	State State
	Shard bool
	Err   error
}

func (e *RefusedError) Error() string {
	what, state := fmt.Sprintf("bucket %d", e.Bucket), string(e.State)
	if e.Shard {
		what = "the shard of " + what
	}
	if state == "" {
		state = "without a fence row"
	}
	if e.Err != nil {
		return fmt.Sprintf("fence: %s refuses: %v", what, e.Err)
	}
	return fmt.Sprintf("fence: %s is %s on this server", what, state)
}

// Is makes errors.Is(err, ErrRefused) true.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Unwrap gives the server's error when a trigger refused.
func (e *RefusedError) Unwrap() error { return e.Err }

// Seen is what a passed check saw.
type Seen struct {
	Epoch      bucketmap.Epoch // of the bucket
	ShardEpoch bucketmap.Epoch
}

// Querier is what *sql.DB, *sql.Conn and *sql.Tx have in common.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// CheckWrite reads the bucket's row and the shard's with a shared lock, which
// lasts until the transaction ends, and returns a *RefusedError unless both
// are active and this server is the shard's primary. It is one round trip.
func CheckWrite(ctx context.Context, tx *sql.Tx, bucket bucketmap.BucketID) (Seen, error) {
	return check(ctx, tx, bucket, " LOCK IN SHARE MODE", func(s State) bool { return s == Active })
}

// CheckRead is CheckWrite for a read: it takes no lock and passes a frozen row
// too, for nobody can have written since.
func CheckRead(ctx context.Context, tx *sql.Tx, bucket bucketmap.BucketID) (Seen, error) {
	return check(ctx, tx, bucket, "", State.Readable)
}

func check(ctx context.Context, q Querier, bucket bucketmap.BucketID, lock string, pass func(State) bool) (Seen, error) {
	rows, err := q.QueryContext(ctx,
		"SELECT bucket, state, epoch, server_id = @@server_id FROM "+Table+byKey+" WHERE bucket IN (?, ?) ORDER BY bucket"+lock,
		ShardRow, bucket)
	if err != nil {
		return Seen{}, fmt.Errorf("fence: read the rows of bucket %d: %w", bucket, err)
	}
	defer rows.Close()
	var seen Seen
	var haveShard, haveBucket bool
	for rows.Next() {
		var b int64
		var state State
		var epoch bucketmap.Epoch
		var primary bool
		if err := rows.Scan(&b, &state, &epoch, &primary); err != nil {
			return Seen{}, fmt.Errorf("fence: read the rows of bucket %d: %w", bucket, err)
		}
		shard := b == ShardRow
		if !pass(state) || shard && !primary {
			if shard && !primary && pass(state) {
				state = Moved // active, but for another server
			}
			return Seen{}, &RefusedError{Bucket: bucket, State: state, Shard: shard}
		}
		if shard {
			haveShard, seen.ShardEpoch = true, epoch
		} else {
			haveBucket, seen.Epoch = true, epoch
		}
	}
	if err := rows.Err(); err != nil {
		return Seen{}, fmt.Errorf("fence: read the rows of bucket %d: %w", bucket, err)
	}
	if !haveShard || !haveBucket {
		return Seen{}, &RefusedError{Bucket: bucket, Shard: !haveShard}
	}
	return seen, nil
}

// Refused turns the error of a statement that a trigger refused into a
// *RefusedError, and gives back any other error as it is.
func Refused(bucket bucketmap.BucketID, err error) error {
	var server *mysql.MySQLError
	if errors.As(err, &server) && server.Number == RefusedNumber {
		return &RefusedError{Bucket: bucket, Err: err}
	}
	return err
}
