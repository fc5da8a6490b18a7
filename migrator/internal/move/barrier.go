package move

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"drover/migrator/internal/database"
)

// barrier returns a position of the source whose transactions a SELECT there
// sees, all of them.
//
// A transaction is in the binlog, and may even be applied at the target, before
// it is visible at its own server. But a server makes transactions visible in
// the order of its binlog: what precedes a transaction of our own is visible
// once our own has been answered. Hence a row that nobody reads is written.
func (r *run) barrier(ctx context.Context) (database.Position, error) {
	wrap := func(err error) error { return fmt.Errorf("note a position of %s: %w", r.from.Name(), err) }
	conn, err := r.from.DB.Conn(ctx)
	if err != nil {
		return nil, wrap(err)
	}
	defer conn.Close()
	position, err := r.from.BinlogPosition(ctx)
	if err != nil {
		return nil, wrap(err)
	}
	err = database.InTx(ctx, conn, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "REPLACE INTO drover_tail (move_id, leg, token, position, progress) VALUES (?, ?, ?, '', ?)",
			string(r.move.Record.Move), barrierLeg, r.token.String(), fmt.Sprint(time.Now().UnixNano()))
		return err
	})
	if err != nil {
		return nil, wrap(err)
	}
	own, err := database.LastGTID(ctx, conn)
	if err != nil {
		return nil, wrap(err)
	}
	position.Advance(own)
	return position, nil
}

// barrierLeg is the leg of the row that a barrier writes: no leg's own.
const barrierLeg = 0

// forget removes what a move that is over has in drover_tail.
func (r *run) forget(ctx context.Context) error {
	for _, server := range []*database.Server{r.from, r.to} {
		if _, err := server.DB.ExecContext(ctx, "DELETE FROM drover_tail WHERE move_id = ?", string(r.move.Record.Move)); err != nil {
			return fmt.Errorf("remove the tail's position on %s: %w", server.Name(), err)
		}
	}
	return nil
}
