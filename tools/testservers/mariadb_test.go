package testservers

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

func itoa(n int) string { return strconv.Itoa(n) }

func startMariaDB(t *testing.T, fleet *Fleet, name string) *MariaDB {
	t.Helper()
	database, err := fleet.MariaDB(t.Context(), name, MariaDBOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return database
}

func open(t *testing.T, server *MariaDB, account string) *sql.DB {
	t.Helper()
	pool, err := server.Open(account, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return pool
}

func execute(t *testing.T, server *MariaDB, statements ...string) {
	t.Helper()
	if err := server.Exec(t.Context(), statements...); err != nil {
		t.Fatal(err)
	}
}

// query returns the first column of the first row; no row is "".
func query(t *testing.T, server *MariaDB, statement string) string {
	t.Helper()
	var value sql.NullString
	err := open(t, server, AccountRoot).QueryRowContext(t.Context(), statement).Scan(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.Fatalf("%s: %s: %v", server.Name(), statement, err)
	}
	return value.String
}

func TestKilledOrStoppedServerComesBackWithItsData(t *testing.T) {
	t.Parallel()
	server := startMariaDB(t, Start(t), "a")
	execute(t, server, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
	addr, pid := server.Addr(), server.PID()
	for i, end := range []func() error{server.Kill, server.Stop, func() error { return nil }} {
		execute(t, server, "INSERT INTO d.t VALUES ("+itoa(i)+")")
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			if alive(pid) {
				t.Errorf("end %d: process %d is alive", i, pid)
			}
			if connection, err := net.Dial("tcp", addr); err == nil {
				connection.Close()
				t.Errorf("end %d: somebody answers on %s", i, addr)
			}
			if err := end(); err != nil {
				t.Errorf("end %d of a server that is down: %v", i, err)
			}
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if server.Addr() != addr || server.PID() == pid {
			t.Errorf("restart %d: at %s as process %d, was at %s as %d", i, server.Addr(), server.PID(), addr, pid)
		}
		pid = server.PID()
		if rows := query(t, server, "SELECT COUNT(*) FROM d.t"); rows != itoa(i+1) {
			t.Errorf("restart %d: %s rows", i, rows)
		}
	}
}

func TestPausedServerAnswersOnceItIsResumed(t *testing.T) {
	t.Parallel()
	server := startMariaDB(t, Start(t), "a")
	pool := open(t, server, AccountApp)
	if err := pool.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var one int
	if err := pool.QueryRowContext(short, "SELECT 1").Scan(&one); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a paused server: %v", err)
	}

	answer := make(chan error)
	go func() { answer <- pool.QueryRowContext(t.Context(), "SELECT 1").Scan(&one) }()
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Errorf("stop a paused server: %v", err)
	}
	if err := server.Pause(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("pause a server that is down: %v", err)
	}
	if err := server.Resume(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("resume a server that is down: %v", err)
	}
}

func TestAccountsHaveTheirPrivileges(t *testing.T) {
	t.Parallel()
	server := startMariaDB(t, Start(t), "a")
	execute(t, server, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
	const (
		denied   = 1227 // ER_SPECIFIC_ACCESS_DENIED_ERROR
		table    = 1142 // ER_TABLEACCESS_DENIED_ERROR
		database = 1044 // ER_DBACCESS_DENIED_ERROR
		readOnly = 1290 // ER_OPTION_PREVENTS_STATEMENT
	)
	for _, test := range []struct {
		account, statement string
		number             uint16
	}{
		{AccountApp, "INSERT INTO d.t VALUES (0)", 0},
		{AccountApp, "CREATE TABLE d.y (id INT)", table},
		{AccountApp, "CREATE DATABASE test_it", database},
		{AccountRoot, "SET GLOBAL read_only = 1", 0},
		{AccountRoot, "INSERT INTO d.t VALUES (1)", 0},
		{AccountRoot, "CREATE USER somebody", 0},
		{AccountDrover, "INSERT INTO d.t VALUES (2)", 0},
		{AccountDrover, "SET GLOBAL read_only = 1", 0},
		{AccountDrover, "CREATE TRIGGER d.r BEFORE INSERT ON d.t FOR EACH ROW SET @x = 1", 0},
		{AccountDrover, "SET SESSION gtid_domain_id = 1", 0},
		{AccountDrover, "SHOW BINARY LOGS", 0},
		{AccountDrover, "STOP SLAVE", 0},
		{AccountApp, "SELECT * FROM d.t", 0},
		{AccountApp, "CREATE TEMPORARY TABLE d.x (id INT)", 0},
		{AccountApp, "INSERT INTO d.t VALUES (3)", readOnly},
		{AccountApp, "SET GLOBAL read_only = 0", denied},
		{AccountReplica, "SELECT * FROM d.t", table},
	} {
		_, err := open(t, server, test.account).ExecContext(t.Context(), test.statement)
		var failure *mysql.MySQLError
		if errors.As(err, &failure); err == nil && test.number != 0 || err != nil && (failure == nil || failure.Number != test.number) {
			t.Errorf("%s: %s: %v, want error %d", test.account, test.statement, err, test.number)
		}
	}
	if user := query(t, server, "SELECT USER()"); user != "root@"+loopback {
		t.Errorf("root is %s", user)
	}
}

func TestFreshServerHasAnEmptyBinaryLog(t *testing.T) {
	t.Parallel()
	server := startMariaDB(t, Start(t), "a")
	if state := query(t, server, "SELECT CONCAT(@@gtid_binlog_state, @@gtid_slave_pos, @@gtid_current_pos)"); state != "" {
		t.Errorf("GTIDs %s", state)
	}
	for variable, want := range map[string]string{
		"binlog_format": "ROW", "binlog_row_image": "FULL", "binlog_row_metadata": "FULL", "log_bin": "1",
		"gtid_strict_mode": "1", "log_slave_updates": "1", "bind_address": loopback, "read_only": "0",
	} {
		if value := query(t, server, "SELECT @@GLOBAL."+variable); value != want {
			t.Errorf("%s is %s, want %s", variable, value, want)
		}
	}
}

func TestReplicaHasWhatThePrimaryWroteBeforeAndAfter(t *testing.T) {
	t.Parallel()
	fleet := Start(t)
	servers, err := fleet.MariaDBs(t.Context(), "primary", "replica")
	if err != nil {
		t.Fatal(err)
	}
	primary, replica := servers[0], servers[1]
	execute(t, primary, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
	if err := replica.ReplicateFrom(t.Context(), primary); err != nil {
		t.Fatal(err)
	}
	execute(t, primary, "INSERT INTO d.t VALUES (2)")
	awaitReplica(t, primary, replica)
	if rows := query(t, replica, "SELECT GROUP_CONCAT(id ORDER BY id) FROM d.t"); rows != "1,2" {
		t.Errorf("the replica has %s", rows)
	}
	if _, err := open(t, replica, AccountApp).ExecContext(t.Context(), "INSERT INTO d.t VALUES (9)"); err == nil {
		t.Error("the application wrote to the replica")
	}

	// Both come back by themselves, whoever was killed.
	if err := errors.Join(primary.Kill(), replica.Kill()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(primary.Restart(t.Context()), replica.Restart(t.Context())); err != nil {
		t.Fatal(err)
	}
	execute(t, primary, "INSERT INTO d.t VALUES (3)")
	awaitReplica(t, primary, replica)

	// And the other way round.
	execute(t, replica, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0", "INSERT INTO d.t VALUES (4)")
	if err := primary.ReplicateFrom(t.Context(), replica); err != nil {
		t.Fatal(err)
	}
	awaitReplica(t, replica, primary)
	if rows := query(t, primary, "SELECT GROUP_CONCAT(id ORDER BY id) FROM d.t"); rows != "1,2,3,4" {
		t.Errorf("the old primary has %s", rows)
	}
}

func TestReplicaThatWentItsOwnWayIsRefused(t *testing.T) {
	t.Parallel()
	servers, err := Start(t).MariaDBs(t.Context(), "primary", "replica")
	if err != nil {
		t.Fatal(err)
	}
	execute(t, servers[0], "CREATE DATABASE d")
	execute(t, servers[1], "CREATE DATABASE e", "CREATE DATABASE f")
	if err := servers[1].ReplicateFrom(t.Context(), servers[0]); err == nil {
		t.Fatal("it replicates")
	} else if !strings.Contains(err.Error(), "GTID") {
		t.Errorf("the error does not say why: %v", err)
	}
}

// awaitReplica waits until the replica has applied what the primary has now.
func awaitReplica(t *testing.T, primary, replica *MariaDB) {
	t.Helper()
	position := query(t, primary, "SELECT @@gtid_binlog_pos")
	if reached := query(t, replica, "SELECT MASTER_GTID_WAIT('"+position+"', 30)"); reached != "0" {
		status, err := replica.replicaStatus(t.Context())
		t.Fatalf("%s did not reach %s: %v %v", replica.Name(), position, status, err)
	}
}

func TestConfigGoesBeforeTheDefaults(t *testing.T) {
	t.Parallel()
	server, err := Start(t).MariaDB(t.Context(), "a", MariaDBOptions{Config: map[string]string{
		"binlog-format": "MIXED", "server_id": "77", "init_connect": "SET @note = 'a # b'", "skip_slave_start": "",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if server.ServerID() != 77 || query(t, server, "SELECT @@server_id") != "77" {
		t.Errorf("server id %d and %s", server.ServerID(), query(t, server, "SELECT @@server_id"))
	}
	if format := query(t, server, "SELECT @@GLOBAL.binlog_format"); format != "MIXED" {
		t.Errorf("binlog_format %s", format)
	}
	if value := query(t, server, "SELECT @@init_connect"); value != "SET @note = 'a # b'" {
		t.Errorf("init_connect %s", value)
	}
}

func TestServerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	fleet := Start(t)
	_, err := fleet.MariaDB(t.Context(), "a", MariaDBOptions{Config: map[string]string{"no_such_thing": "1"}})
	if err == nil || !errors.Is(err, errExited) || !strings.Contains(err.Error(), "unknown variable 'no_such_thing=1'") {
		t.Errorf("an unknown key: %v", err)
	}
	for name, config := range map[string]map[string]string{
		"b": {"port": "1\nbind_address = 0.0.0.0"}, "c": {"server_id": "none"}, "d": {"server_id": "0"},
	} {
		if _, err := fleet.MariaDB(t.Context(), name, MariaDBOptions{Config: config}); err == nil {
			t.Errorf("%v was accepted", config)
		}
	}
}

func TestServerWhosePortWasTakenStartsOnAnother(t *testing.T) {
	t.Parallel()
	fleet := Start(t)
	database := &MariaDB{serverID: fleet.nextServerID()}
	if err := fleet.add(&database.process, "a"); err != nil {
		t.Fatal(err)
	}
	if err := copyTree(fleet.template, database.dataDir()); err != nil {
		t.Fatal(err)
	}
	config, err := database.config(defaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := database.setUp(config); err != nil {
		t.Fatal(err)
	}
	startOnTakenPort(t, &database.process)
	execute(t, database, "CREATE DATABASE d")

	cache := new(Memcached)
	if err := fleet.add(&cache.process, "m"); err != nil {
		t.Fatal(err)
	}
	cache.setUp()
	startOnTakenPort(t, &cache.process)
}

// startOnTakenPort starts the server while a stranger, who takes connections and
// says nothing, has the first port that it tries.
func startOnTakenPort(t *testing.T, server *process) {
	t.Helper()
	var stranger net.Listener
	prepare := server.prepare
	server.prepare = func(port int) (err error) {
		if stranger == nil {
			if stranger, err = net.Listen("tcp4", net.JoinHostPort(loopback, itoa(port))); err != nil {
				return err
			}
			t.Cleanup(func() { _ = stranger.Close() })
		}
		return prepare(port)
	}
	if err := server.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if server.Addr() == stranger.Addr().String() {
		t.Error("both have the port")
	}
}

func TestRestartWaitsForItsPort(t *testing.T) {
	server := startMariaDB(t, Start(t), "a")
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	stranger, err := net.Listen("tcp4", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	restarted := make(chan error)
	go func() { restarted <- server.Restart(t.Context()) }()
	eventually(t, "a start fails for want of the port", func() bool {
		return strings.Contains(server.logTail(0), server.taken)
	})
	_ = stranger.Close()
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
}

func TestServersStartInAFolderWithALongName(t *testing.T) {
	ownTemp(t)
	long := filepath.Join(os.TempDir(), strings.Repeat("long and # odd ", 10))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	fleet := Start(t)
	execute(t, startMariaDB(t, fleet, "a"), "CREATE DATABASE d")
	if _, err := fleet.Memcached(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
}
