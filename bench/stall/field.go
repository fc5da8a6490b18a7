package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/shardlib"
	"drover/shardlib/fence"
	"drover/tools/relay"
	"drover/tools/sources"
	"drover/tools/testservers"
)

const (
	legacy = bucketmap.Datacenter("legacy")
	cloud  = bucketmap.Datacenter("cloud")

	databaseName = "stall"
	// refusedWait is how long a refused write waits for a newer map.
	refusedWait = 5 * time.Second
)

// durable is what makes a commit survive the machine's own crash.
var durable = testservers.MariaDBOptions{Config: map[string]string{"innodb_flush_log_at_trx_commit": "1", "sync_binlog": "1"}}

// field is the servers, the relays, the map, and what is told to the programs.
type field struct {
	dir     string
	fleet   *testservers.Fleet
	servers map[bucketmap.ShardName]*testservers.MariaDB
	relays  []*relay.Relay
	lists   map[bucketmap.Datacenter]shardlib.ShardList // as seen from there
	stores  []*file.Store
	libs    map[bucketmap.Datacenter]*shardlib.Library
	program string

	bucketCount uint32
	sharded     []fence.Sharded
}

func newField(ctx context.Context, o options) (f *field, err error) {
	f = &field{servers: map[bucketmap.ShardName]*testservers.MariaDB{}, lists: map[bucketmap.Datacenter]shardlib.ShardList{},
		libs: map[bucketmap.Datacenter]*shardlib.Library{}, bucketCount: o.buckets, sharded: o.sharded}
	if f.sharded == nil {
		f.sharded = []fence.Sharded{{Name: "request", BucketColumn: "bucket"}, {Name: "steps", BucketColumn: "bucket"}}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if f.dir, err = os.MkdirTemp("", "drover-stall-"); err != nil {
		return f, err
	}
	if f.program = o.migrator; f.program == "" {
		if f.program, err = sources.Program(ctx, f.dir, "migrator"); err != nil {
			return f, err
		}
	}
	if f.fleet, err = testservers.New(ctx, testservers.Options{}); err != nil {
		return f, err
	}
	for _, name := range []string{"alpha", "gamma"} {
		if f.servers[bucketmap.ShardName(name)], err = f.fleet.MariaDB(ctx, name, durable); err != nil {
			return f, err
		}
	}
	if err := f.connect(ctx, o.rtt); err != nil {
		return f, err
	}
	if err := f.tables(ctx, o); err != nil {
		return f, err
	}
	return f, f.applications(ctx)
}

// connect makes the shard lists of the two datacenters.
func (f *field) connect(ctx context.Context, rtt time.Duration) error {
	address := func(shard bucketmap.ShardName, here bool) (string, error) {
		addr := f.servers[shard].Addr()
		if here || rtt == 0 {
			return addr, nil
		}
		r, err := relay.Start(ctx, func() string { return addr }, rtt)
		if err != nil {
			return "", err
		}
		f.relays = append(f.relays, r)
		return r.Addr(), nil
	}
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		alpha, err := address("alpha", dc == legacy)
		if err != nil {
			return err
		}
		gamma, err := address("gamma", dc == cloud)
		if err != nil {
			return err
		}
		f.lists[dc] = shardlib.ShardList{Database: databaseName, Shards: map[bucketmap.ShardName]map[bucketmap.Datacenter]string{
			"alpha": {legacy: alpha}, "gamma": {cloud: gamma}}}
	}
	list := f.lists[legacy].Shards
	shards := fmt.Sprintf("database: %s\nshards:\n  alpha: {legacy: %q}\n  gamma: {cloud: %q}\n", databaseName, list["alpha"][legacy], list["gamma"][cloud])
	config := fmt.Sprintf("map: {store: file, dir: map, max_change: 0}\nshards: shards.yaml\naccount: {user: %s, password: %s}\n"+
		"tables:\n", testservers.AccountDrover, testservers.Password)
	for _, t := range f.sharded {
		key, column := "bucket_column", t.BucketColumn
		if column == "" {
			key, column = "user_column", t.UserColumn
		}
		config += fmt.Sprintf("  - {name: %s, %s: %s}\n", t.Name, key, column)
	}
	return errors.Join(os.WriteFile(filepath.Join(f.dir, "shards.yaml"), []byte(shards), 0o600),
		os.WriteFile(filepath.Join(f.dir, "migrator.yaml"), []byte(config), 0o600))
}

func (f *field) tables(ctx context.Context, o options) error {
	if o.tables == nil {
		o.tables = func(ctx context.Context, server *testservers.MariaDB) error {
			return writersTables(ctx, server, o.buckets)
		}
	}
	for _, server := range f.servers {
		if err := o.tables(ctx, server); err != nil {
			return err
		}
	}
	buckets := o.buckets
	_, err := f.migrator(ctx, "init", "--buckets", fmt.Sprint(buckets), "--shard", "alpha=legacy", "--shard", "gamma=cloud",
		"--home", fmt.Sprintf("alpha=0-%d", buckets-1), "--source", string(legacy), "--target", string(cloud))
	return err
}

// writersTables are what the writers write to.
func writersTables(ctx context.Context, server *testservers.MariaDB, buckets uint32) error {
	return server.Exec(ctx, "CREATE DATABASE "+databaseName, "USE "+databaseName,
		fmt.Sprintf(`CREATE TABLE request (user_id VARBINARY(64) NOT NULL, id BIGINT UNSIGNED NOT NULL,
		bucket INT UNSIGNED AS (CRC32(user_id) %% %d) STORED, PRIMARY KEY (user_id, id), KEY (bucket))`, buckets),
		fmt.Sprintf(`CREATE TABLE steps (user_id VARBINARY(64) NOT NULL PRIMARY KEY, steps BIGINT NOT NULL,
		bucket INT UNSIGNED AS (CRC32(user_id) %% %d) STORED, KEY (bucket))`, buckets))
}

// applications opens one library a datacenter.
func (f *field) applications(ctx context.Context) error {
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		store, err := file.Open(filepath.Join(f.dir, "map"), file.Options{})
		if err != nil {
			return err
		}
		f.stores = append(f.stores, store)
		if f.libs[dc], err = shardlib.Open(ctx, shardlib.Config{Source: store, Shards: f.lists[dc], Datacenter: dc,
			Account: shardlib.Account{User: testservers.AccountApp, Password: testservers.Password}}); err != nil {
			return err
		}
	}
	return nil
}

func (f *field) close() error {
	var errs []error
	for _, lib := range f.libs {
		errs = append(errs, lib.Close())
	}
	for _, store := range f.stores {
		errs = append(errs, store.Close())
	}
	for _, r := range f.relays {
		errs = append(errs, r.Close())
	}
	if f.fleet != nil {
		errs = append(errs, f.fleet.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(f.dir))...)
}
