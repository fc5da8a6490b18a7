package shardlib_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"drover/bucketmap"
	"drover/shardlib"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// An application counts a user's visits and shows them by way of the cache. The
// map and the servers are made here; an application has them already.
func Example() {
	ctx := context.Background()
	fleet, err := testservers.New(ctx, testservers.Options{})
	check(err)
	defer func() { check(fleet.Close()) }()
	source, shards := prepare(ctx, fleet)

	library, err := shardlib.Open(ctx, shardlib.Config{
		Source:     source,
		Shards:     shards,
		Datacenter: "legacy",
		Account:    shardlib.Account{User: testservers.AccountApp, Password: testservers.Password},
	})
	check(err)
	defer func() { check(library.Close()) }()

	const user bucketmap.UserID = "alice"
	for range 3 {
		err = library.Update(ctx, user, func(ctx context.Context, tx *shardlib.Tx) error {
			tx.Invalidate("visits")
			_, err := tx.ExecContext(ctx,
				"INSERT INTO visits (user_id, n) VALUES (?, 1) ON DUPLICATE KEY UPDATE n = n + 1", []byte(user))
			return err
		})
		check(err)
	}
	visits, err := library.Cached(ctx, user, "visits", time.Minute, func(ctx context.Context, tx *shardlib.Tx) ([]byte, error) {
		var n int
		err := tx.QueryRowContext(ctx, "SELECT n FROM visits WHERE user_id = ?", []byte(user)).Scan(&n)
		return fmt.Append(nil, n), err
	})
	check(err)
	fmt.Printf("%s visits\n", visits)

	// A client that got no answer sends its request again.
	for range 2 {
		result, err := library.Once(ctx, user, "request-1", func(ctx context.Context, tx *shardlib.Tx) ([]byte, error) {
			tx.Invalidate("visits")
			_, err := tx.ExecContext(ctx, "UPDATE visits SET n = n + 10 WHERE user_id = ?", []byte(user))
			return []byte("done"), err
		})
		check(err)
		fmt.Printf("%s\n", result)
	}
	err = library.View(ctx, user, func(ctx context.Context, tx *shardlib.Tx) error {
		var n int
		err := tx.QueryRowContext(ctx, "SELECT n FROM visits WHERE user_id = ?", []byte(user)).Scan(&n)
		fmt.Printf("%d visits\n", n)
		return err
	})
	check(err)
	_, err = library.Cached(ctx, "nobody", "visits", time.Minute, func(ctx context.Context, tx *shardlib.Tx) ([]byte, error) {
		var n int
		err := tx.QueryRowContext(ctx, "SELECT n FROM visits WHERE user_id = 'nobody'").Scan(&n)
		return fmt.Append(nil, n), err
	})
	fmt.Println(errors.Is(err, shardlib.ErrNoValue)) // and that is cached

	freeze(ctx, user)
	err = library.Update(ctx, user, func(context.Context, *shardlib.Tx) error { panic("not called") })
	var where *shardlib.NotHomeError
	if errors.As(err, &where) {
		fmt.Printf("421: bucket %d is %s, map %d\n", where.Bucket, where.State, where.MapVersion)
	}
	// Output:
	// 3 visits
	// done
	// done
	// 13 visits
	// true
	// 421: bucket 7 is frozen, map 1
}

var alpha *testservers.MariaDB // the example's one shard

// prepare starts a shard and a memcached, and makes a map in which every bucket
// is on the shard.
func prepare(ctx context.Context, fleet *testservers.Fleet) (bucketmap.Source, shardlib.ShardList) {
	var err error
	alpha, err = fleet.MariaDB(ctx, "alpha", testservers.MariaDBOptions{})
	check(err)
	cache, err := fleet.Memcached(ctx, "cache")
	check(err)
	check(alpha.Exec(ctx, "CREATE DATABASE app", "CREATE TABLE app.visits (user_id VARBINARY(256) PRIMARY KEY, n INT)",
		"USE app", shardlib.CreateOnceTable))
	db, err := alpha.Open(testservers.AccountRoot, "app")
	check(err)
	defer db.Close()
	check(fence.Create(ctx, db))
	check(fence.Activate(ctx, db, 0, 15))

	shards, err := shardlib.ParseShardList(fmt.Appendf(nil,
		"database: app\nshards:\n  alpha: {legacy: %q}\ncaches:\n  legacy: [%q]\n", alpha.Addr(), cache.Addr()))
	check(err)
	draft := bucketmap.NewDraft(16)
	draft.Default.Datacenter = "legacy"
	check(draft.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	check(draft.SetHome(0, 15, "alpha"))
	snapshot, err := draft.Snapshot()
	check(err)
	return fixed{snapshot}, shards
}

// freeze does what the migrator does for a moment.
func freeze(ctx context.Context, user bucketmap.UserID) {
	db, err := alpha.Open(testservers.AccountDrover, "app")
	check(err)
	defer db.Close()
	check(fence.Transition(ctx, db, fence.Change{
		Buckets: []bucketmap.BucketID{bucketmap.Bucket([]byte(user), 16)},
		From:    fence.Active, To: fence.Frozen, ToToken: fence.Token{Move: "example", Run: 1},
	}))
}

// fixed is a source of one map that never changes.
type fixed struct{ snapshot *bucketmap.Snapshot }

func (f fixed) Load(context.Context) (*bucketmap.Snapshot, error) { return f.snapshot, nil }

func (f fixed) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	changed(f.snapshot, nil)
	<-ctx.Done()
	return ctx.Err()
}

func (f fixed) Ack(context.Context, bucketmap.Ack) error { return nil }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
