package shardlib_test

import (
	"context"
	"fmt"
	"time"

	"drover/bucketmap"
	"drover/shardlib"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// A user's home is far away, and a replica of it is near. What the user wrote
// comes with a cookie, and is seen by whichever process serves the next request.
func ExampleLibrary_ViewStale() {
	ctx := context.Background()
	fleet, err := testservers.New(ctx, testservers.Options{})
	check(err)
	defer func() { check(fleet.Close()) }()
	source, shards := prepareReplica(ctx, fleet)
	open := func(dc bucketmap.Datacenter) *shardlib.Library {
		library, err := shardlib.Open(ctx, shardlib.Config{
			Source:     source,
			Shards:     shards,
			Datacenter: dc,
			Account:    shardlib.Account{User: testservers.AccountApp, Password: testservers.Password},
			Replicas:   shardlib.ReplicaOptions{Enabled: true, Timeout: 10 * time.Second},
		})
		check(err)
		return library
	}
	legacy, cloud := open("legacy"), open("cloud")
	defer func() { check(legacy.Close()); check(cloud.Close()) }()

	const user bucketmap.UserID = "alice"
	cookie, err := legacy.TokenNow(ctx, user) // at the login
	check(err)

	err = legacy.Update(ctx, user, func(ctx context.Context, tx *shardlib.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO visits (user_id, n) VALUES (?, 1)", []byte(user))
		return err
	})
	check(err)
	cookie = legacy.Token(user, cookie) // into the answer

	read := func(what string, s shardlib.Staleness) {
		check(cloud.ViewStale(ctx, user, s, func(ctx context.Context, tx *shardlib.Tx) error {
			var n int
			err := tx.QueryRowContext(ctx, "SELECT n FROM visits WHERE user_id = ?", []byte(user)).Scan(&n)
			if err == nil {
				fmt.Printf("%s: %d visits, replica %v\n", what, n, tx.Replica())
			}
			return err
		}))
	}
	read("with the cookie", shardlib.Staleness{Max: time.Minute, Token: cookie, Wait: time.Second})
	read("without", shardlib.Staleness{Max: time.Minute})
	read("of a stranger", shardlib.Staleness{Max: time.Minute, WithoutToken: true})
	// Output:
	// with the cookie: 1 visits, replica true
	// without: 1 visits, replica false
	// of a stranger: 1 visits, replica true
}

// prepareReplica starts a shard that lives in legacy, with a replica in cloud.
func prepareReplica(ctx context.Context, fleet *testservers.Fleet) (bucketmap.Source, shardlib.ShardList) {
	servers, err := fleet.MariaDBs(ctx, "primary", "replica")
	check(err)
	check(servers[0].Exec(ctx, "CREATE DATABASE app", "CREATE TABLE app.visits (user_id VARBINARY(256) PRIMARY KEY, n INT)"))
	db, err := servers[0].Open(testservers.AccountRoot, "app")
	check(err)
	defer db.Close()
	check(fence.Create(ctx, db))
	check(fence.Activate(ctx, db, 0, 15))
	check(servers[1].ReplicateFrom(ctx, servers[0]))
	var written string
	check(db.QueryRowContext(ctx, "SELECT @@gtid_binlog_pos").Scan(&written))
	replica, err := servers[1].Open(testservers.AccountRoot, "")
	check(err)
	defer replica.Close()
	_, err = replica.ExecContext(ctx, "DO MASTER_GTID_WAIT(?, 30)", written)
	check(err)
	shards, err := shardlib.ParseShardList(fmt.Appendf(nil,
		"database: app\nshards:\n  alpha: {legacy: %q, cloud: %q}\n", servers[0].Addr(), servers[1].Addr()))
	check(err)
	draft := bucketmap.NewDraft(16)
	draft.Datacenters = []bucketmap.Datacenter{"cloud", "legacy"}
	draft.Default.Datacenter = "legacy"
	check(draft.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	check(draft.SetHome(0, 15, "alpha"))
	snapshot, err := draft.Snapshot()
	check(err)
	return fixed{snapshot}, shards
}
