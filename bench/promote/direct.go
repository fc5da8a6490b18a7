package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/shardlib"
	"drover/tools/testservers"
)

const (
	conflictRetries = 3
	// newerMax bounds one wait for a map: a bucket may also be free again without
	// a new one, when a promotion steps back.
	newerMax = 100 * time.Millisecond
)

// direct sends writes as a job of the application does that has no request: by
// shardlib, straight to the shard.
type direct struct {
	store   *file.Store
	library *shardlib.Library
}

func (f *field) direct(ctx context.Context) (d *direct, err error) {
	d = &direct{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.store, err = file.Open(filepath.Join(f.dir, "map"), file.Options{}); err != nil {
		return d, err
	}
	shards, err := shardlib.LoadShardList(filepath.Join(f.dir, "shards.yaml"))
	if err != nil {
		return d, err
	}
	d.library, err = shardlib.Open(ctx, shardlib.Config{Source: d.store, Shards: shards, Datacenter: legacy,
		Account: shardlib.Account{User: testservers.AccountApp, Password: testservers.Password}, Retries: conflictRetries})
	return d, err
}

func (d *direct) close() (err error) {
	if d.library != nil {
		err = d.library.Close()
	}
	if d.store != nil {
		err = errors.Join(err, d.store.Close())
	}
	return err
}

// send writes a row and counts it, in one transaction. One that surely did
// nothing is made again, for as long as a request may take.
func (d *direct) send(ctx context.Context, e entry) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, answerMax)
	defer cancel()
	for {
		version := d.library.MapVersion()
		err := d.write(ctx, e)
		switch {
		case err == nil:
			return acknowledged, nil
		case errors.Is(err, shardlib.ErrOutcomeUnknown):
			return unknown, err
		case ctx.Err() != nil || !errors.Is(err, shardlib.ErrNotHome) && !errors.Is(err, shardlib.ErrInterrupted):
			return refused, err
		}
		newer, stop := context.WithTimeout(ctx, newerMax)
		_ = d.library.AtLeast(newer, version+1) // it is tried again in any case
		stop()
	}
}

func (d *direct) write(ctx context.Context, e entry) error {
	id := []byte(userID(e.user))
	return d.library.Update(ctx, bucketmap.UserID(id), func(ctx context.Context, tx *shardlib.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO request (user_id, request_id, day, steps, total) VALUES (?, ?, ?, 1, ?)",
			id, requestID(e.number), day, e.number); err != nil {
			return fmt.Errorf("write the row: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO steps (bucket, user_id, day, steps, requests) VALUES (?, ?, ?, 1, 1) "+
			"ON DUPLICATE KEY UPDATE steps = steps + 1, requests = requests + 1", uint32(tx.Home().Bucket), id, day); err != nil {
			return fmt.Errorf("count it: %w", err)
		}
		return nil
	})
}
