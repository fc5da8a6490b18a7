package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/tools/internal/program"
	"drover/tools/moves/internal/field"
	"drover/tools/testservers"
)

// durable is what makes a commit survive the machine's own crash.
var durable = testservers.MariaDBOptions{Config: map[string]string{"innodb_flush_log_at_trx_commit": "1", "sync_binlog": "1"}}

// ledger is one run: servers, clients, moves, verdict.
func ledger(ctx context.Context, o options, log func(string, ...any)) (_ *result, err error) {
	log("seed %d: %d moves, %d at once, %d writers, %d buckets, round trip %s", o.seed, o.moves, o.at, o.writers, o.buckets, o.rtt)
	dir, err := os.MkdirTemp("", "drover-moves-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	migrator, err := program.Build(ctx, dir)
	if err != nil {
		return nil, err
	}
	fleet, err := testservers.New(ctx, testservers.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	servers := make([]*testservers.MariaDB, 2)
	var starts errgroup.Group
	for i, name := range []string{"alpha", "gamma"} {
		starts.Go(func() (err error) {
			servers[i], err = fleet.MariaDB(ctx, name, durable)
			return err
		})
	}
	if err := starts.Wait(); err != nil {
		return nil, err
	}
	return onServers(ctx, o, servers, field.Options{Program: migrator, Dir: dir, Database: "moves"}, log)
}

// onServers is a run on servers that are there.
func onServers(ctx context.Context, o options, servers []*testservers.MariaDB, where field.Options, log func(string, ...any)) (_ *result, err error) {
	if o.sabotage != field.None {
		where.FreezeMax = 5 * time.Second
	}
	where.Buckets, where.UsersEach, where.RoundTrip = o.buckets, usersEach, o.rtt
	f, err := field.New(ctx, servers[0], servers[1], where)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sabotage(ctx, o.sabotage); err != nil {
		return nil, err
	}
	if o.sabotage != field.NoFreeze { // its writes come while the buckets are frozen, and no others
		f.Start(ctx, field.Crowd{Writers: o.writers, Seed: o.seed, Pause: o.pause, SQL: o.sabotage != field.None})
	}
	before, err := readCPU()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	d := &driver{Field: f, options: o, commands: &timed{run: f.Migrator}, log: log}
	moveErr := d.run(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r := &result{options: o, took: time.Since(began), moves: d.done(), givenUp: int(d.givenUp.Load()), stuck: moveErr}
	after, err := readCPU()
	if err != nil {
		return nil, err
	}
	r.idle = after.idleSince(before)
	if err := f.Stop(); err != nil {
		return nil, err
	}
	r.counts = f.Book.Counts()
	r.singles, r.groups = d.stalls()
	r.commands = d.commands.times()
	judging := time.Now()
	if r.verdict, err = f.Judge(ctx); err != nil {
		return nil, fmt.Errorf("judge: %w", err)
	}
	r.judged = time.Since(judging)
	r.disagreements, err = f.Agree(ctx)
	return r, err
}

// usersEach is the users of a bucket: three who write, and the watchers'.
const usersEach = 4
