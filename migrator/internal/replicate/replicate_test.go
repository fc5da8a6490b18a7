package replicate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/migrator/internal/preflight"
	"drover/tools/testservers"
)

// kinds are tables and other definitions of many kinds.
var kinds = []string{
	"CREATE TABLE parent (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) COLLATE utf8mb4_bin UNIQUE) AUTO_INCREMENT=1000",
	"CREATE TABLE child (id INT, part INT, parent BIGINT UNSIGNED, PRIMARY KEY (id, part), FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE)",
	"CREATE TABLE nokey (a INT, b VARCHAR(20))",
	"CREATE TABLE parts (id INT, at DATE, PRIMARY KEY (id, at)) PARTITION BY RANGE (YEAR(at)) (PARTITION p0 VALUES LESS THAN (2020), PARTITION p1 VALUES LESS THAN MAXVALUE)",
	"CREATE TABLE made (id INT PRIMARY KEY, a INT, twice INT AS (a * 2) STORED, thrice INT AS (a * 3) VIRTUAL, hidden INT INVISIBLE DEFAULT 7, CHECK (a < 100))",
	"CREATE TABLE `odd ``name` (`key` VARBINARY(40) PRIMARY KEY, `select` TEXT DEFAULT 'it''s \\\\ ü' COMMENT 'ü') DEFAULT CHARSET latin1",
	"CREATE TABLE log (n INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(40))",
	"CREATE TABLE zero (id INT AUTO_INCREMENT PRIMARY KEY, at DATETIME NOT NULL DEFAULT '0000-00-00')",
	"CREATE TABLE words (w VARCHAR(30) COLLATE utf8mb4_general_ci, n INT, PRIMARY KEY (w, n))",
	"CREATE SEQUENCE numbers START WITH 10 INCREMENT BY 3",
	"CREATE VIEW second AS SELECT id FROM child WHERE id > 1", "CREATE VIEW first AS SELECT * FROM second",
	"CREATE FUNCTION twice(x INT) RETURNS INT DETERMINISTIC RETURN x * 2",
	"CREATE PROCEDURE note(w VARCHAR(40)) INSERT INTO log (what) VALUES (w)",
	"CREATE TRIGGER t1 AFTER INSERT ON nokey FOR EACH ROW INSERT INTO log (what) VALUES ('one')",
	"CREATE TRIGGER t2 AFTER INSERT ON nokey FOR EACH ROW FOLLOWS t1 INSERT INTO log (what) VALUES (CONCAT('two', NEW.b))",
	"CREATE EVENT tick ON SCHEDULE EVERY 1 SECOND COMMENT 'x' DO INSERT INTO log (what) VALUES ('tick')",
	"CREATE DATABASE other CHARACTER SET latin1", "CREATE TABLE other.t (a CHAR(3) PRIMARY KEY)", "INSERT INTO other.t VALUES ('é')",
	"INSERT INTO parent (name) VALUES ('a'), ('b')", "INSERT INTO child SELECT seq, 1, 1000 FROM seq_1_to_25000",
	"INSERT INTO nokey VALUES (1, 'x'), (1, 'x'), (2, NULL)", "INSERT INTO parts VALUES (1, '2019-01-01'), (2, '2024-02-29')",
	"INSERT INTO made (id, a) VALUES (1, 5), (2, NULL)", "INSERT INTO `odd ``name` VALUES (X'00FF', 'é\t\n\\\\'), ('', NULL)",
	"SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO'", "INSERT INTO zero (id) VALUES (0), (-3)", "SET SESSION check_constraint_checks=0", "INSERT INTO made (id, a) VALUES (3, 500)",
	"INSERT INTO words SELECT CONCAT(CHAR(65 + seq % 26), CHAR(97 + seq % 7)), seq FROM seq_1_to_12000",
	"DO NEXTVAL(numbers)",
}

var kindTables = []string{"parent", "child", "nokey", "parts", "made", "`odd ``name`", "log", "zero", "words", "other.t"}

func TestAReplicaMadeUnderWritesEqualsItsPrimary(t *testing.T) {
	tables, typed := types()
	w := newWorld(t, nil, append(kinds, typed...)...)
	ctx, stop := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for n := range 2 {
		db, err := w.a.Open(testservers.AccountApp, "app")
		must(t, err)
		writers.Go(func() {
			defer db.Close()
			pace := time.NewTicker(10 * time.Millisecond) // leaves the processor to others
			defer pace.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				for _, statement := range []string{
					fmt.Sprintf("INSERT INTO parent (name) VALUES ('%d-%d')", n, i), fmt.Sprintf("UPDATE child SET part = part + 1 WHERE id = %d", 1+(i*37+n)%25000),
					fmt.Sprintf("DELETE FROM words WHERE n = %d", i*2+n), fmt.Sprintf("INSERT INTO nokey VALUES (%d, '%d')", n, i), "DO NEXTVAL(numbers)",
				} {
					if _, err := db.Exec(statement); err != nil {
						t.Errorf("%s: %v", statement, err)
						return
					}
				}
				<-pace.C
			}
		})
	}
	defer func() { stop(); writers.Wait() }()
	e := w.engine()
	if refused := found(t, e); refused != "" {
		t.Fatal(refused)
	}
	result, err := e.Run(t.Context())
	must(t, err)
	stop()
	writers.Wait()
	if result.State != Done || result.Adopted || result.Copied < 37000 || result.Compared < 30000 {
		t.Errorf("the result is %+v", result)
	}
	w.settled(append(tables, kindTables...)...)
	for _, query := range []string{
		"SELECT CONCAT(AUTO_INCREMENT > 1001) FROM information_schema.TABLES WHERE TABLE_NAME = 'parent'", "SELECT COUNT(*) FROM app.first", "SELECT app.twice(21)",
		"SELECT GROUP_CONCAT(TRIGGER_NAME, ACTION_ORDER, SQL_MODE, DEFINER ORDER BY ACTION_ORDER) FROM information_schema.TRIGGERS",
		"SELECT DEFINER FROM information_schema.EVENTS", "SELECT next_not_cached_value FROM app.numbers", "SELECT hidden FROM app.made WHERE id = 3",
	} {
		if a, b := w.scan(w.a, query), w.scan(w.b, query); a != b {
			t.Errorf("%s: %s against %s", query, a, b)
		}
	}
	if s := w.scan(w.b, "SELECT STATUS FROM information_schema.EVENTS"); s != "SLAVESIDE_DISABLED" {
		t.Errorf("the event on the replica is %s", s)
	}
	w.adopts()
}

// adopts: what was made is adopted, and what is spoilt is named.
func (w *world) adopts() {
	t := w.t
	e := w.engine()
	if refused := found(t, e); refused != "" {
		t.Fatal(refused)
	}
	result, err := e.Run(t.Context())
	must(t, err)
	if !result.Adopted || result.Copied != 0 || result.Tables < 60 {
		t.Errorf("the result is %+v", result)
	}
	w.exec(w.b, "SET SESSION sql_log_bin=0", "UPDATE words SET n = n + 100000 WHERE n = 11999", "DELETE FROM nokey WHERE a = 2", "UPDATE type20 SET v = NULL WHERE id = 0",
		"ALTER TABLE parts ADD x INT")
	result, err = w.engine().Run(t.Context())
	if !errors.Is(err, ErrDiffers) {
		t.Fatalf("a spoilt replica gives %v", err)
	}
	said := fmt.Sprint(result.Differ)
	for _, want := range []string{",11999 missing", ",111999 extra", "app.nokey", "app.type20 0 different", "table app.parts"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
	e = w.engine()
	e.Restart = true
	if _, err := e.Run(t.Context()); !errors.Is(err, ErrForeign) {
		t.Errorf("--restart on a replica that was finished: %v", err)
	}
}

func TestAServerWithDataOfItsOwnIsNotTouched(t *testing.T) {
	w := newWorld(t, nil, "CREATE TABLE t (a INT PRIMARY KEY)")
	must(t, w.b.Exec(t.Context(), "CREATE DATABASE mine", "CREATE TABLE mine.t (a INT PRIMARY KEY)", "CREATE USER extra@'%'"))
	before := w.scan(w.b, "SELECT CONCAT(@@gtid_binlog_state, @@read_only)")
	for _, restart := range []bool{false, true} {
		e := w.engine()
		e.Restart = restart
		if refused := found(t, e); !strings.Contains(refused, "mine") {
			t.Errorf("the preflight says %q", refused)
		}
		if _, err := e.Run(t.Context()); !errors.Is(err, ErrForeign) || !IsRefused(err) {
			t.Errorf("it gives %v", err)
		}
	}
	if after := w.scan(w.b, "SELECT CONCAT(@@gtid_binlog_state, @@read_only)"); after != before {
		t.Errorf("the server was touched: %s, then %s", before, after)
	}
	// What is empty counts as none, and what its operator did by himself is no
	// errant transaction.
	must(t, w.b.Exec(t.Context(), "DROP DATABASE mine", "CREATE DATABASE app"))
	must(t, w.a.Exec(t.Context(), "CREATE USER only@'%'"))
	results, err := w.engine().Preflight(t.Context())
	must(t, err)
	if said := fmt.Sprint(preflight.Warnings(results)); !strings.Contains(said, "only") {
		t.Errorf("the account that is missing is not named: %s", said)
	}
	_, err = w.engine().Run(t.Context())
	must(t, err)
	w.settled("t")
}

func TestARunKilledAnywhereIsTakenUpAndThePrimaryUntouched(t *testing.T) {
	w := newWorld(t, nil, "CREATE TABLE t (a INT PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_300", "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = NEW.a")
	before := w.scan(w.a, "SELECT @@gtid_binlog_pos")
	for _, point := range []string{"copying.after_read_only", "copying.after_mark", "copying.after_empty", "copying.before_define", "copying.after_define",
		"copying.before_chunk", "copying.after_chunk", "copying.before_copied", "copying.after_copied", "copied.after_history", "copied.before_follow", "copied.after_follow",
		"following.before_start", "following.after_start", "proving.after_stop", "proving.before_unmark"} {
		if !w.kills(point) {
			t.Errorf("it did not die at %s", point)
		}
		if point == "copied.after_follow" {
			must(t, w.b.Restart(t.Context())) // which starts the replication by itself
			w.exec(w.a, "INSERT INTO t VALUES (1000)")
			before = w.scan(w.a, "SELECT @@gtid_binlog_pos")
		}
	}
	if after := w.scan(w.a, "SELECT @@gtid_binlog_pos"); after != before {
		t.Errorf("the primary was written to: %s, then %s", before, after)
	}
	if !w.kills("proving.after_unmark") {
		t.Error("it did not die after the mark was dropped")
	}
	result, err := w.engine().Run(t.Context())
	must(t, err)
	if !result.Adopted {
		t.Error("it was not adopted at the end")
	}
	w.settled("t")
}

func TestAStatementThatWaitsForTheCopyEndsTheCopy(t *testing.T) {
	w := newWorld(t, nil, "CREATE TABLE t (a INT PRIMARY KEY, b CHAR(200))", "INSERT INTO t SELECT seq, REPEAT('x', 200) FROM seq_1_to_60000")
	e := w.engine()
	e.Limits.RowsPerSecond = 2000
	begun := make(chan struct{})
	var once sync.Once
	e.Report = func(ev Event) {
		if ev.Rows > 0 {
			once.Do(func() { close(begun) })
		}
	}
	ended := make(chan error)
	go func() { _, err := e.Run(t.Context()); ended <- err }()
	<-begun
	altering := time.Now()
	w.exec(w.a, "SET SESSION lock_wait_timeout=20", "ALTER TABLE t ADD c INT")
	t.Logf("the ALTER took %s", time.Since(altering))
	if err := <-ended; !errors.Is(err, ErrWaiting) && !errors.Is(err, ErrDefinition) {
		t.Fatalf("the copy gives %v", err)
	} else {
		t.Logf("%s after its begin: %v", time.Since(altering), err)
	}
	if n := w.scan(w.a, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT `a`%'"); n != "0" {
		t.Errorf("%s statements were left on the primary", n)
	}
	_, err := w.engine().Run(t.Context())
	must(t, err)
	w.settled("t")
}

func TestAnInterruptLeavesNothingRunningAndAPurgedBinlogIsSaid(t *testing.T) {
	w := newWorld(t, nil, "CREATE TABLE t (a INT PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_1000")
	ctx, cancel := context.WithCancel(t.Context())
	must(t, w.points.ArmFunc("copied.before_follow", cancel))
	if _, err := w.engine().Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("an interrupted run gives %v", err)
	}
	must(t, w.points.Arm(""))
	for _, m := range []*testservers.MariaDB{w.a, w.b} {
		for end := time.Now().Add(10 * time.Second); w.scan(m, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'drover' AND COMMAND = 'Query'") != "0"; {
			if time.Now().After(end) {
				t.Fatal("statements were left")
			}
		}
	}
	w.exec(w.a, "INSERT INTO t VALUES (0)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (-1)", "FLUSH BINARY LOGS")
	w.purge()
	e := w.engine()
	if _, err := e.Run(t.Context()); !errors.Is(err, ErrPurged) || !strings.Contains(err.Error(), "--restart") {
		t.Fatalf("a purged binlog gives %v", err)
	}
	e.Restart = true
	_, err := e.Run(t.Context())
	must(t, err)
	w.settled("t")
}

// purge leaves the primary its last binlog alone, once it can be without the
// others.
func (w *world) purge() {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		left, err := lines(w.t.Context(), w.from.DB, "SHOW BINARY LOGS")
		must(w.t, err)
		if len(left) == 1 {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("binlogs that cannot be purged: %v", left)
		}
		w.exec(w.a, "PURGE BINARY LOGS TO '"+left[len(left)-1]["Log_name"]+"'")
	}
}

func TestAReplicaWhoseDiskIsFullSaysSoAndThePrimaryGoesOn(t *testing.T) {
	w := newWorld(t, map[string]string{"innodb_file_per_table": "0", "innodb_data_file_path": "ibdata1:12M:autoextend:max:20M"},
		"CREATE TABLE t (a INT PRIMARY KEY, b CHAR(250))", "INSERT INTO t SELECT seq, REPEAT('x', 250) FROM seq_1_to_60000")
	for range 2 {
		_, err := w.engine().Run(t.Context())
		if !errNo(err, erFull) || !strings.Contains(err.Error(), "make room") {
			t.Fatalf("it gives %v", err)
		}
	}
	w.exec(w.a, "DELETE FROM t WHERE a > 100")
	_, err := w.engine().Run(t.Context())
	must(t, err)
	w.settled("t")
}

func TestARunThatWasReplacedWritesNothing(t *testing.T) {
	w := newWorld(t, nil, "CREATE TABLE t (a INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	must(t, w.points.ArmFunc("copying.before_chunk", func() {
		must(t, w.b.Exec(t.Context(), "UPDATE "+markTable+" SET token = 'another'"))
		if _, err := w.engine().Run(t.Context()); !errors.Is(err, ErrBusy) {
			t.Errorf("a second run at the same time gives %v", err)
		}
	}))
	if _, err := w.engine().Run(t.Context()); !errors.Is(err, ErrReplaced) {
		t.Fatalf("it gives %v", err)
	}
	if n := w.scan(w.b, "SELECT COUNT(*) FROM app.t"); n != "0" {
		t.Errorf("it wrote %s rows", n)
	}
}

func TestAReplicaThatIsNotAsItMustBeIsNotAdopted(t *testing.T) {
	w := newWorld(t, nil, "CREATE TABLE t (a INT PRIMARY KEY)", "CREATE TABLE my (a INT PRIMARY KEY) ENGINE=Aria")
	must(t, w.b.ReplicateFrom(t.Context(), w.a))
	w.exec(w.a, "INSERT INTO t VALUES (1)")
	for _, c := range []struct{ spoil, mend, want string }{
		{"SET GLOBAL read_only=0", "SET GLOBAL read_only=1", "takes writes of everybody"},
		{"CHANGE MASTER TO MASTER_USE_GTID=no", "CHANGE MASTER TO MASTER_USE_GTID=slave_pos", "does not replicate by GTID"},
		{"SET GLOBAL replicate_wild_ignore_table='app.x%'", "SET GLOBAL replicate_wild_ignore_table=''", "a part only"},
		{"CHANGE MASTER TO MASTER_DELAY=100", "CHANGE MASTER TO MASTER_DELAY=0", "on purpose"},
		{"CREATE DATABASE errant", "SELECT 1", "does not have"},
	} {
		must(t, w.b.Exec(t.Context(), "STOP SLAVE", c.spoil, "START SLAVE"))
		if refused := found(t, w.engine()); !strings.Contains(refused, c.want) || !strings.Contains(refused, "my (Aria)") {
			t.Errorf("%s: it says %q, want %q", c.spoil, refused, c.want)
		}
		must(t, w.b.Exec(t.Context(), "STOP SLAVE", c.mend, "START SLAVE"))
	}
}
