package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// errRowsDiffer says that the source's rows are not what the target has, by
// their checksums alone. Nothing was changed.
var errRowsDiffer = errors.New("rows at the source are not those at the target")

// commitPoint changes frozen to moved at the source. Before it the move can be
// given up, after it only finished.
//
// In the same transaction, and before, it compares the source's rows with what
// the target has, see crossing.checks. The freeze has been answered, so a read
// that begins now sees every write to the buckets. It is a plain read, and waits
// for nobody. And it writes from where the reverse tail will read: the target's
// position now, before anybody else may write the buckets there.
func (r *run) commitPoint(ctx context.Context, c *crossing) error {
	r.crash("before_commit", Freezing)
	_, err := c.source.run(ctx, r.commitScript(c))
	r.crash("after_commit", Freezing)
	if number, ok := database.ErrorNumber(err); ok && number == rowsDifferNumber {
		return errRowsDiffer
	}
	if err != nil {
		return fmt.Errorf("commit point on %s: %w", r.from.Name(), err)
	}
	return nil
}

func (r *run) commitScript(c *crossing) script {
	s := checkScript(c.checks)
	s.body = append(s.body, transitionScript(r.move.Buckets, fence.Frozen, fence.Moved, r.token).body...)
	s.add("REPLACE INTO drover_tail (move_id, leg, token, position, progress) VALUES (", quoted(r.move.Record.Move), ",",
		strconv.Itoa(r.move.Leg+1), ",", quoted(r.token.String()), ",", quoted(c.position.String()), ",'{}')")
	return s
}

// checkScript fails unless every checksum is what it should be. A variable of
// the session has the answer: one of the script's own would hide a column of the
// same name.
func checkScript(checks []check) script {
	var s script
	if len(checks) == 0 {
		return s
	}
	words := []string{"SELECT "}
	for i, c := range checks {
		if i != 0 {
			words = append(words, " AND ")
		}
		words = append(words, c.expr, "=", quoted(c.want))
	}
	s.add(append(words, " INTO @drover_same")...)
	s.add("IF @drover_same IS NOT TRUE THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = ", strconv.Itoa(rowsDifferNumber),
		", MESSAGE_TEXT = 'rows are not those of the other end'; END IF")
	return s
}

// switching makes the buckets active at the target, for a move that was
// interrupted past the commit point. It may be entered again.
func (r *run) switching(ctx context.Context) (State, error) {
	r.stopTail() // it has applied the freeze, so there is nothing left for it
	r.crash("before_activate", Switching)
	if err := r.activateOnce(ctx); err != nil {
		return "", fmt.Errorf("activate on %s: %w", r.to.Name(), err)
	}
	r.crash("after_activate", Switching)
	return Publishing, nil
}

// activateOnce makes the target's rows active if they are not.
func (r *run) activateOnce(ctx context.Context) error {
	rows, err := fence.Rows(ctx, r.to.DB, r.move.Buckets)
	if err != nil {
		return err
	}
	active := 0
	for _, row := range rows {
		if row.State == fence.Active && row.Token == r.token {
			active++
		}
	}
	if active == len(r.move.Buckets) {
		return nil
	}
	return database.InTx(ctx, r.to.DB, func(tx *sql.Tx) error {
		return fence.Transition(ctx, tx, fence.Change{
			Buckets: r.move.Buckets, From: fence.Incoming, FromToken: r.token, To: fence.Active, ToToken: r.token})
	})
}
