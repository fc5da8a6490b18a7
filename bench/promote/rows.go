package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/tools/testservers"
)

// replicaMaxSeconds bounds the wait for the replica at the end.
const replicaMaxSeconds = 60

// home is the datacenter of the primary, by the map.
func (f *field) home(ctx context.Context) (dc bucketmap.Datacenter, err error) {
	store, err := file.Open(filepath.Join(f.dir, "map"), file.Options{})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	snap, err := store.Load(ctx)
	if err != nil {
		return "", err
	}
	s, ok := snap.Shard(shard)
	if !ok {
		return "", fmt.Errorf("the map has no shard %s", shard)
	}
	return s.Datacenter, nil
}

// on calls do with a pool of connections to a server, by an account that reads
// whatever the fence says.
func (f *field) on(dc bucketmap.Datacenter, do func(*sql.DB) error) (err error) {
	db, err := f.servers[dc].Open(testservers.AccountRoot, databaseName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(db)
}

// catchUp waits until the replica has what its primary has.
func (f *field) catchUp(ctx context.Context, primary, replica bucketmap.Datacenter) error {
	var position string
	if err := f.on(primary, func(db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT @@gtid_binlog_pos").Scan(&position)
	}); err != nil {
		return err
	}
	var late int
	if err := f.on(replica, func(db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT MASTER_GTID_WAIT(?, ?)", position, replicaMaxSeconds).Scan(&late)
	}); err != nil {
		return err
	}
	if late != 0 {
		return fmt.Errorf("the replica in %s has not caught up with %s within %d s; look at its SHOW SLAVE STATUS", replica, position, replicaMaxSeconds)
	}
	return nil
}

// books reads what a server has of every user.
func (f *field) books(ctx context.Context, dc bucketmap.Datacenter) (map[string]*book, error) {
	books := map[string]*book{}
	of := func(user string) *book {
		b := books[user]
		if b == nil {
			b = &book{requests: map[string]uint32{}}
			books[user] = b
		}
		return b
	}
	var user, request string
	var server uint32
	var steps, writes int
	each := func(db *sql.DB, take func(*book), query string, targets ...any) error {
		rows, err := db.QueryContext(ctx, query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := rows.Scan(append([]any{&user}, targets...)...); err != nil {
				return err
			}
			take(of(user))
		}
		return rows.Err()
	}
	count := func(first int) func(*book) {
		return func(b *book) {
			b.sums[first] += steps
			b.sums[first+1] += writes
		}
	}
	err := f.on(dc, func(db *sql.DB) error {
		return errors.Join(
			each(db, func(b *book) { b.requests[request] = server }, "SELECT user_id, request_id, server FROM request", &request, &server),
			each(db, count(0), "SELECT user_id, steps, requests FROM steps", &steps, &writes),
			each(db, count(2), "SELECT user_id, lifetime_steps, updates FROM profile", &steps, &writes))
	})
	return books, err
}
