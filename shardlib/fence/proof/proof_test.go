package proof

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"drover/shardlib/fence"
	"drover/tools/testservers"
)

var (
	primary   *testservers.MariaDB // of all tests; each has a database of its own
	databases atomic.Int32
)

func TestMain(m *testing.M) { os.Exit(withServer(m)) }

func withServer(m *testing.M) (code int) {
	fleet, err := testservers.New(context.Background(), testservers.Options{})
	if err == nil {
		defer func() {
			if err := fleet.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}()
		primary, err = fleet.MariaDB(context.Background(), "primary", testservers.MariaDBOptions{Config: map[string]string{"local_infile": "1"}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

const buckets = 16

var tables = []struct {
	fence.Sharded
	create string
}{
	{fence.Sharded{Name: "by_column", BucketColumn: "bucket"}, "(bucket INT UNSIGNED NULL, id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT NOT NULL)"},
	{fence.Sharded{Name: "not_null", BucketColumn: "bucket"}, "(bucket INT NOT NULL, user_id VARCHAR(20), day DATE NOT NULL, PRIMARY KEY (user_id, day), KEY (bucket))"},
	{fence.Sharded{Name: "generated", BucketColumn: "bucket"}, "(bucket INT UNSIGNED AS (CRC32(user_id) % 16) STORED, user_id VARBINARY(256) NOT NULL PRIMARY KEY, " +
		"mail VARCHAR(80) NOT NULL, UNIQUE KEY (mail))"},
	{fence.Sharded{Name: "by user`id", UserColumn: "user_id"}, "(user_id BIGINT UNSIGNED, item SMALLINT, at TIMESTAMP, code UUID, PRIMARY KEY (user_id, item, at), UNIQUE (code))"},
	{fence.Sharded{Name: "child", UserColumn: "user_id"}, "(user_id VARBINARY(256) PRIMARY KEY, FOREIGN KEY (user_id) REFERENCES generated (user_id))"},
}

// newDatabase has all tables with their triggers, and one row in each.
func newDatabase(t *testing.T) (name string, root *sql.DB) {
	t.Helper()
	name = fmt.Sprintf("proof_%d", databases.Add(1))
	if err := primary.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	root, err := primary.Open(testservers.AccountRoot, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	if err := errors.Join(fence.Create(t.Context(), root), fence.Activate(t.Context(), root, 0, buckets-1)); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if _, err := root.ExecContext(t.Context(), "CREATE TABLE "+fence.Quote(table.Name)+" "+table.create); err != nil {
			t.Fatal(err)
		}
		if err := fence.Install(t.Context(), root, table.Sharded, buckets, testservers.AccountDrover); err != nil {
			t.Fatal(err)
		}
	}
	return name, root
}

func prover(t *testing.T, database, account string) *Prover {
	t.Helper()
	db, err := primary.Open(account, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p, err := New(t.Context(), conn, account == testservers.AccountDrover)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryKindOfWriteIsTriedAndNothingIsLeft(t *testing.T) {
	database, root := newDatabase(t)
	state := func() (text string) {
		for _, query := range []string{"SELECT @@gtid_binlog_pos", "SELECT GROUP_CONCAT(bucket, state ORDER BY bucket) FROM " + fence.Table,
			"SELECT COUNT(*) FROM by_column", "SELECT COUNT(*) FROM generated", "SELECT COUNT(*) FROM `by user``id`"} {
			var v string
			if err := root.QueryRowContext(t.Context(), query).Scan(&v); err != nil {
				t.Fatal(err)
			}
			text += v + "\n"
		}
		return text
	}
	before := state()
	for _, account := range []string{testservers.AccountApp, testservers.AccountDrover} {
		p := prover(t, database, account)
		for _, table := range tables {
			cases, err := p.Table(t.Context(), table.Sharded, buckets)
			if err != nil {
				t.Fatal(err)
			}
			want := len(Statements())*7 - 5 + 3*4
			if account == testservers.AccountDrover {
				want -= len(Statements()) - 5
			}
			if len(cases) != want {
				t.Errorf("%s: %d cases, want %d", table.Name, len(cases), want)
			}
			for _, c := range Wrong(cases) {
				t.Errorf("%s, %s: %+v", account, table.Name, c)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if after := state(); after != before {
		t.Errorf("the trials left something behind:\n%s\nbefore:\n%s", after, before)
	}
}

func TestAFenceWithAHoleIsFound(t *testing.T) {
	database, root := newDatabase(t)
	name := "by_column"
	trigger := func(operation string) string {
		return fence.Quote("drover_fence_" + name + "_" + strings.ToLower(operation))
	}
	for _, c := range []struct {
		what, change string
		want         []Statement
	}{
		{"no delete trigger", "DROP TRIGGER " + trigger("DELETE"), []Statement{Delete, DeleteJoin}},
		{"no update trigger", "DROP TRIGGER " + trigger("UPDATE"), []Statement{Update, UpdateJoin, Leaving, Entering}},
		{"the old bucket is not looked at", "CREATE OR REPLACE TRIGGER " + trigger("UPDATE") + " BEFORE UPDATE ON by_column FOR EACH ROW BEGIN " +
			"IF USER() NOT LIKE 'drover@%' AND (SELECT COUNT(*) FROM drover_fence WHERE bucket IN (-1, NEW.bucket) AND state = 'active') <> 2 THEN " +
			"SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30421; END IF; END", []Statement{Leaving}},
	} {
		if _, err := root.ExecContext(t.Context(), c.change); err != nil {
			t.Fatal(err)
		}
		p := prover(t, database, testservers.AccountApp)
		cases, err := p.Table(t.Context(), tables[0].Sharded, buckets)
		if err != nil {
			t.Fatal(err)
		}
		found := map[Statement]bool{}
		for _, wrong := range Wrong(cases) {
			if wrong.Condition == Frozen {
				found[wrong.Statement] = true
			}
		}
		for _, s := range c.want {
			if !found[s] {
				t.Errorf("%s: %s was not found to pass", c.what, s)
			}
		}
		if len(found) != len(c.want) {
			t.Errorf("%s: found %v, want %v", c.what, found, c.want)
		}
		if err := fence.Install(t.Context(), root, tables[0].Sharded, buckets, testservers.AccountDrover); err != nil {
			t.Fatal(err)
		}
	}
}

func TestATableThatCannotBeTriedIsSaid(t *testing.T) {
	database, root := newDatabase(t)
	for create, want := range map[string]string{
		"CREATE TABLE other (bucket INT PRIMARY KEY) ENGINE=Aria":                                            "engine",
		"CREATE OR REPLACE TABLE other (bucket INT)":                                                         "primary key",
		"CREATE OR REPLACE TABLE other (b INT PRIMARY KEY)":                                                  "no column",
		"CREATE OR REPLACE TABLE other (bucket INT AS (1) STORED, id INT PRIMARY KEY)":                       "expression",
		"CREATE OR REPLACE TABLE other (bucket INT, p INET6, q LINESTRING, PRIMARY KEY (p), UNIQUE (q(20)))": "linestring",
	} {
		if _, err := root.ExecContext(t.Context(), strings.Replace(create, "CREATE TABLE", "CREATE OR REPLACE TABLE", 1)); err != nil {
			t.Fatal(err)
		}
		p := prover(t, database, testservers.AccountApp)
		if _, err := p.Table(t.Context(), fence.Sharded{Name: "other", BucketColumn: "bucket"}, buckets); !errors.Is(err, ErrTable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", create, err, want)
		}
	}
	if err := primary.Exec(t.Context(), "CREATE USER plain@'%'", "GRANT SELECT, INSERT ON "+database+".* TO plain@'%'"); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", "plain@tcp("+primary.Addr()+")/"+database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := New(t.Context(), conn, false); !errors.Is(err, ErrTemporary) {
		t.Errorf("got %v", err)
	}
}

func TestPrivilegesThatGetAroundTheFenceAreTold(t *testing.T) {
	database, _ := newDatabase(t)
	if err := primary.Exec(t.Context(), "CREATE USER careful@'%' IDENTIFIED BY '"+testservers.Password+"'",
		"GRANT SELECT, CREATE TEMPORARY TABLES ON `"+strings.ReplaceAll(database, "_", `\_`)+"`.* TO careful@'%'",
		"GRANT INSERT, UPDATE ON "+database+".by_column TO careful@'%'",
		"GRANT DROP ON `proof\\_x`.* TO careful@'%'"); err != nil {
		t.Fatal(err)
	}
	for account, want := range map[string][]string{
		"careful":               nil,
		testservers.AccountApp:  {fence.Table},
		testservers.AccountRoot: {"DROP", "ALTER", "TRIGGER", "SUPER", "SET USER", "BINLOG REPLAY", "DELETE HISTORY", fence.Table},
	} {
		found, err := prover(t, database, account).Privileges(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != len(want) {
			t.Errorf("%s: got %q, want %d", account, found, len(want))
			continue
		}
		for i, w := range want {
			if !strings.Contains(found[i], w) {
				t.Errorf("%s: got %q, want %q in it", account, found[i], w)
			}
		}
	}
}
