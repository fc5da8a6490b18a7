package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bench/internal/events"
	"drover/bench/internal/process"
	"drover/bucketmap"
	"drover/tools/sampleapp/schema"
	"drover/tools/sources"
	"drover/tools/testservers"
)

const (
	legacy = bucketmap.Datacenter("legacy")
	cloud  = bucketmap.Datacenter("cloud")
	shard  = bucketmap.ShardName("alpha")

	databaseName = "app"
	bucketCount  = 256
	// interruptMax is how long a migrator may take to undo what it began.
	interruptMax = 20 * time.Second
)

// durable is what makes a commit survive the machine's own crash. The replica
// applies in parallel what the primary committed together: commits that reach the
// disk one by one are fewer a second than those that its writers make. Not
// optimistic: what it tries in vain costs processor time that is needed here.
var durable = testservers.MariaDBOptions{Config: map[string]string{
	"innodb_flush_log_at_trx_commit": "1", "sync_binlog": "1",
	"slave_parallel_threads": "4", "slave_parallel_mode": "conservative",
}}

// field is the servers and the programs.
type field struct {
	dir, bin string
	fleet    *testservers.Fleet
	servers  map[bucketmap.Datacenter]*testservers.MariaDB
	apps     map[bucketmap.Datacenter]*process.Process
	proxy    *process.Process
}

func newField(ctx context.Context, o options) (f *field, err error) {
	f = &field{servers: map[bucketmap.Datacenter]*testservers.MariaDB{}, apps: map[bucketmap.Datacenter]*process.Process{}, bin: o.bin}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if f.dir, err = os.MkdirTemp("", "drover-promote-"); err != nil {
		return f, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	if f.bin == "" {
		f.bin = filepath.Join(f.dir, "bin")
		group.Go(func() error { return sources.Build(groupCtx, f.bin, "migrator", "proxy", "tools/sampleapp") })
	}
	group.Go(func() error { return f.database(groupCtx) })
	if err := group.Wait(); err != nil {
		return f, err
	}
	if err := f.configure(); err != nil {
		return f, err
	}
	// init makes the fence and the journal; both come over by replication.
	if _, err := f.migrator(ctx, "init", "--buckets", fmt.Sprint(bucketCount), "--shard", fmt.Sprintf("%s=%s", shard, legacy),
		"--home", fmt.Sprintf("%s=0-%d", shard, bucketCount-1), "--source", string(legacy), "--target", string(cloud)); err != nil {
		return f, err
	}
	return f, f.start(ctx)
}

// database starts the primary and its replica, with the application's tables.
func (f *field) database(ctx context.Context) (err error) {
	if f.fleet, err = testservers.New(ctx, testservers.Options{}); err != nil {
		return err
	}
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		if f.servers[dc], err = f.fleet.MariaDB(ctx, string(dc), durable); err != nil {
			return err
		}
	}
	if err := f.servers[cloud].ReplicateFrom(ctx, f.servers[legacy]); err != nil {
		return err
	}
	statements := append([]string{"CREATE DATABASE " + databaseName, "USE " + databaseName}, schema.Statements(bucketCount)...)
	// By row events, so the replica has the primary's value.
	statements = append(statements, "ALTER TABLE request ADD COLUMN server INT UNSIGNED NOT NULL DEFAULT (@@server_id)")
	return f.servers[legacy].Exec(ctx, statements...)
}

func (f *field) configure() error {
	list := fmt.Sprintf("database: %s\nshards:\n  %s: {%s: %q, %s: %q}\n", databaseName, shard,
		legacy, f.servers[legacy].Addr(), cloud, f.servers[cloud].Addr())
	config := fmt.Sprintf("map: {store: file, dir: map, max_change: 0}\nshards: shards.yaml\naccount: {user: %s, password: %s}\n"+
		"replication: {user: %s, password: %s}\ntables:\n",
		testservers.AccountDrover, testservers.Password, testservers.AccountReplica, testservers.Password)
	for _, t := range schema.Tables() {
		if t.BucketColumn != "" {
			config += fmt.Sprintf("  - {name: %s, bucket_column: %s}\n", t.Name, t.BucketColumn)
		} else {
			config += fmt.Sprintf("  - {name: %s, user_column: %s}\n", t.Name, t.UserColumn)
		}
	}
	return errors.Join(os.WriteFile(filepath.Join(f.dir, "shards.yaml"), []byte(list), 0o600),
		os.WriteFile(filepath.Join(f.dir, "migrator.yaml"), []byte(config), 0o600))
}

// start starts the applications, and the proxy before them.
func (f *field) start(ctx context.Context) (err error) {
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		if f.apps[dc], err = process.Start(ctx, filepath.Join(f.bin, "sampleapp"), "--listen", "127.0.0.1:0", "--datacenter", string(dc),
			"--map-dir", filepath.Join(f.dir, "map"), "--shards", filepath.Join(f.dir, "shards.yaml"),
			"--user", testservers.AccountApp, "--password", testservers.Password); err != nil {
			return err
		}
	}
	path := filepath.Join(f.dir, "proxy.yaml")
	text := process.EdgeConfig("edge", fmt.Sprintf("store: file, dir: %q, max_change: 0", filepath.Join(f.dir, "map")),
		f.apps[legacy].Address, f.apps[cloud].Address)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	f.proxy, err = process.Start(ctx, filepath.Join(f.bin, "proxy"), "run", "--config", path)
	return err
}

// ends are where the n-th promotion begins and ends.
func (f *field) ends(n int) (from, to bucketmap.Datacenter) {
	if n%2 == 0 {
		return legacy, cloud
	}
	return cloud, legacy
}

// migrator runs the program and returns its events.
func (f *field) migrator(ctx context.Context, args ...string) ([]events.Event, error) {
	args = append([]string{"--config", filepath.Join(f.dir, "migrator.yaml"), "--output", "json"}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(f.bin, "migrator"), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = interruptMax
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("migrator %s: %w\n%s%s", strings.Join(args[4:], " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return events.Parse(stderr.Bytes()), nil
}

// close ends the proxy first: it has requests of the applications'.
func (f *field) close() error {
	var errs []error
	for _, p := range []*process.Process{f.proxy, f.apps[legacy], f.apps[cloud]} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	if f.fleet != nil {
		errs = append(errs, f.fleet.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(f.dir))...)
}
