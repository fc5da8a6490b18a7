package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"drover/internal/pause"
	"drover/migrator/internal/database"
	"drover/migrator/internal/publish"
	"drover/shardlib/fence"
)

// The gate is what must be so before the proxies are asked to hold. While it is
// closed the move steps back, and no user waits for it:
//
//  1. the tail is near the source's end;
//  2. every live proxy runs the newest map;
//  3. what changed since the verification has been compared, but for the last
//     few rows;
//  4. no transaction that has been open for long has the buckets' fence rows.
//
// The fourth is asked once more when the hold is there: what is open then and
// was not before is new, and the freeze's own bound deals with it.

const (
	// probes is how often the buckets' rows are tried, and probePause the mean
	// pause between two, before a long transaction is taken to be the one that
	// has them: 10 × 3 ms, several times what a user's commit takes.
	probes     = 10
	probePause = 3 * time.Millisecond
	// oldShown bounds the long transactions that the report names.
	oldShown = 3
)

// gateState remembers a gate that was closed by long transactions.
type gateState struct {
	since time.Time // of the first time in a row; zero when it was open
	knock time.Time // when a try is made though one of them is open
	times int       // how often in a row
}

// gate says why the proxies must not be asked to hold now; empty when they may.
func (r *run) gate(ctx context.Context) (why string, err error) {
	if why, err = r.tailNear(ctx); why != "" || err != nil {
		return why, err
	}
	if err := r.Map.Ready(ctx, r.Limits.Hold.Ack); errors.Is(err, publish.ErrNotAcknowledged) {
		return err.Error(), nil
	} else if err != nil {
		return "", err
	}
	all, err := r.verifyAhead(ctx)
	if err != nil {
		return "", err
	}
	if !all {
		return tooManyTouched, nil
	}
	return r.blocked(ctx)
}

// tailNear waits, for Limits.Freeze at most, until the tail needs no more than
// nearEnough to the source's end: what it needs the users wait for. Where it
// never does, what leaves most of Limits.Freeze is good enough.
func (r *run) tailNear(ctx context.Context) (why string, err error) {
	waiting, cancel := context.WithTimeout(ctx, r.Limits.Freeze)
	defer cancel()
	best := r.Limits.Freeze
	for {
		end, err := r.from.BinlogPosition(ctx)
		if err != nil {
			return "", err
		}
		began := time.Now()
		if err := r.tail.reach(waiting, end); err != nil {
			if waiting.Err() != nil && ctx.Err() == nil {
				if best <= r.Limits.Freeze/4 {
					return "", nil
				}
				return fmt.Sprintf("the tail was more than %s behind for %s", r.tail.near, r.Limits.Freeze), nil
			}
			return "", err
		}
		if best = min(best, time.Since(began)); best <= r.tail.near {
			return "", nil
		}
	}
}

// blocked says which long transactions have, as far as can be seen, one of the
// buckets' fence rows; empty when none has. It never waits for a lock, so that
// no writer queues behind it.
//
// The server does not tell who has a row that nobody waits for. So a row that
// cannot be had, time and again, while a long transaction is open is taken to
// be that one's. It may be wrong where writers without a pause have the row and
// the long transaction is another bucket's: hence a try after
// Limits.GateKnock all the same. It costs the users Limits.FreezeLock.
func (r *run) blocked(ctx context.Context) (why string, err error) {
	for i := range probes {
		free, err := r.probe(ctx)
		if err != nil {
			return "", err
		}
		if free {
			r.gated = gateState{}
			return "", nil
		}
		if i == 0 {
			if why, err = r.longTransactions(ctx); err != nil {
				return "", err
			}
			if why == "" {
				r.gated = gateState{}
				return "", nil // only short ones: the freeze may wait for them
			}
		}
		if err := pause.For(ctx, rand.N(2*probePause)); err != nil {
			return "", err
		}
	}
	now := time.Now()
	if r.gated.since.IsZero() {
		r.gated = gateState{since: now, knock: now.Add(r.Limits.GateKnock)}
	}
	if now.After(r.gated.knock) {
		r.gated.knock = now.Add(r.Limits.GateKnock)
		return "", nil
	}
	return why, nil
}

// probe says whether nobody has the buckets' rows at the source this moment.
func (r *run) probe(ctx context.Context) (free bool, err error) {
	var n int
	err = r.from.DB.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+fence.Table+" FORCE INDEX (PRIMARY) WHERE bucket IN ("+
		bucketList(r.move.Buckets)+") FOR UPDATE NOWAIT").Scan(&n)
	switch {
	case err == nil:
		return true, nil
	case database.TimedOut(err):
		return false, nil
	default:
		return false, fmt.Errorf("probe the fence on %s: %w", r.from.Name(), err)
	}
}

// The errors with which a server refuses to show other accounts' transactions.
const (
	erSpecificAccess = 1227
	erTableAccess    = 1142
)

// longTransactions names the transactions that have row locks and have been
// open for longer than Limits.GateAge; empty when there are none, or when the
// account may not see them.
//
// The server gives their start in whole seconds of its own time zone.
func (r *run) longTransactions(ctx context.Context) (string, error) {
	wrap := func(err error) error {
		return fmt.Errorf("look for open transactions on %s: %w", r.from.Name(), err)
	}
	rows, err := r.from.DB.QueryContext(ctx, `SELECT t.trx_mysql_thread_id,
  TIMESTAMPDIFF(SECOND, t.trx_started, CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')) AS age,
  COALESCE(p.user, ''), COALESCE(p.host, '')
FROM information_schema.innodb_trx AS t LEFT JOIN information_schema.processlist AS p ON p.id = t.trx_mysql_thread_id
WHERE t.trx_lock_structs > 0 HAVING age > ? ORDER BY age DESC LIMIT ?`, r.Limits.GateAge.Seconds(), oldShown)
	if err != nil {
		if number, ok := database.ErrorNumber(err); ok && (number == erSpecificAccess || number == erTableAccess) {
			return "", nil // without PROCESS the freeze's own bound must do
		}
		return "", wrap(err)
	}
	defer rows.Close()
	text := ""
	for rows.Next() {
		var id, age sql.NullInt64
		var user, host string
		if err := rows.Scan(&id, &age, &user, &host); err != nil {
			return "", wrap(err)
		}
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("connection %d of %s@%s for %d s", id.Int64, user, host, age.Int64)
	}
	if err := rows.Err(); err != nil {
		return "", wrap(err)
	}
	if text != "" {
		text = "an open transaction has the buckets' rows: " + text
	}
	return text, nil
}
