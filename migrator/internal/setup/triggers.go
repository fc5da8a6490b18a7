package setup

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

const (
	// triggerStatement bounds one CREATE or DROP TRIGGER. It wants the table for
	// itself, so while it waits for an open transaction, every new statement on
	// the table waits behind it: this is the longest that a user may notice.
	triggerStatement = 100 * time.Millisecond
	// The pauses between two tries, in which the table is free: they begin a
	// little longer than the try and grow, for a transaction that is open still
	// after a few tries will be for some time.
	triggerPause    = 150 * time.Millisecond
	triggerPauseMax = 5 * time.Second
)

// Triggers installs and removes the fence's triggers on one server.
type Triggers struct {
	Server  *database.Server
	Buckets uint32
	// Account is the user name that passes the fence.
	Account string
	// Patience bounds how long a statement is tried again while transactions
	// have the table.
	Patience time.Duration
}

// Install puts the three triggers on a table, in the place of earlier ones.
func (t Triggers) Install(ctx context.Context, table fence.Sharded) error {
	statements, err := fence.InstallStatements(table, t.Buckets, t.Account)
	if err != nil {
		return err
	}
	return t.patiently(ctx, table.Name, "install", func(conn *sql.Conn) []func() error {
		var steps []func() error
		for _, s := range statements {
			steps = append(steps, func() error {
				_, err := conn.ExecContext(ctx, s)
				return err
			})
		}
		return steps
	})
}

// Remove takes them off.
func (t Triggers) Remove(ctx context.Context, table fence.Sharded) error {
	return t.patiently(ctx, table.Name, "remove", func(conn *sql.Conn) []func() error {
		return []func() error{func() error { return fence.Remove(ctx, conn, table.Name) }}
	})
}

// Installed returns how many of a table's three triggers are there.
func (t Triggers) Installed(ctx context.Context, table fence.Sharded) (int, error) {
	n, err := fence.Installed(ctx, t.Server.DB, table.Name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.Server.Name(), err)
	}
	return n, nil
}

// patiently takes steps on a connection of their own, each bounded, and each
// tried again while the table's lock is not to be had.
func (t Triggers) patiently(ctx context.Context, table, what string, steps func(*sql.Conn) []func() error) error {
	wrap := func(err error) error {
		return fmt.Errorf("%s: %s the fence on table %s: %w", t.Server.Name(), what, table, err)
	}
	conn, err := t.Server.DB.Conn(ctx)
	if err != nil {
		return wrap(err)
	}
	defer func() {
		// The bounds go with the connection, so the connection must go.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = conn.Close()
	}()
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("SET SESSION max_statement_time = %d.%03d",
		triggerStatement/time.Second, triggerStatement%time.Second/time.Millisecond)); err != nil {
		return wrap(err)
	}
	for _, step := range steps(conn) {
		if err := t.try(ctx, step); err != nil {
			if cutShort(err) {
				err = fmt.Errorf("transactions have the table, for %s now: end the oldest "+
					"(SELECT * FROM information_schema.INNODB_TRX ORDER BY trx_started), or try at a quieter time: %w", t.Patience, err)
			}
			return wrap(err)
		}
	}
	return nil
}

func (t Triggers) try(ctx context.Context, step func() error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = triggerPause, triggerPauseMax
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := step()
		if err != nil && !cutShort(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(t.Patience))
	return err
}

// erParse is a statement that cannot be parsed.
const erParse = 1064

// cutShort says whether the bound ended the statement. When it does so while the
// server parses the triggers that the table has, the error is not that of a
// timeout: "Trigger '...' has an error in its body: 'Query was empty'".
func cutShort(err error) bool {
	number, ok := database.ErrorNumber(err)
	return database.TimedOut(err) || ok && number == erParse && strings.Contains(err.Error(), "Query was empty")
}
