package shardlib

// The transaction on a replica.
//
// One compound statement, in this order: it waits, if that is wanted; begins
// the transaction; reads what the replica has applied; and reads the fence,
// which takes the snapshot. So the snapshot has all of the position, and it
// costs one round trip. With the position after the snapshot, the replica could
// apply between the two, and promise what the snapshot does not show.
//
// gtid_slave_pos and not gtid_current_pos: that one counts what somebody wrote
// on the replica itself.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
	"drover/shardlib/fence"
)

// looked is what a replica shows.
type looked struct {
	position      position
	shard, bucket fenceRow
	primary       uint32 // the server_id in the shard's row
	own           bool   // it is this server's
}

// fenceRow is a row of the fence in a snapshot; without a state there is none.
type fenceRow struct {
	state fence.State
	epoch bucketmap.Epoch
}

func (r *staleRead) lookStatement() string {
	var wait string
	if r.staleness.Wait > 0 {
		// The digits and dashes of numbers that were parsed: no quoting.
		wait = fmt.Sprintf("DO MASTER_GTID_WAIT('%s', %s); ", r.needed().text(","),
			strconv.FormatFloat(r.staleness.Wait.Seconds(), 'f', 6, 64))
	}
	return "BEGIN NOT ATOMIC " + wait + "START TRANSACTION READ ONLY; SELECT @@gtid_slave_pos; " +
		"SELECT bucket, state, epoch, server_id, server_id = @@server_id FROM " + fence.Table +
		" FORCE INDEX (PRIMARY) WHERE bucket IN (-1, " + strconv.FormatUint(uint64(r.home.Bucket), 10) + ") ORDER BY bucket; END"
}

// needed is the least that the replica must have when the wait is over.
func (r *staleRead) needed() position {
	needed := r.samples[len(r.samples)-1].position
	oldest := time.Now().Add(r.staleness.Wait - r.staleness.Max)
	for _, one := range r.samples {
		if !one.begun.Before(oldest) && !one.begun.Before(r.known.after) {
			needed = one.position
			break
		}
	}
	if r.known.epoch == r.home.Epoch {
		needed = needed.merge(r.known.position)
	}
	if r.token.epoch == r.home.Epoch {
		needed = needed.merge(r.token.position)
	}
	return needed
}

func (r *staleRead) look(ctx context.Context, inner *sql.Tx) (k looked, err error) {
	rows, err := inner.QueryContext(ctx, r.lookStatement())
	if err != nil {
		return k, err
	}
	defer rows.Close()
	var text string
	if err := scanOnly(rows, &text); err != nil {
		return k, err
	}
	if k.position, err = parsePosition(text, ","); err != nil {
		return k, err
	}
	if !rows.NextResultSet() {
		return k, errors.Join(errNoPosition, rows.Err())
	}
	for rows.Next() {
		var b int64
		var row fenceRow
		var primary uint32
		var own bool
		if err := rows.Scan(&b, &row.state, &row.epoch, &primary, &own); err != nil {
			return k, err
		}
		if b == fence.ShardRow {
			k.shard, k.primary, k.own = row, primary, own
		} else {
			k.bucket = row
		}
	}
	return k, rows.Err()
}

// errLookTimeout ends a look that takes too long.
var errLookTimeout = errors.New("the replica did not answer in time")

// read runs the function on the replica. When it is not done, the primary is to
// be read.
func (r *staleRead) read(ctx context.Context) (done bool, reason why, err error) {
	l := r.library
	here := r.home
	here.Datacenter = l.config.Datacenter
	p, err := l.pools.get(here)
	if err != nil {
		return false, whyNone, err
	}
	defer l.pools.release(p)
	ctx, cancel := context.WithTimeout(ctx, l.config.Timeouts.Transaction)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	late := time.AfterFunc(l.config.Replicas.Timeout+r.staleness.Wait, func() { giveUp(errLookTimeout) })
	defer late.Stop()

	start, result := time.Now(), failed
	defer func() { l.metrics.transaction(viewReplica, result, true, time.Since(start)) }()
	state := new(txState)
	inner, k, err := r.begin(ctx, p, state)
	if err == nil && !late.Stop() {
		_ = inner.Rollback()
		err = errLookTimeout
	}
	if err != nil {
		if context.Cause(ctx) == nil || errors.Is(context.Cause(ctx), errLookTimeout) { // else it is the caller who has gone
			r.sampler.avoid()
		}
		return false, whyAway, err
	}
	// Also when fn panics, or ends the goroutine.
	defer inner.Rollback()
	r.sampler.saw(k.position)
	result = rolledBack
	age, reason := r.judge(k, time.Now())
	if reason != whyProven {
		return false, reason, nil
	}
	l.metrics.staleness.Observe(age.Seconds())

	tx := &Tx{inner: inner, home: r.home, user: r.user, replica: true,
		seen: fence.Seen{Epoch: k.bucket.epoch, ShardEpoch: k.shard.epoch}}
	err = r.fn(ctx, tx)
	var server *mysql.MySQLError
	if state.err() != nil || errors.As(err, &server) {
		result = failed
		return false, whyFailed, err
	}
	if err == nil && len(tx.invalidated) != 0 {
		err = errors.New("shardlib: Invalidate in a ViewStale: a read changes no value")
	}
	if err == nil {
		result = committed
	}
	return true, whyProven, err
}

// begin looks at the replica, which begins the transaction. A connection that
// proves dead is replaced: the pool may have several from before a restart.
func (r *staleRead) begin(ctx context.Context, p *pool, state *txState) (*sql.Tx, looked, error) {
	for dead := 0; ; dead++ {
		inner, err := p.db.BeginTx(context.WithValue(ctx, txStateKey{}, state), nil)
		if err != nil {
			return nil, looked{}, err
		}
		k, err := r.look(ctx, inner)
		if err == nil {
			return inner, k, nil
		}
		_ = inner.Rollback() // nothing was done
		if dead == deadMax || ctx.Err() != nil || !isDead(err) {
			return nil, looked{}, err
		}
		*state = txState{}
	}
}
