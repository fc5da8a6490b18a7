package preflight

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

var moved = []bucketmap.BucketID{5, 6, 40}

func (w *world) move() []Result {
	w.t.Helper()
	results, err := w.preflight().Move(w.t.Context(), "alpha", "gamma", moved)
	must(w.t, err)
	return results
}

func (w *world) all() []Result {
	w.t.Helper()
	results, err := w.preflight().Shards(w.t.Context())
	must(w.t, err)
	return results
}

func TestRightServersPassAndNothingIsChangedOnThem(t *testing.T) {
	for _, triggers := range []bool{false, true} {
		w := newWorld(t)
		if triggers {
			w.install()
		}
		before := w.positions()
		wantSaid(t, w.move())
		wantSaid(t, w.all())
		one, err := w.preflight().Shard(t.Context(), "alpha")
		must(t, err)
		if len(Errors(one)) != 0 {
			t.Fatal(Errors(one))
		}
		if after := w.positions(); !slices.Equal(before, after) {
			t.Fatalf("the preflight wrote: %v, then %v", before, after)
		}
	}
}

func TestMovePreflightIsQuick(t *testing.T) {
	w := newWorld(t)
	p := w.preflight()
	best := time.Hour
	for i := range 5 {
		began := time.Now()
		_, err := p.Move(t.Context(), "alpha", "gamma", moved)
		must(t, err)
		took := time.Since(began)
		if i == 0 {
			t.Logf("the first, which has to connect, took %s", took)
		}
		best = min(best, took)
	}
	t.Logf("the best of 5 took %s", best)
	// Ten times what it takes, for a busy machine and the race detector: a check
	// that reads a table from end to end, or asks row by row, takes more.
	if best > 500*time.Millisecond {
		t.Errorf("a preflight takes %s", best)
	}
}

// misconfigured is one thing wrong and what is said of it.
type misconfigured struct {
	name string
	// alpha, gamma and both are executed in the test's database; undo is
	// executed afterwards on both servers: what is global must be put back.
	alpha, gamma, both, undo []string
	prepare                  func(t *testing.T, w *world)
	global                   bool // what prepare does, other tests would see
	// move and all are what Move and Shards say; all is move's when nil.
	move, all []string
}

func both(verdict, name string) []string {
	return []string{verdict + " " + name + " alpha", verdict + " " + name + " gamma"}
}

var none = []string{}

var misconfigurations = []misconfigured{
	{name: "binlog format", gamma: []string{"SET GLOBAL binlog_format = 'MIXED'"}, undo: []string{"SET GLOBAL binlog_format = 'ROW'"},
		move: []string{"error binlog-format gamma"}},
	{name: "row image", alpha: []string{"SET GLOBAL binlog_row_image = 'MINIMAL'"}, undo: []string{"SET GLOBAL binlog_row_image = 'FULL'"},
		move: []string{"error binlog-row-image alpha"}},
	{name: "gtid strict mode", alpha: []string{"SET GLOBAL gtid_strict_mode = 0"}, undo: []string{"SET GLOBAL gtid_strict_mode = 1"},
		move: []string{"warning gtid-strict-mode alpha"}},
	{name: "read only", gamma: []string{"SET GLOBAL read_only = 1"}, undo: []string{"SET GLOBAL read_only = 0"},
		move: []string{"error read-only gamma"}},
	{name: "retention", alpha: []string{"SET GLOBAL expire_logs_days = 0.5"}, undo: []string{"SET GLOBAL expire_logs_days = 0"},
		move: []string{"warning binlog-retention alpha"}},
	{name: "packet", gamma: []string{"SET GLOBAL max_allowed_packet = 1048576"}, undo: []string{"SET GLOBAL max_allowed_packet = 67108864"},
		move: []string{"error max-allowed-packet gamma"}},
	{name: "smaller packet than the source's", gamma: []string{"SET GLOBAL max_allowed_packet = 33554432"},
		undo: []string{"SET GLOBAL max_allowed_packet = 67108864"}, move: []string{"error max-allowed-packet gamma"}, all: none},
	{name: "stopped replica", alpha: []string{"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1"}, undo: []string{"RESET SLAVE ALL"},
		move: []string{"warning not-a-replica alpha"}},
	{name: "replica", alpha: []string{"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1", "START SLAVE SQL_THREAD"},
		undo: []string{"STOP SLAVE", "RESET SLAVE ALL"}, move: []string{"error not-a-replica alpha"}},
	{name: "anonymous account", alpha: []string{"CREATE USER ''@'nowhere'"}, undo: []string{"DROP USER IF EXISTS ''@'nowhere'"},
		move: []string{"error anonymous-accounts alpha"}},
	{name: "prepared transaction", prepare: func(t *testing.T, w *world) {
		conn := w.conn("alpha")
		for _, s := range []string{"XA START 'x'", "INSERT INTO profile VALUES ('xa', 'x')", "XA END 'x'", "XA PREPARE 'x'"} {
			_, err := conn.ExecContext(t.Context(), s)
			must(t, err)
		}
		t.Cleanup(func() {
			_, err := conn.ExecContext(context.WithoutCancel(t.Context()), "XA ROLLBACK 'x'")
			must(t, err)
		})
	}, global: true, move: []string{"error xa-transactions alpha"}},

	{name: "no fence", gamma: []string{"DROP TABLE drover_fence"}, move: []string{"error fence-table gamma"}},
	{name: "newer fence", alpha: []string{"ALTER TABLE drover_fence COMMENT = 'drover fence, schema 9'"}, move: []string{"error fence-table alpha"}},
	{name: "no journal", gamma: []string{"DROP TABLE drover_journal"}, move: []string{"error drover-tables gamma"}},
	{name: "no row of the shard", gamma: []string{"DELETE FROM drover_fence WHERE bucket = -1"}, move: []string{"error shard-active gamma"}},
	{name: "frozen shard", alpha: []string{"UPDATE drover_fence SET state = 'frozen', move_id = 'p-1/1' WHERE bucket = -1"}, move: []string{"error shard-active alpha"}},
	{name: "another primary", gamma: []string{"UPDATE drover_fence SET server_id = 99 WHERE bucket = -1"}, move: []string{"error shard-active gamma"}},
	{name: "shard epoch", alpha: []string{"UPDATE drover_fence SET epoch = 2 WHERE bucket = -1"}, move: []string{"error shard-active alpha"}},
	{name: "unknown state", alpha: []string{"UPDATE drover_fence SET state = 'odd' WHERE bucket = 6"},
		move: []string{"error fence-states alpha", "error home-active alpha"}},
	{name: "no row of a bucket", alpha: []string{"DELETE FROM drover_fence WHERE bucket = 6"}, move: []string{"error home-active alpha"}},
	{name: "moved away", alpha: []string{"UPDATE drover_fence SET state = 'moved' WHERE bucket = 6"}, move: []string{"error home-active alpha"}},
	{name: "another bucket moved away", alpha: []string{"UPDATE drover_fence SET state = 'moved' WHERE bucket = 7"}, move: none, all: []string{"error home-active alpha"}},
	{name: "bucket epoch", alpha: []string{"UPDATE drover_fence SET epoch = 3 WHERE bucket = 6"}, move: []string{"error home-epoch alpha"}},
	{name: "in another move", alpha: []string{"UPDATE drover_fence SET move_id = 'm-1/1' WHERE bucket = 6"}, move: []string{"error buckets-free alpha"}, all: none},
	{name: "incoming at the target", gamma: []string{"INSERT INTO drover_fence VALUES (6, 'incoming', 2, 'm-1/1', 0)"},
		move: []string{"error buckets-free gamma"}, all: none},
	{name: "active at the target", gamma: []string{"INSERT INTO drover_fence VALUES (6, 'active', 2, '', 0)"},
		move: []string{"error buckets-free gamma"}, all: []string{"error home-active gamma"}},
	{name: "has been at the target before", gamma: []string{"INSERT INTO drover_fence VALUES (6, 'moved', 2, '', 0)"}, move: none},

	{name: "no table", gamma: []string{"DROP TABLE steps"}, move: []string{"error table-exists gamma"}},
	{name: "no bucket column", gamma: []string{"ALTER TABLE steps DROP KEY bucket, DROP COLUMN bucket"}, move: []string{"error table-exists gamma"}},
	{name: "engine", gamma: []string{"ALTER TABLE steps ENGINE = Aria"}, move: []string{"error table-engine gamma"}},
	{name: "no primary key", both: []string{"ALTER TABLE steps DROP PRIMARY KEY"}, move: both("error", "primary-key")},
	{name: "incomparable primary key", both: []string{"ALTER TABLE steps DROP PRIMARY KEY, ADD COLUMN f DOUBLE NOT NULL DEFAULT 0, ADD PRIMARY KEY (user_id, f)"},
		move: both("error", "primary-key")},
	{name: "primary key of a prefix", both: []string{"ALTER TABLE profile DROP PRIMARY KEY, ADD PRIMARY KEY (user_id(10))"},
		move: append(both("error", "primary-key"), both("error", "unique-keys")...)},
	{name: "compressed column", both: []string{"ALTER TABLE profile ADD COLUMN text TEXT COMPRESSED"}, move: both("error", "readable-columns")},
	{name: "shapes, addresses and a UUID", both: []string{"ALTER TABLE profile ADD COLUMN place POINT, ADD COLUMN a INET6, ADD COLUMN b UUID"}, move: none},
	{name: "user id with zeros in front", both: []string{"DELETE FROM profile", "ALTER TABLE profile MODIFY user_id INT(10) ZEROFILL NOT NULL"},
		move: both("error", "sharding-column")},
	{name: "system versioning", both: []string{"ALTER TABLE steps ADD SYSTEM VERSIONING"}, move: both("error", "table-exists")},
	{name: "view for a table", both: []string{"RENAME TABLE steps TO walks", "CREATE VIEW steps AS SELECT * FROM walks"}, move: both("error", "table-exists")},
	{name: "bucket as text", both: []string{"ALTER TABLE steps MODIFY bucket VARCHAR(10) NOT NULL"}, move: both("error", "sharding-column")},
	{name: "virtual bucket", both: []string{"ALTER TABLE request DROP COLUMN bucket, ADD COLUMN bucket INT UNSIGNED AS (CRC32(user_id) % 64) VIRTUAL, ADD KEY (bucket)"},
		move: both("error", "sharding-column")},
	{name: "bucket may be null", both: []string{"ALTER TABLE steps MODIFY bucket INT UNSIGNED"}, move: both("warning", "sharding-column")},
	{name: "user column in UTF-16", both: []string{"ALTER TABLE profile MODIFY user_id VARCHAR(64) CHARACTER SET utf16 COLLATE utf16_bin NOT NULL"},
		move: both("error", "sharding-column")},
	{name: "user column a date", both: []string{"DELETE FROM profile", "ALTER TABLE profile MODIFY user_id DATE NOT NULL"}, move: both("error", "sharding-column")},
	{name: "generated with another modulus", both: []string{"ALTER TABLE request DROP COLUMN bucket, ADD COLUMN bucket INT UNSIGNED AS (CRC32(user_id) % 32) STORED, ADD KEY (bucket)"},
		move: both("error", "bucket-values")},
	{name: "written with another modulus", alpha: []string{"UPDATE steps SET bucket = CRC32(user_id) % 32"},
		move: append(both("warning", "unique-keys"), "error bucket-values alpha")},
	{name: "bucket of no map", alpha: []string{"UPDATE steps SET bucket = 64 WHERE user_id = 'u1'"},
		move: append(both("warning", "unique-keys"), "error bucket-values alpha")},
	{name: "no bucket index", both: []string{"ALTER TABLE steps DROP KEY bucket"}, move: none},
	{name: "unique across buckets", both: []string{"DELETE FROM profile", "ALTER TABLE profile ADD UNIQUE KEY by_name (name)"},
		move: both("error", "unique-keys")},
	{name: "auto increment key", both: []string{"ALTER TABLE steps DROP PRIMARY KEY, ADD COLUMN id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY"},
		move: both("error", "unique-keys")},
	{name: "unique with the bucket", both: []string{"ALTER TABLE steps DROP PRIMARY KEY, ADD COLUMN id BIGINT NOT NULL AUTO_INCREMENT, ADD PRIMARY KEY (id, bucket)"}, move: none},
	{name: "no rows to learn from", alpha: []string{"DELETE FROM steps"}, move: both("warning", "unique-keys")},
	{name: "collation", both: []string{"ALTER TABLE profile MODIFY user_id VARCHAR(64) CHARACTER SET utf8mb4 NOT NULL"}, move: both("warning", "user-collation")},
	{name: "cascade", both: []string{"ALTER TABLE request ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES profile (user_id) ON DELETE CASCADE"},
		move: both("error", "foreign-keys")},
	{name: "foreign key within the sharded tables", both: []string{"ALTER TABLE request ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES profile (user_id)"}, move: none},
	{name: "foreign key to another table", both: []string{"CREATE TABLE country (id INT PRIMARY KEY)",
		"ALTER TABLE profile ADD COLUMN country INT, ADD FOREIGN KEY (country) REFERENCES country (id)"}, move: both("error", "foreign-keys")},
	{name: "foreign key from another table", gamma: []string{"CREATE TABLE `no-te` (user_id VARBINARY(64), FOREIGN KEY (user_id) REFERENCES profile (user_id))"},
		move: []string{"error foreign-keys gamma"}},

	{name: "another trigger", gamma: []string{"CREATE TRIGGER audit AFTER INSERT ON steps FOR EACH ROW SET @n = 1"}, move: []string{"error other-triggers gamma"}},
	{name: "fence of another account", prepare: func(t *testing.T, w *world) { w.installOn(t, "gamma", worldBuckets, "somebody") },
		move: []string{"error fence-account gamma", "error fence-triggers gamma", "error same-fence gamma"}},
	{name: "fence of another bucket count", prepare: func(t *testing.T, w *world) {
		w.install()
		w.installOn(t, "gamma", 32, w.account.User)
	}, move: []string{"error fence-triggers gamma"}},
	{name: "fence at one end", prepare: func(t *testing.T, w *world) { w.installOn(t, "alpha", worldBuckets, w.account.User) },
		move: []string{"error same-fence gamma"}},
	{name: "fence on one table", prepare: func(t *testing.T, w *world) {
		w.install()
		w.exec("alpha", fence.RemoveStatements("steps")...)
	}, move: []string{"error fence-triggers alpha", "error same-fence gamma"}},
	{name: "two of three triggers", prepare: func(t *testing.T, w *world) {
		w.install()
		w.exec("alpha", fence.RemoveStatements("steps")[0])
	}, move: []string{"error fence-triggers alpha"}},

	{name: "another column type", gamma: []string{"ALTER TABLE steps MODIFY steps INT NOT NULL"}, move: []string{"error same-schema gamma"}, all: none},
	{name: "a unique key more", gamma: []string{"ALTER TABLE steps ADD UNIQUE KEY more (user_id)"}, move: []string{"error same-schema gamma"}, all: none},
	{name: "partitions", gamma: []string{"ALTER TABLE profile PARTITION BY KEY (user_id) PARTITIONS 4"}, move: []string{"error same-partitions gamma"}, all: none},
	{name: "rows at the target", gamma: []string{"INSERT INTO steps VALUES (6, 'left', '2026-11-21', 1)"},
		move: append(both("warning", "unique-keys"), "error target-rows gamma", "error bucket-values gamma"),
		all:  append(both("warning", "unique-keys"), "error bucket-values gamma")},
	{name: "rows of others at the target", gamma: []string{"INSERT INTO request (user_id, id) VALUES ('u1', 1)"}, move: none},
}

func (w *world) installOn(t *testing.T, shard bucketmap.ShardName, buckets uint32, account string) {
	t.Helper()
	for _, table := range w.tables {
		statements, err := fence.InstallStatements(table, buckets, account)
		must(t, err)
		w.exec(shard, statements...)
	}
}

func TestEveryMisconfigurationIsNamed(t *testing.T) {
	for _, c := range misconfigurations {
		t.Run(c.name, func(t *testing.T) {
			if len(c.undo) == 0 && !c.global {
				t.Parallel()
			}
			w := newWorld(t)
			t.Cleanup(func() {
				w.exec("alpha", c.undo...)
				w.exec("gamma", c.undo...)
			})
			w.exec("alpha", append(c.both, c.alpha...)...)
			w.exec("gamma", append(c.both, c.gamma...)...)
			if c.prepare != nil {
				c.prepare(t, w)
			}
			wantSaid(t, w.move(), c.move...)
			if c.all == nil {
				c.all = c.move
			}
			wantSaid(t, w.all(), c.all...)
		})
	}
}

func TestServersThatCannotBeUsedAreNamed(t *testing.T) {
	startServers(t)
	ctx := t.Context()
	odd, err := servers.fleet.MariaDB(ctx, "odd", testservers.MariaDBOptions{Config: map[string]string{
		"skip_log_bin": "", "server_id": strconv.FormatUint(uint64(servers.alpha.ServerID()), 10)}})
	must(t, err)
	w := newWorldOn(t, servers.alpha, odd, "odd")
	wantSaid(t, w.move(), "error binlog-enabled gamma", "error server-id gamma")

	filtered, err := servers.fleet.MariaDB(ctx, "filtered", testservers.MariaDBOptions{Config: map[string]string{"binlog_ignore_db": "filtered"}})
	must(t, err)
	w = newWorldOn(t, servers.alpha, filtered, "filtered")
	wantSaid(t, w.move(), "error binlog-filter gamma")
	wantSaid(t, newWorldOn(t, servers.alpha, filtered, "elsewhere").move())

	other, err := servers.fleet.MariaDB(ctx, "mysql", testservers.MariaDBOptions{Config: map[string]string{"version": "8.0.36"}})
	must(t, err)
	w.by["gamma"] = other
	must(t, other.Exec(ctx, "CREATE DATABASE filtered"))
	if got := said(w.move()); !slices.Contains(got, "error server-version gamma") {
		t.Fatal(got)
	}
	must(t, other.Kill())
	if got := said(w.move()); !slices.Contains(got, "error server-reachable gamma") {
		t.Fatal(got)
	}
	w.account.Password = "wrong"
	if got := said(w.all()); !slices.Equal(got, []string{"error server-reachable alpha", "error server-reachable gamma"}) {
		t.Fatal(got)
	}
}

func TestServersThatTheListLacksAreNamed(t *testing.T) {
	w := newWorld(t)
	p := w.preflight()
	must(t, w.draft.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "elsewhere"}))
	p.Map = w.snapshot()
	results, err := p.Move(t.Context(), "alpha", "gamma", moved)
	must(t, err)
	if got := said(results); !slices.Contains(got, "error server-reachable gamma") {
		t.Fatal(got)
	}
}

func TestVersionsAreJudged(t *testing.T) {
	for version, good := range map[string]bool{
		"10.11.19-MariaDB-log": true, "10.5.0-MariaDB": true, "11.4.2-MariaDB": true, "12.0.1-mariadb": true,
		"10.4.32-MariaDB": false, "5.5.68-MariaDB": false, "8.0.36": false, "MariaDB": false, "": false,
	} {
		if found := versionOf(version); (len(found) == 0) != good {
			t.Errorf("%q: %v", version, found)
		}
	}
}

func TestAnAccountWithoutPrivilegesIsNamed(t *testing.T) {
	w := newWorld(t)
	for shard, m := range w.by {
		must(t, m.Exec(t.Context(), "CREATE OR REPLACE USER weak IDENTIFIED BY 'weak'", "GRANT SELECT, INSERT ON `"+w.database+"`.* TO weak"))
		t.Cleanup(func() { w.exec(shard, "DROP USER weak") })
	}
	w.account = database.Account{User: "weak", Password: "weak"}
	got := said(w.move())
	for _, want := range []string{"error privileges alpha", "error privileges gamma", "error binlog-filter alpha",
		"error not-a-replica alpha", "warning anonymous-accounts alpha", "warning long-transactions alpha", "warning foreign-keys alpha"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	for _, m := range w.by {
		must(t, m.Exec(t.Context(), "GRANT REPLICATION SLAVE, BINLOG MONITOR, PROCESS, SLAVE MONITOR ON *.* TO weak",
			"REVOKE ALL PRIVILEGES ON `"+w.database+"`.* FROM weak", "GRANT ALL PRIVILEGES ON `world%`.* TO weak",
			"GRANT SELECT ON mysql.* TO weak"))
	}
	if got := Errors(w.move()); len(got) != 0 {
		t.Fatal(got)
	}
}

func TestLongTransactionsAreNamed(t *testing.T) {
	w := newWorld(t)
	tx, err := w.conn("alpha").BeginTx(t.Context(), nil)
	must(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	_, err = tx.ExecContext(t.Context(), "INSERT INTO profile VALUES ('long', 'x')")
	must(t, err)
	p := w.preflight()
	p.longTransaction = time.Nanosecond
	var results []Result
	// The server gives everybody the same list until nobody has asked for a
	// tenth of a second.
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(150 * time.Millisecond) {
		results, err = p.Move(t.Context(), "alpha", "gamma", moved)
		must(t, err)
		if slices.Contains(said(results), "warning long-transactions alpha") {
			break
		}
	}
	wantSaid(t, results, "warning long-transactions alpha")
	wantSaid(t, w.move())
}

func TestSettingsThatTestServersLackPassWhereTheyAreRight(t *testing.T) {
	w := newWorld(t)
	for shard := range w.by {
		w.exec(shard, "SET GLOBAL sync_binlog = 1", "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
		t.Cleanup(func() { w.exec(shard, "SET GLOBAL sync_binlog = 0", "SET GLOBAL innodb_flush_log_at_trx_commit = 2") })
	}
	for _, r := range w.move() {
		if r.Name == DurableCommits && r.Verdict != OK {
			t.Error(r)
		}
	}
}

func TestUUIDsInSixteenBytesAreUserIDs(t *testing.T) {
	w := newWorld(t)
	for shard := range w.by {
		w.exec(shard, "DROP TABLE steps", "CREATE TABLE steps (bucket INT UNSIGNED NOT NULL, user_id BINARY(16) NOT NULL PRIMARY KEY, KEY (bucket))")
	}
	const uuid = "6ccd780c-baba-1026-9564-5b8c656024db"
	w.exec("alpha", "INSERT INTO steps VALUES (CRC32('"+uuid+"') % 64, UNHEX(REPLACE('"+uuid+"', '-', '')))")
	wantSaid(t, w.move())
}

func TestAMapThatDoesNotFollowTheDatabasesIsNamed(t *testing.T) {
	w := newWorld(t)
	servers := w.shards(w.account)
	from := w.snapshot()
	want := func(change func(d *bucketmap.Draft), want ...string) {
		t.Helper()
		d := from.Edit()
		change(d)
		to, err := d.Snapshot()
		must(t, err)
		results, err := Homes(t.Context(), servers, from, to)
		must(t, err)
		if got := said(results); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q: %v", got, want, results)
		}
	}
	want(func(d *bucketmap.Draft) { d.Whitelist["u"] = "cloud" })
	home := func(d *bucketmap.Draft) { must(t, d.SetHome(6, 6, "gamma")) }
	want(home, "error home-active gamma")
	w.exec("gamma", "INSERT INTO drover_fence VALUES (6, 'incoming', 2, 'm-1/1', 0)")
	want(home, "error home-active gamma")
	w.exec("gamma", "UPDATE drover_fence SET state = 'active'")
	want(home, "error home-epoch gamma")
	want(func(d *bucketmap.Draft) { home(d); d.Epochs[6] = 2 })
	want(func(d *bucketmap.Draft) { d.Epochs[6] = 2 }, "error home-epoch alpha")
	want(func(d *bucketmap.Draft) {
		must(t, d.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "legacy"}))
	}, "error server-reachable gamma")
	want(func(d *bucketmap.Draft) {
		must(t, d.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "cloud", Epoch: 2}))
	}, "error shard-active gamma")
}
