// Package fitness is the sample application: it counts users' steps.
//
// A request to add steps is served so: (1) the user is taken from the headers;
// (2) the map is waited for, if the proxy's is newer; (3) in one transaction on
// the user's home shard, the steps are added to the day, the request's id is
// written, which a second time fails, and the profile is brought up to date;
// (4) the answer tells the day's total after it.
//
// It never adds the steps of one request id twice, and never answers 421 when
// it has done anything. Handlers may be called concurrently.
package fitness

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
	"drover/internal/pause"
)

// Request adds steps to a day.
type Request struct {
	ID    string `json:"request_id"`
	Day   string `json:"day"` // YYYY-MM-DD
	Steps int64  `json:"steps"`
	// Think is how long the transaction stays open after its writes.
	Think time.Duration `json:"-"`
}

// Added answers a Request.
type Added struct {
	Total     int64 `json:"total"` // of the day, after the request
	Duplicate bool  `json:"duplicate,omitempty"`
	Place
}

// Place is who served a request, and from where.
type Place struct {
	Instance   string               `json:"instance"`
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Shard      bucketmap.ShardName  `json:"shard"`
}

// Day is a user's day.
type Day struct {
	Day      string `json:"day"`
	Steps    int64  `json:"steps"`
	Requests int64  `json:"requests"` // how many were applied
}

// Profile is a user's profile.
type Profile struct {
	User          string `json:"user"`
	Name          string `json:"name"`
	LifetimeSteps int64  `json:"lifetime_steps"`
	Updates       int64  `json:"updates"`
}

// ProfileKey is the cache key of a user's profile.
const ProfileKey = "profile"

// Querier runs statements in a transaction, or outside of one.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// ErrDuplicate says that the request was applied before. Its transaction must
// be rolled back.
var ErrDuplicate = errors.New("the request was applied before")

// numberDuplicate is the server's error for a key that is there already.
const numberDuplicate = 1062

// Add writes what a request asks for and returns the day's total. Writers of
// one user's day wait for one another at the first statement, so the row of the
// day counts exactly the requests that are in the other table.
func Add(ctx context.Context, q Querier, user bucketmap.UserID, bucket bucketmap.BucketID, r Request) (total int64, err error) {
	id := []byte(user) // as bytes: any id is fit for the connection's character set
	if _, err = q.ExecContext(ctx, "INSERT INTO steps (bucket, user_id, day, steps, requests) VALUES (?, ?, ?, ?, 1) "+
		"ON DUPLICATE KEY UPDATE steps = steps + VALUES(steps), requests = requests + 1",
		uint32(bucket), id, r.Day, r.Steps); err != nil {
		return 0, fmt.Errorf("add steps: %w", err)
	}
	// Not FOR UPDATE: the statement before locked the row, and its own change
	// is the newest that there can be.
	if err = q.QueryRowContext(ctx, "SELECT steps FROM steps WHERE user_id = ? AND day = ?", id, r.Day).Scan(&total); err != nil {
		return 0, fmt.Errorf("read the total: %w", err)
	}
	if _, err = q.ExecContext(ctx, "INSERT INTO request (user_id, request_id, day, steps, total) VALUES (?, ?, ?, ?, ?)",
		id, []byte(r.ID), r.Day, r.Steps, total); err != nil {
		var server *mysql.MySQLError
		if errors.As(err, &server) && server.Number == numberDuplicate {
			return 0, ErrDuplicate
		}
		return 0, fmt.Errorf("write the request: %w", err)
	}
	if _, err = q.ExecContext(ctx, "INSERT INTO profile (user_id, name, lifetime_steps, updates) VALUES (?, '', ?, 1) "+
		"ON DUPLICATE KEY UPDATE lifetime_steps = lifetime_steps + VALUES(lifetime_steps), updates = updates + 1",
		id, r.Steps); err != nil {
		return 0, fmt.Errorf("update the profile: %w", err)
	}
	return total, pause.For(ctx, r.Think)
}

// TotalOf returns the total with which a request was answered.
func TotalOf(ctx context.Context, q Querier, user bucketmap.UserID, request string) (total int64, err error) {
	err = q.QueryRowContext(ctx, "SELECT total FROM request WHERE user_id = ? AND request_id = ?",
		[]byte(user), []byte(request)).Scan(&total)
	if err != nil {
		return 0, fmt.Errorf("read the request: %w", err)
	}
	return total, nil
}

// ReadDay reads a day; one without steps is all zero.
func ReadDay(ctx context.Context, q Querier, user bucketmap.UserID, day string) (Day, error) {
	d := Day{Day: day}
	err := q.QueryRowContext(ctx, "SELECT steps, requests FROM steps WHERE user_id = ? AND day = ?",
		[]byte(user), day).Scan(&d.Steps, &d.Requests)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Day{}, fmt.Errorf("read the day: %w", err)
	}
	return d, nil
}

// ReadProfile reads a profile; a user without one has no name and no steps.
func ReadProfile(ctx context.Context, q Querier, user bucketmap.UserID) (Profile, error) {
	p := Profile{User: user.String()}
	err := q.QueryRowContext(ctx, "SELECT name, lifetime_steps, updates FROM profile WHERE user_id = ?",
		[]byte(user)).Scan(&p.Name, &p.LifetimeSteps, &p.Updates)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Profile{}, fmt.Errorf("read the profile: %w", err)
	}
	return p, nil
}
