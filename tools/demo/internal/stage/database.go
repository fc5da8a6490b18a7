package stage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/tools/sampleapp/schema"
	"drover/tools/testservers"
)

// replicaWaitSeconds bounds the wait for the replica: it has a second's worth
// of work.
const replicaWaitSeconds = 60

// prepareDatabases does the steps that come before the applications.
func (s *Stage) prepareDatabases(ctx context.Context) (err error) {
	s.options.Log("making the schema, the first map and %d users", s.options.Users)
	if err := s.servers[delta].ReplicateFrom(ctx, s.servers[beta]); err != nil {
		return err
	}
	statements := append([]string{"CREATE DATABASE " + database, "USE " + database}, schema.Statements(s.options.Buckets)...)
	for _, name := range []string{alpha, beta, gamma} {
		if err := s.servers[name].Exec(ctx, statements...); err != nil {
			return err
		}
	}
	if err := errors.Join(s.writeShardList(), s.writeMigratorConfig()); err != nil {
		return err
	}
	if s.store, err = file.Open(s.path(mapFolder), file.Options{}); err != nil {
		return err
	}
	if err := s.firstMap(ctx); err != nil {
		return err
	}
	if err := s.seed(ctx); err != nil {
		return err
	}
	if s.options.Fence != FenceOff {
		if _, err := s.Migrator(ctx, "fence", "install"); err != nil {
			return err
		}
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	return s.check(ctx)
}

// firstMap gives alpha and beta all buckets, in legacy, and gamma none, in the
// cloud.
func (s *Stage) firstMap(ctx context.Context) error {
	last := s.options.Buckets - 1
	split := min(max(uint32(s.options.AlphaShare*float64(s.options.Buckets)), 1), last) // beta's first
	_, err := s.Migrator(ctx, "init", "--buckets", fmt.Sprint(s.options.Buckets),
		"--shard", fmt.Sprintf("%s=%s", Alpha, Source), "--shard", fmt.Sprintf("%s=%s", Beta, Source),
		"--shard", fmt.Sprintf("%s=%s", Gamma, Target),
		"--home", fmt.Sprintf("%s=0-%d", Alpha, split-1), "--home", fmt.Sprintf("%s=%d-%d", Beta, split, last),
		"--source", string(Source), "--target", string(Target), "--why", "the demo begins")
	return err
}

// seed loads every user's profile at the user's home.
func (s *Stage) seed(ctx context.Context) error {
	snap, err := s.Map(ctx)
	if err != nil {
		return err
	}
	for _, shard := range snap.Shards() {
		db, err := s.servers[string(shard.Name)].Open(testservers.AccountDrover, database)
		if err != nil {
			return err
		}
		err = schema.Seed(ctx, db, schema.Users(snap, shard.Name, s.options.Users))
		if err = errors.Join(err, db.Close()); err != nil {
			return fmt.Errorf("load the users of %s: %w", shard.Name, err)
		}
	}
	return nil
}

// catchUp waits until the replica has what its primary has.
func (s *Stage) catchUp(ctx context.Context) (err error) {
	primary, err := s.servers[beta].Open(testservers.AccountRoot, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, primary.Close()) }()
	replica, err := s.servers[delta].Open(testservers.AccountRoot, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, replica.Close()) }()
	var position string
	if err := primary.QueryRowContext(ctx, "SELECT @@gtid_binlog_pos").Scan(&position); err != nil {
		return err
	}
	var failed int
	if err := replica.QueryRowContext(ctx, "SELECT MASTER_GTID_WAIT(?, ?)", position, replicaWaitSeconds).Scan(&failed); err != nil {
		return err
	}
	if failed != 0 {
		return fmt.Errorf("the replica of %s did not catch up with %s within %d s", Beta, strings.TrimSpace(position), replicaWaitSeconds)
	}
	return nil
}

// server returns the primary of a shard by the map.
func (s *Stage) server(shard bucketmap.Shard) *testservers.MariaDB {
	if shard.Name == Beta && shard.Datacenter == Target {
		return s.servers[delta]
	}
	return s.servers[string(shard.Name)]
}
