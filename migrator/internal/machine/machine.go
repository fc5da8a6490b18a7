// Package machine is what the state machines of moves and promotions have in
// common: the rule for transitions, what is told on the way, and how a failure
// is placed.
//
// The tables themselves are in the packages move and promote. Everything here
// is plain data, or safe for concurrent use.
package machine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"drover/bucketmap"
)

// CheckNext says whether a state machine may go from one state to another.
// Staying is allowed: what is resumed enters its state again.
func CheckNext[S ~string](next map[S][]S, from, to S) error {
	if from == to || slices.Contains(next[from], to) {
		return nil
	}
	return fmt.Errorf("there is no way from %s to %s", from, to)
}

// Event tells the operator how a move or a promotion is getting on.
type Event[S ~string] struct {
	Move  bucketmap.MoveID `json:"move"`
	State S                `json:"state"`
	At    time.Time        `json:"at"`
	Note  string           `json:"note,omitempty"`
	Rows  int64            `json:"rows,omitempty"` // copied, applied or removed in this state
	// RowsTotal is about how many rows that will be, 0 when it is not known.
	RowsTotal int64 `json:"rows_total,omitempty"`
	// Behind is how many transactions are still to come over.
	Behind uint64 `json:"behind_transactions,omitempty"`
	// Lag is how old the oldest change is that is known and has not come over, and
	// Applied how many row changes have. Measured is true when Behind and Lag were
	// looked at for this event, 0 included.
	Lag      time.Duration `json:"-"`
	Applied  int64         `json:"-"`
	Measured bool          `json:"-"`
	// Stall is how long the buckets could not be written, 0 when they could.
	Stall time.Duration `json:"-"`
	// Entered is true when State has just been entered.
	Entered bool `json:"entered"`
}

// Error says in which state of which move or promotion something failed, and
// what to do.
type Error[S ~string] struct {
	Move  bucketmap.MoveID
	State S
	Hint  string
	Err   error
}

func (e *Error[S]) Error() string {
	msg := fmt.Sprintf("%s, %s: %v", e.Move, e.State, e.Err)
	if e.Hint != "" {
		msg += "; " + e.Hint
	}
	return msg
}

// Unwrap gives the cause.
func (e *Error[S]) Unwrap() error { return e.Err }

// NewID makes a name: kind, time and chance, such as m-20260102-150405-a1b2c3.
func NewID(kind string) (bucketmap.MoveID, error) {
	var b [3]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("a name for what is begun: %w", err)
	}
	return bucketmap.MoveID(kind + time.Now().UTC().Format("-20060102-150405-") + hex.EncodeToString(b[:])), nil
}

// Backoff is how long to pause before the next try: it doubles, from first to
// most.
func Backoff(try int, first, most time.Duration) time.Duration {
	const doublings = 20 // more would overflow a Duration
	return min(most, first<<min(max(try-1, 0), doublings))
}

// patienceMax bounds how long a change that harms nobody waits for its moment.
const patienceMax = 10 * time.Minute

// ErrBusy is returned when open transactions were in the way for as long as
// patienceMax.
var ErrBusy = errors.New("open transactions were always in the way; find the long ones (SHOW PROCESSLIST)")

// Patiently calls f until it succeeds, or fails otherwise than for want of a
// lock, with pauses that grow from first to most. waiting is told each try that
// was in vain.
func Patiently(ctx context.Context, first, most time.Duration, busy func(error) bool, waiting func(try int), f func() error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = first, most
	tries := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		tries++
		err := f()
		switch {
		case err == nil:
		case busy(err):
			waiting(tries)
		default:
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(patienceMax))
	if err != nil && busy(err) {
		return fmt.Errorf("%w: %d tries in %s: %w", ErrBusy, tries, patienceMax, err)
	}
	return err
}
