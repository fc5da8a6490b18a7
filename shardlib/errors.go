package shardlib

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
	"drover/shardlib/fence"
)

// The classes of errors of Update, View and Cached, besides those of the
// caller's own function and of a server that cannot be reached. After all of
// them but ErrOutcomeUnknown, nothing was committed.
var (
	// ErrNotHome: the bucket's home is elsewhere, or the bucket is frozen. The
	// error is a *NotHomeError.
	ErrNotHome = errors.New("the bucket cannot be used here now")
	// ErrOutcomeUnknown: COMMIT was sent and no answer came. The transaction
	// was committed or was not.
	ErrOutcomeUnknown = errors.New("the outcome of the transaction is unknown")
	// ErrConflict: the transaction met another one: a deadlock, or a lock that
	// was not given in time. It may be run again.
	ErrConflict = errors.New("the transaction was in conflict with another")
	// ErrInterrupted: the server or its operator ended the transaction: a kill,
	// a time limit, a shutdown. It may be run again, by who thinks it wise.
	ErrInterrupted = errors.New("the server ended the transaction")
	// ErrNoServer: the shard list names no server for the shard in the
	// datacenter where the map says it lives.
	ErrNoServer = errors.New("the shard list names no server")
	// ErrUser: the user id is empty or longer than bucketmap.UserIDMax.
	ErrUser = errors.New("unusable user id")
	// ErrMapBehind: AtLeast ended before the map was new enough.
	ErrMapBehind = errors.New("the map here is behind")
	// ErrNoValue: there is nothing to cache under the key. The load function of
	// Cached returns it, or sql.ErrNoRows, and Cached does, from the cache too.
	ErrNoValue = errors.New("there is no such value")
	// ErrCache: a write was given up because its cache keys could not be
	// marked, as CacheOptions.FailWrites asks for.
	ErrCache = errors.New("cannot mark the cache")
)

// NotHomeError says which bucket was refused, where, and by which map it was
// looked for there.
type NotHomeError struct {
	Bucket     bucketmap.BucketID
	Shard      bucketmap.ShardName // empty: the map gives the bucket no home
	Datacenter bucketmap.Datacenter
	// State is that of the fence row that refused. Empty when there is none,
	// or when a trigger or a server that is read only refused.
	State      fence.State
	MapVersion bucketmap.Version
	Err        error
}

func (e *NotHomeError) Error() string {
	if e.Shard == "" {
		return fmt.Sprintf("bucket %d has no home in map %d", e.Bucket, e.MapVersion)
	}
	return fmt.Sprintf("bucket %d is not usable on shard %s in %s, its home by map %d: %v",
		e.Bucket, e.Shard, e.Datacenter, e.MapVersion, e.Err)
}

// Is makes errors.Is(err, ErrNotHome) true.
func (e *NotHomeError) Is(target error) bool { return target == ErrNotHome }

// Unwrap gives what refused: a *fence.RefusedError or a *mysql.MySQLError.
func (e *NotHomeError) Unwrap() error { return e.Err }

// The server's error numbers that end a transaction. They are the same in
// MariaDB and MySQL where both have them.
const (
	numberShutdown         = 1053
	numberRecordChanged    = 1020 // by innodb_snapshot_isolation
	numberLockWait         = 1205
	numberDeadlock         = 1213
	numberReadOnly         = 1290 // also other --options: see the message
	numberQueryKilled      = 1317
	numberEngineReadOnly   = 1836
	numberConnectionKilled = 1927
	numberStatementTimeout = 1969 // MariaDB's max_statement_time
	numberQueryTimeout     = 3024 // MySQL's max_execution_time
)

// outcome is how one transaction ended; the metrics' label.
type outcome string

const (
	committed   outcome = "committed"
	rolledBack  outcome = "rolled_back" // the caller's function failed
	notHome     outcome = "not_home"
	conflict    outcome = "conflict"
	interrupted outcome = "interrupted"
	failed      outcome = "failed" // the server, the connection or the context ended it
	unknown     outcome = "unknown"
)

var outcomes = []outcome{committed, rolledBack, notHome, conflict, interrupted, failed, unknown}

// serverOutcome says what an error of the server means for the transaction.
// rolledBack stands for a failed statement in a transaction that goes on.
func serverOutcome(err *mysql.MySQLError) outcome {
	switch err.Number {
	case fence.RefusedNumber, numberEngineReadOnly:
		return notHome
	case numberReadOnly:
		if strings.Contains(err.Message, "read-only") || strings.Contains(err.Message, "read_only") {
			return notHome
		}
	case numberDeadlock, numberLockWait, numberRecordChanged:
		return conflict
	case numberQueryKilled, numberConnectionKilled, numberStatementTimeout, numberQueryTimeout, numberShutdown:
		return interrupted
	}
	return rolledBack
}

// classify gives the outcome and the error of a transaction that something else
// than the caller's function ended: cause is what the connection saw, err what
// there is to tell the caller, which has cause in it or not.
func (h Home) classify(cause, err error) (outcome, error) {
	var refused *fence.RefusedError
	if errors.As(cause, &refused) {
		return notHome, h.notHome(refused.State, err)
	}
	var server *mysql.MySQLError
	if !errors.As(cause, &server) {
		return failed, fmt.Errorf("shard %s in %s: nothing was committed: %w", h.Shard, h.Datacenter, err)
	}
	switch o := serverOutcome(server); o {
	case notHome:
		return o, h.notHome("", err)
	case conflict:
		return o, fmt.Errorf("shard %s in %s: %w: %w", h.Shard, h.Datacenter, ErrConflict, err)
	case interrupted:
		return o, fmt.Errorf("shard %s in %s: %w: %w", h.Shard, h.Datacenter, ErrInterrupted, err)
	default:
		return failed, fmt.Errorf("shard %s in %s: nothing was committed: %w", h.Shard, h.Datacenter, err)
	}
}

func (h Home) notHome(state fence.State, err error) error {
	return &NotHomeError{Bucket: h.Bucket, Shard: h.Shard, Datacenter: h.Datacenter,
		State: state, MapVersion: h.MapVersion, Err: err}
}
