package fence

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"drover/tools/testservers"
)

// first makes the triggers of schema 1 for by_column.
func first() []string {
	const check = `    SELECT COUNT(*) INTO passed FROM (
      SELECT bucket, state, server_id FROM drover_fence FORCE INDEX (PRIMARY) WHERE bucket IN (-1, %s) LOCK IN SHARE MODE
    ) AS fence WHERE state = 'active' AND (bucket <> -1 OR server_id = @@server_id);
    IF COALESCE(passed, 0) <> 2 THEN
      SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30421, MESSAGE_TEXT = 'drover: the bucket is not active on this server';
    END IF;
`
	var statements []string
	for operation, columns := range map[string][]string{"INSERT": {"NEW.bucket"}, "UPDATE": {"OLD.bucket", "NEW.bucket"}, "DELETE": {"OLD.bucket"}} {
		var checks strings.Builder
		for _, c := range columns {
			fmt.Fprintf(&checks, check, c)
		}
		statements = append(statements, "CREATE OR REPLACE TRIGGER "+triggerNames("by_column")[operation]+" BEFORE "+operation+" ON by_column FOR EACH ROW BEGIN\n"+
			"  DECLARE passed INT DEFAULT 0;\n  IF COALESCE(SUBSTRING_INDEX(USER(), '@', 1), '') <> 'drover' THEN\n"+checks.String()+"  END IF;\nEND")
	}
	return append(statements, "ALTER TABLE drover_fence COMMENT = 'drover fence, schema 1'")
}

// TestUpgradeFromTheOlderSchemaLeavesNoMomentUnfenced has writers hammer at a
// frozen bucket, and at an active one, while the triggers go back and forth
// between the versions, some of the statements killed.
func TestUpgradeFromTheOlderSchemaLeavesNoMomentUnfenced(t *testing.T) {
	s := newTriggered(t)
	frozen, active := userIn(5, "old"), userIn(6, "old")
	var stop atomic.Bool
	var refusals, writes atomic.Int64
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for !stop.Load() {
				if _, err := s.app.ExecContext(t.Context(), "UPDATE by_column SET v = v + 1 WHERE user_id = ?", frozen); !refused(err) {
					t.Errorf("a write to a frozen bucket: got %v", err)
					return
				}
				refusals.Add(1)
				if _, err := s.app.ExecContext(t.Context(), "UPDATE by_column SET v = v + 1 WHERE user_id = ?", active); err != nil {
					t.Errorf("a write to an active bucket: got %v", err)
					return
				}
				writes.Add(1)
			}
		})
	}
	older := first()
	fresh, err := InstallStatements(tables[0].Sharded, testBuckets, "drover")
	if err != nil {
		t.Fatal(err)
	}
	for round := range 6 {
		bound := fmt.Sprintf("SET STATEMENT max_statement_time = 0.%04d FOR ", 1+round*15) // 0.1 ms and more: some are cut short
		for _, statement := range append(append([]string(nil), older...), fresh...) {
			if strings.HasPrefix(statement, "CREATE") {
				_, _ = s.root.ExecContext(t.Context(), bound+statement) // cut short or not
			}
			if n, err := Installed(t.Context(), s.root, "by_column"); n != 3 || err != nil {
				t.Fatalf("%d triggers after %q, %v", n, statement, err)
			}
		}
	}
	for _, statement := range older {
		s.must(s.root, statement)
	}
	if err := s.untilDone(func() error { return Upgrade(t.Context(), s.root) }); err != nil {
		t.Fatal(err)
	}
	for _, statement := range fresh {
		s.must(s.root, statement)
	}
	stop.Store(true)
	all.Wait()
	if refusals.Load() == 0 || writes.Load() == 0 {
		t.Error("nobody wrote: nothing was tested")
	}
	if v, err := TableVersion(t.Context(), s.root); v != SchemaVersion || err != nil {
		t.Errorf("version %d, %v", v, err)
	}
	found, err := TriggersOf(t.Context(), s.root, "by_column")
	if err != nil || len(found) != 3 || found[0].Version != SchemaVersion {
		t.Errorf("%+v, %v", found, err)
	}
	t.Logf("%d refusals, %d writes", refusals.Load(), writes.Load())
}

// untilDone tries while the table is not to be had.
func (s *shard) untilDone(try func() error) (err error) {
	for range 100 {
		var server *mysql.MySQLError
		if err = try(); !errors.As(err, &server) || server.Number != 1969 && server.Number != 1205 {
			return err
		}
	}
	return err
}

func TestUpgradeWaitsShortlyForOpenTransactions(t *testing.T) {
	s := newShard(t)
	s.must(s.root, "ALTER TABLE drover_fence COMMENT = 'drover fence, schema 1'")
	writer := s.begin(s.app)
	if _, err := CheckWrite(t.Context(), writer, 5); err != nil {
		t.Fatal(err)
	}
	var server *mysql.MySQLError
	if err := Upgrade(t.Context(), s.root); !errors.As(err, &server) || server.Number != 1969 {
		t.Fatalf("got %v, want the server's timeout", err)
	}
	if err := writer.Commit(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Create(t.Context(), s.root); err != nil {
			t.Fatal(err)
		}
	}
	s.must(s.root, "ALTER TABLE drover_fence COMMENT = 'drover fence, schema 3'")
	if err := Upgrade(t.Context(), s.root); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v", err)
	}
	s.must(s.root, "ALTER TABLE drover_fence COMMENT = 'mine'")
	if err := Upgrade(t.Context(), s.root); !errors.Is(err, ErrForeign) {
		t.Errorf("got %v", err)
	}
	s.must(s.root, "DROP TABLE drover_fence")
	if _, err := TableVersion(t.Context(), s.root); !errors.Is(err, ErrNoFence) {
		t.Errorf("got %v", err)
	}
}

func TestNamesLikeTheMigratorsDoNotPass(t *testing.T) {
	s := newTriggered(t)
	frozen := userIn(5, "old")
	for _, name := range []string{"DROVER", "Drover", "dröver", "drover@x", "drover@localhost", "x@drover", "drover2", "drove", "@drover", "drover_"} {
		s.must(s.root, "CREATE USER '"+name+"'@'%' IDENTIFIED BY '"+testservers.Password+"'")
		s.must(s.root, "GRANT ALL PRIVILEGES ON *.* TO '"+name+"'@'%'")
		db := s.open(name)
		if _, err := db.ExecContext(t.Context(), "UPDATE by_column SET v = v + 1 WHERE user_id = ?", frozen); !refused(err) {
			t.Errorf("%q passes for drover: %v", name, err)
		}
		db.Close()
		s.must(s.root, "DROP USER '"+name+"'@'%'")
	}
	// Another host's account of the name is the migrator's too.
	s.must(s.root, "CREATE USER 'drover'@'127.0.0.1' IDENTIFIED BY '"+testservers.Password+"'")
	s.must(s.root, "GRANT ALL PRIVILEGES ON *.* TO 'drover'@'127.0.0.1'")
	defer s.must(s.root, "DROP USER 'drover'@'127.0.0.1'")
	s.must(s.open("drover"), "UPDATE by_column SET v = v + 1 WHERE user_id = ?", frozen)
}

func TestRoutinesOfTheMigratorDoNotCarryOthersThrough(t *testing.T) {
	s := newTriggered(t)
	frozen := userIn(5, "old")
	for _, statement := range []string{
		"CREATE DEFINER = drover@'%' PROCEDURE write_as(u VARBINARY(256)) SQL SECURITY DEFINER UPDATE by_column SET v = 99 WHERE user_id = u",
		"CREATE DEFINER = drover@'%' SQL SECURITY DEFINER VIEW seen AS SELECT user_id, v FROM by_column",
		"GRANT EXECUTE ON PROCEDURE " + s.name + ".write_as TO app@'%'",
		"CREATE TABLE fires (u VARBINARY(256))",
		"CREATE DEFINER = drover@'%' TRIGGER fires_on BEFORE INSERT ON fires FOR EACH ROW UPDATE by_column SET v = 98 WHERE user_id = NEW.u",
	} {
		s.must(s.root, statement)
	}
	for _, query := range []string{"CALL write_as(?)", "UPDATE seen SET v = 97 WHERE user_id = ?", "INSERT INTO fires VALUES (?)"} {
		if _, err := s.app.ExecContext(t.Context(), query, frozen); !refused(err) {
			t.Errorf("%s: got %v", query, err)
		}
	}
	s.must(s.drover, "CALL write_as(?)", frozen)
}

func TestTriggersRefuseWithoutTheFencesTable(t *testing.T) {
	s := newTriggered(t)
	s.must(s.root, "RENAME TABLE drover_fence TO gone")
	for _, table := range tables {
		if _, err := s.app.ExecContext(t.Context(), "INSERT INTO "+table.Name+" "+insertValues(table.insert, userIn(6, "new"), 1)); err == nil {
			t.Errorf("%s: a write passes without a fence", table.Name)
		}
	}
	s.must(s.root, "CREATE TABLE drover_fence (bucket INT)") // of the name, and nothing else
	if _, err := s.app.ExecContext(t.Context(), "DELETE FROM by_user"); err == nil {
		t.Error("a write passes by a table that is not the fence")
	}
}

func TestAnUpdateThatStaysInItsBucketLooksOnceAndLocksBothRows(t *testing.T) {
	s := newTriggered(t)
	writer := s.begin(s.app)
	s.must(writer, "UPDATE by_user SET v = 2 WHERE user_id = ?", userIn(6, "old"))
	for _, bucket := range []string{"-1", "6"} {
		err := s.root.QueryRowContext(t.Context(), "SELECT bucket FROM drover_fence WHERE bucket = "+bucket+" FOR UPDATE NOWAIT").Scan(new(int))
		var server *mysql.MySQLError
		if !errors.As(err, &server) || server.Number != 1205 {
			t.Errorf("row %s is not locked: %v", bucket, err)
		}
	}
}
