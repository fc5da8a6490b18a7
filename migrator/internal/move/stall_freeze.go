package move

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// How the freeze gets its rows. A writer has the row of its bucket from its
// check to its commit, shared with others. Who asks for it and waits makes all
// later writers wait behind; so the freeze first looks for a gap between two
// writers, again and again, which makes nobody wait. Where there is a hold, or
// one writer after the other, a gap is there within a transaction's time. Where
// writers overlap there is none, and the freeze must queue, for Limits.FreezeLock
// at most.
//
// Either is one script, so that no round trip lies between the lock and the
// commit: the users would wait for it.

const (
	// freezeKnocks is how often the freeze queues for the rows before the hold is
	// given up. Before each of them users write while it looks for a gap. With the
	// defaults that is 3 × 15 ms of waiting, 5 ms of looking before and 2 × 15 ms
	// between; the looks themselves make half as much again of the looking.
	freezeKnocks = 3
	// gapPause is between two looks for a gap, each some 50 µs of the server's
	// time: a writer whose round trip is a fifth of a millisecond leaves a gap of
	// two of these.
	gapPause = 200 * time.Microsecond
)

// freeze changes active to frozen and returns the position of that change.
func (r *run) freeze(ctx context.Context, c *crossing) (database.Position, error) {
	r.crash("before_freeze", Freezing)
	var own database.GTID
	var err error
	for i := range freezeKnocks {
		looking := r.Limits.FreezeLock
		if i == 0 {
			looking /= 3
		}
		if own, err = r.freezeInAGap(ctx, c, looking); !notFree(err) {
			break
		}
		if own, err = r.freezeQueued(ctx, c); !notFree(err) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("freeze on %s: %w", r.from.Name(), err)
	}
	r.crash("after_freeze", Freezing)
	position := database.Position{}
	position.Advance(own)
	return position, nil
}

// notFree says that the rows were not to be had in time, and that nothing was
// changed.
func notFree(err error) bool {
	return database.TimedOut(err) && !errors.Is(err, database.ErrOutcomeUnknown)
}

// freezeInAGap looks for a moment in which nobody has the rows. It fails with a
// lock wait timeout.
func (r *run) freezeInAGap(ctx context.Context, c *crossing, looking time.Duration) (database.GTID, error) {
	update, rows := transitionUpdate(r.move.Buckets, fence.Active, fence.Frozen, r.token)
	began := time.Now()
	var own string
	var waitedMicros int64
	// The users wait from when the rows are locked.
	err := c.source.ask(ctx, "", gapText(update, rows, int(max(1, looking/gapPause))), "@@last_gtid, @drover_waited", &own, &waitedMicros)
	if err != nil {
		return database.GTID{}, r.whyNot(ctx, c.source, err)
	}
	c.began = began.Add(time.Duration(waitedMicros) * time.Microsecond)
	return database.ParseGTID(own)
}

// gapText is a script that tries an update, never waiting for a lock, and
// commits it when it has changed that many rows. (A script may not say NOWAIT.)
// Its variables have no column's name.
func gapText(update string, rows, tries int) string {
	const restore = "SET SESSION innodb_lock_wait_timeout = drover_lock_wait;\n"
	return strings.Join([]string{
		"DECLARE drover_tries, drover_busy, drover_changed INT DEFAULT 0;\n",
		"DECLARE drover_lock_wait BIGINT DEFAULT @@innodb_lock_wait_timeout;\n",
		"DECLARE drover_began DATETIME(6) DEFAULT SYSDATE(6);\n",
		"DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; ", restore, " RESIGNAL; END;\n",
		"SET SESSION innodb_lock_wait_timeout = 0;\n",
		"REPEAT\n",
		"SET drover_busy = 0, drover_tries = drover_tries + 1;\n",
		"START TRANSACTION;\n",
		"BEGIN\n",
		"DECLARE CONTINUE HANDLER FOR ", strconv.Itoa(erLockWait), " SET drover_busy = 1;\n",
		update, ";\n",
		"SET drover_changed = ROW_COUNT();\n",
		"END;\n",
		"IF drover_busy THEN\n",
		"ROLLBACK;\n", // other rows of the batch may be locked
		"IF drover_tries >= ", strconv.Itoa(tries), " THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = ", strconv.Itoa(erLockWait),
		", MESSAGE_TEXT = 'writers have the rows'; END IF;\n",
		"DO SLEEP(", fmt.Sprintf("%.6f", gapPause.Seconds()), ");\n",
		"END IF;\n",
		"UNTIL NOT drover_busy END REPEAT;\n",
		"SET @drover_waited = TIMESTAMPDIFF(MICROSECOND, drover_began, SYSDATE(6));\n",
		"IF drover_changed <> ", strconv.Itoa(rows), " THEN ", lostRow, "; END IF;\n",
		restore,
		"COMMIT;\n"}, "")
}

// erLockWait and erTimeUp are the server's errors for a lock that was not to be
// had, and for a statement whose time is up.
const (
	erLockWait = 1205
	erTimeUp   = 1969
)

// freezeQueued waits for the rows, for Limits.FreezeLock at most. It fails with
// a lock wait timeout or its like, and nothing was changed.
//
// The bound is on the whole script: when a commit is slow, time may be up after
// it. The server has ended the script when it says so; what became of it stands
// in the rows.
func (r *run) freezeQueued(ctx context.Context, c *crossing) (database.GTID, error) {
	return r.freezeWithin(ctx, c, r.lockBound())
}

func (r *run) freezeWithin(ctx context.Context, c *crossing, bound string) (database.GTID, error) {
	body := transitionScript(r.move.Buckets, fence.Active, fence.Frozen, r.token)
	c.began = time.Now()
	var own string
	err := c.source.ask(ctx, bound, scriptHead+string(body.body)+"COMMIT;\n", "@@last_gtid", &own)
	if number, ok := database.ErrorNumber(err); ok && number == erTimeUp {
		return r.frozenInTime(ctx, c.source, err)
	}
	if err != nil {
		return database.GTID{}, r.whyNot(ctx, c.source, err)
	}
	return database.ParseGTID(own)
}

// whyNot tells rows that are not as the freeze starts from, which a script cannot
// tell, from a freeze that the server ended: see fence.ErrUnfinished.
func (r *run) whyNot(ctx context.Context, s *session, why error) error {
	if !errors.Is(why, fence.ErrLostRow) {
		return why
	}
	freeze := fence.Change{Buckets: r.move.Buckets, From: fence.Active, FromToken: r.token, To: fence.Frozen, ToToken: r.token}
	return freeze.Unmade(ctx, s.conn, 0)
}

// frozenInTime returns the id of the freeze if it was committed before its time
// was up, else why.
func (r *run) frozenInTime(ctx context.Context, s *session, why error) (database.GTID, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), scriptMax)
	defer cancel()
	_, want := transitionUpdate(r.move.Buckets, fence.Active, fence.Frozen, r.token)
	var own string
	var frozen int
	err := s.conn.QueryRowContext(ctx, "SELECT @@last_gtid, (SELECT COUNT(*) FROM "+fence.Table+" FORCE INDEX (PRIMARY) WHERE bucket IN ("+
		bucketList(r.move.Buckets)+") AND state = "+quoted(fence.Frozen)+" AND move_id = "+quoted(r.token.String())+")").Scan(&own, &frozen)
	switch {
	case err != nil:
		return database.GTID{}, fmt.Errorf("%w: %w; and a look at the rows: %w", database.ErrOutcomeUnknown, why, err)
	case frozen != want:
		return database.GTID{}, why
	}
	return database.ParseGTID(own)
}
