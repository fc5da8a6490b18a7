package book

import (
	"context"
	"database/sql"
	"errors"

	"github.com/go-sql-driver/mysql"
)

// Commit commits, and says what is known after it.
func Commit(tx *sql.Tx) (Outcome, error) {
	err := tx.Commit()
	if err == nil {
		return Acknowledged, nil
	}
	refused, answered := errors.AsType[*mysql.MySQLError](err)
	// The server ended the connection: before the commit, or after it.
	const shutdown, interrupted, killed = 1053, 1317, 1927
	if !answered || refused.Number == shutdown || refused.Number == interrupted || refused.Number == killed {
		return Unknown, err
	}
	return Refused, err
}

// Each calls note with each row of a query: a user, and two numbers.
func Each(ctx context.Context, db *sql.DB, query string, note func(user string, a, b uint64)) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var user string
		var a, b uint64
		if err := rows.Scan(&user, &a, &b); err != nil {
			return err
		}
		note(user, a, b)
	}
	return rows.Err()
}
