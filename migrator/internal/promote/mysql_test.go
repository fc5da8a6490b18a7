//go:build mysql

package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/tools/testservers"
	"drover/tools/testservers/mysqltest"
)

// mysqlPair is two servers that are used by one test after another.
type mysqlPair struct{ a, b *mysqltest.Server }

// world is newWorld with the two servers, which become as new first.
func (p mysqlPair) world(t *testing.T) *world {
	t.Helper()
	for _, s := range []*mysqltest.Server{p.a, p.b} {
		s.Exec("SET GLOBAL general_log = 0", "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = 0", "DROP DATABASE IF EXISTS app", "RESET BINARY LOGS AND GTIDS")
	}
	at := map[bucketmap.Datacenter]*mysqltest.Server{legacy: p.a, cloud: p.b}
	w := &world{t: t, dir: t.TempDir(), points: &crash.Points{}, limits: testLimits(), mysql: true,
		appOpener: func(dc bucketmap.Datacenter) (*sql.DB, error) { return at[dc].Open(testservers.AccountApp, "app") }}
	p.a.Exec("CREATE DATABASE app")
	w.mapped(p.a.Addr, p.b.Addr)
	w.filled()
	server, err := database.Open(alpha, cloud, p.b.Addr, "", database.Account{User: testservers.AccountDrover, Password: testservers.Password})
	must(t, err)
	defer func() { _ = server.Close() }()
	host, port, err := w.server(legacy).HostPort()
	must(t, err)
	must(t, server.Follow(t.Context(), database.Link{Host: host, Port: port}, database.Account{User: testservers.AccountReplica, Password: testservers.Password}))
	must(t, server.StartReplica(t.Context(), ""))
	must(t, server.MakeReadOnly(t.Context(), "test", time.Second))
	testrun.Until(t, "the database has come over", func() error {
		if err := w.server(cloud).DB.Ping(); err != nil {
			u, failure := server.OneUpstream(t.Context())
			return errors.Join(err, failure, errors.New(u.Failure()))
		}
		return nil
	})
	w.caughtUp(legacy, cloud)
	return w
}

// TestMySQL is what other tests prove of MariaDB.
func TestMySQL(t *testing.T) {
	fleet := mysqltest.New(t)
	pair := mysqlPair{fleet.Start(101), fleet.Start(102)}
	for _, c := range []struct {
		name string
		do   func(*testing.T, mysqlPair)
	}{
		{"is refused unless it is allowed", mysqlRefused},
		{"is promoted and returns under writers and nothing is lost", mysqlThereAndBack},
		{"dry run prints exactly what the run executes", mysqlDryRun},
		{"an open transaction makes it step back and others go on", mysqlOpenTransaction},
		{"a stranger's statement makes it step back", mysqlStranger},
		{"a lock on the server is explained", mysqlServerLock},
		{"an errant write while catching up is pointed to the doctor", mysqlErrant},
		{"a promotion killed at every side of the commit point is resumed", mysqlResumed},
		{"accounts past read_only are refused, by roles too", mysqlAccounts},
		{"a failover loses nothing that was received", mysqlFailover}, // the last: it kills a
	} {
		t.Run(c.name, func(t *testing.T) { c.do(t, pair) })
	}
}

func mysqlRefused(t *testing.T, p mysqlPair) {
	w := p.world(t)
	w.mysql = false
	if got := w.refusals(w.engine()); !slices.Equal(got, []string{CheckFamily}) {
		t.Errorf("the preflight refuses %v", got)
	}
	if _, err := w.promote(cloud); !errors.Is(err, ErrFamily) {
		t.Errorf("it is begun: %v", err)
	}
	if _, err := w.engine().Statements(t.Context(), Plan{Shard: alpha, Target: cloud}); !errors.Is(err, ErrFamily) {
		t.Errorf("it is listed: %v", err)
	}
	w.writable(legacy)
}

func mysqlThereAndBack(t *testing.T, p mysqlPair) {
	w := p.world(t)
	p.b.Exec("SET GLOBAL super_read_only = 1") // as many installations have it
	if got := w.refusals(w.engine()); len(got) != 0 {
		t.Fatalf("the preflight refuses %v", got)
	}
	ws := w.startWriters()
	epoch, at := bucketmap.FirstEpoch, legacy
	for range 4 {
		ws.waitAcked(10)
		at, epoch = other(at), epoch+1
		p, err := w.promote(at)
		must(t, err)
		if p.State() != Done {
			t.Fatalf("the promotion is %s", p.State())
		}
		w.settled(at, epoch)
		strict, err := w.server(other(at)).Variable(t.Context(), "super_read_only")
		must(t, err)
		if strict != "1" {
			t.Error("the old primary takes the migrator's writes")
		}
		ws.waitAcked(10)
	}
	ws.check(at)
	w.caughtUp(at, other(at))
	ws.check(other(at))
}

func mysqlDryRun(t *testing.T, p mysqlPair) {
	w := p.world(t)
	for _, s := range []*mysqltest.Server{p.a, p.b} {
		s.Exec("SET SESSION sql_log_bin = 0", "SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log")
	}
	p.b.Exec("SET GLOBAL super_read_only = 1")
	plan := Plan{Shard: alpha, Target: cloud, Who: "test"}
	listed, err := w.engine().Statements(t.Context(), plan)
	must(t, err)
	var executed []Statement
	w.executed = func(s Statement) { executed = append(executed, s) }
	for _, s := range []*mysqltest.Server{p.a, p.b} {
		s.Exec("SET GLOBAL general_log = 1")
	}
	promotion, err := w.promote(cloud)
	must(t, err)
	listed = slices.DeleteFunc(listed, func(s Statement) bool { return s.Wait })
	if !slices.Equal(listed, executed) {
		t.Fatalf("the dry run has\n%v\nthe run\n%v", listed, executed)
	}
	// The server logs this one in its own words, without the password.
	follow := regexp.MustCompile(`(?s)^CHANGE REPLICATION SOURCE TO .*SOURCE_PASSWORD ?= ?(<secret>|'` + wordPassword + `').*$`)
	same := func(text string) string {
		return strings.ReplaceAll(follow.ReplaceAllString(text, "follow"), string(promotion.Record.Move), wordMove)
	}
	skip := regexp.MustCompile(`^(SELECT|SHOW|BEGIN|START TRANSACTION|COMMIT|ROLLBACK|SET NAMES|SET TRANSACTION|DO RELEASE_LOCK|SET .*transaction_isolation = )`)
	for dc, s := range map[bucketmap.Datacenter]*mysqltest.Server{legacy: p.a, cloud: p.b} {
		var want, got []string
		for _, l := range listed {
			if l.Server == w.server(dc).Name() && !strings.HasPrefix(l.Do, "journal: ") {
				want = append(want, same(l.Do))
			}
		}
		rows, err := s.Root.Query("SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log WHERE user_host LIKE '%drover%' AND command_type IN ('Query', 'Execute') ORDER BY event_time, thread_id")
		must(t, err)
		defer rows.Close() // of two servers
		for rows.Next() {
			var text string
			must(t, rows.Scan(&text))
			if skip.MatchString(text) || strings.Contains(text, "drover_move") || strings.Contains(text, "drover_journal") {
				continue
			}
			got = append(got, same(text))
		}
		must(t, rows.Err())
		if !slices.Equal(want, got) {
			t.Errorf("%s was sent\n  %s\nthe dry run has\n  %s", dc, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	}
}

func mysqlOpenTransaction(t *testing.T, p mysqlPair) {
	w := p.world(t)
	ws := w.startWriters()
	db, opened := w.appDB(legacy), make(chan *sql.Tx, 1)
	must(t, w.points.ArmFunc("holding.before_hold", func() {
		tx, err := db.BeginTx(context.Background(), nil)
		must(t, err)
		_, err = tx.Exec("SELECT bucket FROM drover_fence WHERE bucket = -1 FOR SHARE")
		must(t, err)
		opened <- tx
	}))
	ended := w.start(cloud)
	tx := <-opened
	ws.waitAcked(20)
	w.steppedBack(2, "an open transaction")
	ws.waitAcked(20)
	must(t, tx.Commit())
	must(t, <-ended)
	w.settled(cloud, 2)
	ws.check(cloud)
}

func mysqlStranger(t *testing.T, p mysqlPair) {
	w := p.world(t)
	w.limits.ReadOnly = 100 * time.Millisecond
	end := w.stranger(legacy)
	ended := w.start(cloud)
	w.steppedBack(2, "read-only")
	if err := w.write(legacy, true); err != nil {
		t.Errorf("users cannot write between two tries: %v", err)
	}
	end()
	must(t, <-ended)
	w.settled(cloud, 2)
}

func mysqlServerLock(t *testing.T, p mysqlPair) {
	w := p.world(t)
	r := w.runOn(t)
	conn, err := p.a.Root.Conn(t.Context())
	must(t, err)
	var id int64
	must(t, conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id))
	_, err = conn.ExecContext(t.Context(), "FLUSH TABLES WITH READ LOCK")
	must(t, err)
	err = r.decide(t.Context(), r.from, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE drover_fence SET epoch = epoch WHERE bucket = -1")
		return err
	})
	_, unlock := conn.ExecContext(context.Background(), "UNLOCK TABLES")
	must(t, errors.Join(unlock, conn.Close()))
	if !errors.Is(err, ErrServerLocked) || !database.TimedOut(err) || !strings.Contains(err.Error(), fmt.Sprintf("it is connection %d of root@", id)) {
		t.Error(err)
	}
}

func mysqlErrant(t *testing.T, p mysqlPair) {
	w := p.world(t)
	must(t, w.points.ArmFunc("catching_up.after_journal", func() { w.exec(w.server(cloud).DB, "INSERT INTO counter VALUES (500, 0)") }))
	if _, err := w.promote(cloud); !errors.Is(err, ErrErrant) || !strings.Contains(err.Error(), "migrator doctor") {
		t.Error(err)
	}
	w.writable(legacy)
}

func mysqlResumed(t *testing.T, p mysqlPair) {
	w := p.world(t)
	at, epoch := legacy, bucketmap.FirstEpoch
	for _, point := range []string{"freezing.after_freeze", "freezing.after_read_only", "freezing.after_commit", "switching.after_stop",
		"switching.after_reset", "switching.after_activate", "switching.after_writable", "publishing.before_map", "reversing.after_follow"} {
		w.points = &crash.Points{}
		ctx, cancel := context.WithCancel(t.Context())
		must(t, w.points.ArmFunc(point, cancel))
		e := w.engine()
		promotion, err := e.Start(ctx, Plan{Shard: alpha, Target: other(at), Who: "test"})
		must(t, err)
		_ = e.Run(ctx, promotion)
		w.points = &crash.Points{}
		must(t, w.engine().Resume(t.Context(), w.open()))
		at, epoch = other(at), epoch+1
		w.settled(at, epoch)
		if t.Failed() {
			t.Fatalf("after an interrupt at %s", point)
		}
	}
}

func mysqlAccounts(t *testing.T, p mysqlPair) {
	w := p.world(t)
	p.a.Exec("SET SESSION sql_log_bin = 0", "CREATE USER job@'%' IDENTIFIED BY 'x'", "CREATE ROLE inner_role, outer_role",
		"GRANT CONNECTION_ADMIN ON *.* TO inner_role", "GRANT inner_role TO outer_role", "GRANT outer_role TO job@'%'")
	defer p.a.Exec("SET SESSION sql_log_bin = 0", "DROP USER job@'%'", "DROP ROLE inner_role, outer_role")
	results, err := w.engine().Preflight(t.Context(), Plan{Shard: alpha, Target: cloud})
	must(t, err)
	text := fmt.Sprint(results)
	if !strings.Contains(text, "'job'@'%' has CONNECTION_ADMIN by the role outer_role") || strings.Contains(text, "'inner_role'@'%' has") {
		t.Error(text)
	}
}

func mysqlFailover(t *testing.T, p mysqlPair) {
	w := p.world(t)
	p.b.Exec("SET GLOBAL super_read_only = 1", "SET GLOBAL rpl_semi_sync_replica_enabled = 1", "STOP REPLICA IO_THREAD", "START REPLICA IO_THREAD")
	p.a.Exec("SET GLOBAL rpl_semi_sync_source_timeout = 60000", "SET GLOBAL rpl_semi_sync_source_enabled = 1")
	w.until("the replica acknowledges", func() bool {
		var name, on string
		must(t, w.server(legacy).DB.QueryRow("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_source_clients'").Scan(&name, &on))
		return on == "1"
	})
	ws := w.startWriters()
	ws.waitAcked(20)
	p.b.Exec("STOP REPLICA SQL_THREAD")
	ws.waitAcked(20)
	p.a.Kill()
	w.noticed()
	if names, _ := w.lostChecks(); !slices.Contains(names, CheckReplica) {
		t.Fatalf("a replica that does not apply: %v", names)
	}
	p.b.Exec("START REPLICA SQL_THREAD")
	names, loss := w.lostChecks()
	if len(names) != 0 || loss.Received == "" || !loss.SemiSync || loss.Epoch != 3 {
		t.Fatalf("%v: %+v", names, loss)
	}
	promotion, err := w.promoteLost()
	must(t, err)
	if s := w.lives(); promotion.State() != Reversing || s.Datacenter != cloud || s.Epoch != 3 {
		t.Fatalf("it is %s, the map has %+v", promotion.State(), s)
	}
	ws.waitAcked(20)
	ws.check(cloud)
}
