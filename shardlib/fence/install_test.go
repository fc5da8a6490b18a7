package fence

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
)

// tables are of the three kinds.
var tables = []struct {
	Sharded
	create string
	insert string // takes the bucket, the user id and a value
	where  string // the user id
}{
	{
		Sharded{Name: "by_column", BucketColumn: "bucket"},
		"CREATE TABLE by_column (bucket INT UNSIGNED NULL, user_id VARBINARY(256) NOT NULL, v INT, PRIMARY KEY (user_id))",
		"(bucket, user_id, v) VALUES (%[1]s, %[2]s, %[3]d)", "",
	},
	{
		Sharded{Name: "generated", BucketColumn: "bucket"},
		"CREATE TABLE generated (bucket INT UNSIGNED AS (CRC32(user_id) % 16) STORED, user_id VARBINARY(256) NOT NULL, v INT, PRIMARY KEY (user_id))",
		"(user_id, v) VALUES (%[2]s, %[3]d)", "",
	},
	{
		Sharded{Name: "by_user", UserColumn: "user_id"},
		"CREATE TABLE by_user (user_id VARBINARY(256) NOT NULL, v INT, PRIMARY KEY (user_id))",
		"(user_id, v) VALUES (%[2]s, %[3]d)", "",
	},
}

func insertValues(format string, user []byte, v int) string {
	return fmt.Sprintf(format, fmt.Sprint(bucketOf(user)), quoted(user), v)
}

// newTriggered has all tables with their triggers; bucket 5 is frozen, and has
// one row already.
func newTriggered(t *testing.T) *shard {
	s := newShard(t)
	for _, table := range tables {
		s.must(s.root, table.create)
		if err := Install(t.Context(), s.root, table.Sharded, testBuckets, "drover"); err != nil {
			t.Fatal(err)
		}
		n, err := Installed(t.Context(), s.root, table.Name)
		if err != nil || n != 3 {
			t.Fatal(n, err)
		}
		s.must(s.app, "INSERT INTO "+table.Name+" "+insertValues(table.insert, userIn(5, "old"), 1))
		s.must(s.app, "INSERT INTO "+table.Name+" "+insertValues(table.insert, userIn(6, "old"), 1))
	}
	s.setState(5, "frozen")
	return s
}

func refused(err error) bool {
	var server *mysql.MySQLError
	return errors.As(err, &server) && server.Number == RefusedNumber && errors.Is(Refused(5, err), ErrRefused)
}

func TestTriggersRefuseEveryKindOfWrite(t *testing.T) {
	s := newTriggered(t)
	frozen, active, active2 := userIn(5, "old"), userIn(6, "old"), userIn(7, "new")
	for _, table := range tables {
		name := table.Name
		values := func(user []byte, v int) string { return insertValues(table.insert, user, v) }
		row := func(user []byte, v int) string { return values(user, v)[strings.Index(values(user, v), "VALUES")+6:] }
		move := func(from, to []byte) string {
			set := "user_id = " + quoted(to)
			if name == "by_column" {
				set += fmt.Sprintf(", bucket = %d", bucketOf(to))
			}
			return "UPDATE " + name + " SET " + set + " WHERE user_id = " + quoted(from)
		}
		columns := strings.TrimSpace(table.insert[:strings.Index(table.insert, "VALUES")])
		source := fmt.Sprintf("%s SELECT %s%s, 9", columns, map[bool]string{true: "5, "}[name == "by_column"], quoted(userIn(5, "new")))
		for _, c := range []struct {
			what, query string
			pass        bool
		}{
			{"insert", "INSERT INTO " + name + " " + values(userIn(5, "new"), 2), false},
			{"insert ignore", "INSERT IGNORE INTO " + name + " " + values(userIn(5, "new"), 2), false},
			{"insert many, the last one frozen", "INSERT INTO " + name + " " + values(active2, 2) + "," + row(userIn(8, "new"), 2) + "," + row(userIn(5, "new"), 2), false},
			{"insert ignore many", "INSERT IGNORE INTO " + name + " " + values(active2, 2) + "," + row(userIn(5, "new"), 2), false},
			{"insert select", "INSERT INTO " + name + " " + source, false},
			{"on duplicate", "INSERT INTO " + name + " " + values(frozen, 2) + " ON DUPLICATE KEY UPDATE v = 7", false},
			{"on duplicate moves away", "INSERT INTO " + name + " " + values(active, 2) + " ON DUPLICATE KEY UPDATE " +
				strings.TrimSuffix(strings.TrimPrefix(move(active, userIn(5, "new")), "UPDATE "+name+" SET "), " WHERE user_id = "+quoted(active)), false},
			{"replace", "REPLACE INTO " + name + " " + values(frozen, 2), false},
			{"update", "UPDATE " + name + " SET v = 2 WHERE user_id = " + quoted(frozen), false},
			{"update ignore", "UPDATE IGNORE " + name + " SET v = 2 WHERE user_id = " + quoted(frozen), false},
			{"update all", "UPDATE " + name + " SET v = v + 1", false},
			{"update in a join", "UPDATE " + name + " a JOIN " + name + " b ON a.user_id = b.user_id SET a.v = 9", false},
			{"move into", move(active, userIn(5, "new")), false},
			{"move out of", move(frozen, userIn(8, "new")), false},
			{"delete", "DELETE FROM " + name + " WHERE user_id = " + quoted(frozen), false},
			{"delete ignore", "DELETE IGNORE FROM " + name + " WHERE user_id = " + quoted(frozen), false},
			{"delete all", "DELETE FROM " + name, false},
			{"insert elsewhere", "INSERT INTO " + name + " " + values(active2, 2), true},
			{"replace elsewhere", "REPLACE INTO " + name + " " + values(active2, 3), true},
			{"on duplicate elsewhere", "INSERT INTO " + name + " " + values(active2, 2) + " ON DUPLICATE KEY UPDATE v = 7", true},
			{"update elsewhere", "UPDATE " + name + " SET v = 2 WHERE user_id = " + quoted(active2), true},
			{"move between active ones", move(active2, userIn(8, "new")), true},
			{"delete elsewhere", "DELETE FROM " + name + " WHERE user_id = " + quoted(userIn(8, "new")), true},
		} {
			before := s.dump(name)
			_, err := s.app.ExecContext(t.Context(), c.query)
			if c.pass && err != nil {
				t.Errorf("%s, %s: %v\n%s", name, c.what, err, c.query)
			}
			if !c.pass && !refused(err) {
				t.Errorf("%s, %s: got %v, want a refusal\n%s", name, c.what, err, c.query)
			}
			if after := s.dump(name); !c.pass && before != after {
				t.Errorf("%s, %s: it was refused and changed\n%s to\n%s", name, c.what, before, after)
			}
		}
	}
}

func (s *shard) dump(table string) string {
	s.t.Helper()
	var text string
	err := s.root.QueryRowContext(s.t.Context(),
		"SELECT COALESCE(GROUP_CONCAT(CONCAT(user_id, '=', COALESCE(v, 'NULL')) ORDER BY user_id SEPARATOR ' '), '') FROM "+table).Scan(&text)
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

func TestTriggersFailClosed(t *testing.T) {
	s := newTriggered(t)
	user := userIn(6, "new")
	for _, c := range []struct {
		name, breaks string
	}{
		{"no row of the bucket", "DELETE FROM " + Table + " WHERE bucket = 6"},
		{"no row of the shard", "DELETE FROM " + Table + " WHERE bucket = -1"},
		{"no rows", "DELETE FROM " + Table},
		{"unknown state", "UPDATE " + Table + " SET state = 'thawing' WHERE bucket = 6"},
		{"state in capitals", "UPDATE " + Table + " SET state = 'ACTIVE' WHERE bucket = 6"},
		{"incoming", "UPDATE " + Table + " SET state = 'incoming' WHERE bucket = 6"},
		{"moved", "UPDATE " + Table + " SET state = 'moved' WHERE bucket = 6"},
		{"shard frozen", "UPDATE " + Table + " SET state = 'frozen' WHERE bucket = -1"},
		{"another server's shard", "UPDATE " + Table + " SET server_id = server_id + 1 WHERE bucket = -1"},
	} {
		s.must(s.root, "CREATE OR REPLACE TABLE saved AS SELECT * FROM "+Table)
		s.must(s.root, c.breaks)
		for _, table := range tables {
			if _, err := s.app.ExecContext(t.Context(), "INSERT INTO "+table.Name+" "+insertValues(table.insert, user, 1)); !refused(err) {
				t.Errorf("%s, %s: got %v", c.name, table.Name, err)
			}
			if _, err := s.drover.ExecContext(t.Context(), "INSERT INTO "+table.Name+" "+insertValues(table.insert, user, 1)); err != nil {
				t.Errorf("%s, %s: the migrator's account: %v", c.name, table.Name, err)
			}
			s.must(s.drover, "DELETE FROM "+table.Name+" WHERE user_id = ?", user)
		}
		s.must(s.root, "REPLACE INTO "+Table+" SELECT * FROM saved")
	}
	for _, bucket := range []string{"NULL", "16", "4294967295"} { // none, not of the map, the largest
		query := fmt.Sprintf("INSERT INTO by_column (bucket, user_id, v) VALUES (%s, 'x', 1)", bucket)
		if _, err := s.app.ExecContext(t.Context(), query); !refused(err) {
			t.Errorf("bucket %s: got %v", bucket, err)
		}
	}
	s.must(s.root, "CREATE TABLE signed (bucket INT NULL, v INT)")
	if err := Install(t.Context(), s.root, Sharded{Name: "signed", BucketColumn: "bucket"}, testBuckets, "drover"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.app.ExecContext(t.Context(), "INSERT INTO signed VALUES (-1, 1)"); !refused(err) {
		t.Errorf("the bucket number of the shard's row: got %v", err)
	}
}

func TestOnlyTheMigratorsAccountPasses(t *testing.T) {
	s := newTriggered(t)
	for _, table := range tables {
		query := "UPDATE " + table.Name + " SET v = v + 1 WHERE user_id = ?"
		for _, account := range []string{"app", "root"} {
			if _, err := s.open(account).ExecContext(t.Context(), query, userIn(5, "old")); !refused(err) {
				t.Errorf("%s, %s: got %v", table.Name, account, err)
			}
		}
		if _, err := s.drover.ExecContext(t.Context(), query, userIn(5, "old")); err != nil {
			t.Errorf("%s: %v", table.Name, err)
		}
	}
}

func TestFreezeWaitsForAWriterThatATriggerPassed(t *testing.T) {
	s := newTriggered(t)
	for i, table := range tables {
		bucket := uint32(8 + i)
		writer := s.begin(s.app)
		s.must(writer, "INSERT INTO "+table.Name+" "+insertValues(table.insert, userIn(bucket, "w"), 1))
		change := Change{Buckets: []bucketmap.BucketID{bucketmap.BucketID(bucket)}, From: Active, To: Frozen}
		var server *mysql.MySQLError
		if err := TransitionWithin(t.Context(), s.drover, freezeBound, change); !errors.As(err, &server) || server.Number != 1969 {
			t.Fatalf("%s: got %v, want error 1969: the trigger took no lock", table.Name, err)
		}
		frozen := make(chan error, 1)
		go func() { frozen <- Transition(t.Context(), s.drover, change) }()
		s.waiting("UPDATE drover_fence")
		// A second statement of the same writer passes while the freeze waits.
		s.must(writer, "UPDATE "+table.Name+" SET v = 2 WHERE user_id = ?", userIn(bucket, "w"))
		if err := writer.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-frozen; err != nil {
			t.Fatal(err)
		}
		if _, err := s.app.ExecContext(t.Context(), "UPDATE "+table.Name+" SET v = 3 WHERE user_id = ?", userIn(bucket, "w")); !refused(err) {
			t.Fatalf("%s: got %v", table.Name, err)
		}
	}
}

func TestWriterAtATriggerWaitsForAFreezeAndIsRefused(t *testing.T) {
	s := newTriggered(t)
	for i, table := range tables {
		bucket := bucketmap.BucketID(8 + i)
		// The writer's snapshot is older than the freeze: a plain read would
		// still see the row active.
		writer := s.begin(s.app)
		s.must(writer, "SELECT COUNT(*) INTO @n FROM "+Table)
		mover := s.begin(s.drover)
		if err := Transition(t.Context(), mover, Change{Buckets: []bucketmap.BucketID{bucket}, From: Active, To: Frozen}); err != nil {
			t.Fatal(err)
		}
		wrote := make(chan error, 1)
		go func() {
			_, err := writer.ExecContext(t.Context(), "INSERT INTO "+table.Name+" "+insertValues(table.insert, userIn(uint32(bucket), "w"), 1))
			wrote <- err
		}()
		s.waiting("LOCK IN SHARE MODE") // the statement within the trigger
		if err := mover.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-wrote; !refused(err) {
			t.Fatalf("%s: got %v", table.Name, err)
		}
		writer.Rollback()
	}
}

func TestTriggersReadTheFenceByKey(t *testing.T) {
	s := newTriggered(t)
	writer := s.begin(s.app)
	s.must(writer, "INSERT INTO by_user "+insertValues(tables[2].insert, userIn(6, "w"), 1))
	var others []bucketmap.BucketID
	for b := range bucketmap.BucketID(testBuckets) {
		if b != 5 && b != 6 {
			others = append(others, b)
		}
	}
	if err := TransitionWithin(t.Context(), s.drover, "SET STATEMENT max_statement_time=5 FOR ",
		Change{Buckets: others, From: Active, To: Frozen}); err != nil {
		t.Fatal(err)
	}
}

func TestLongTableNamesHaveTriggersOfTheirOwn(t *testing.T) {
	s := newShard(t)
	long := strings.Repeat("t", identifierMax-1)
	wide := strings.Repeat("ß", identifierMax)
	names := map[string]string{}
	for _, table := range []string{long + "1", long + "2", long[:44], long[:45], wide, "back`tick"} {
		s.must(s.root, "CREATE TABLE "+Quote(table)+" (user_id VARBINARY(256) PRIMARY KEY, v INT)")
		if err := Install(t.Context(), s.root, Sharded{Name: table, UserColumn: "user_id"}, testBuckets, "drover"); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		for operation, name := range triggerNames(table) {
			if n := utf8.RuneCountInString(name); n > identifierMax {
				t.Errorf("%s: %d characters", name, n)
			}
			if other, taken := names[name]; taken {
				t.Errorf("%s is of %s and of %s %s", name, other, table, operation)
			}
			names[name] = table
		}
		if n, err := Installed(t.Context(), s.root, table); n != 3 || err != nil {
			t.Errorf("%s: %d, %v", table, n, err)
		}
		if err := Remove(t.Context(), s.root, table); err != nil {
			t.Fatal(err)
		}
		if n, err := Installed(t.Context(), s.root, table); n != 0 || err != nil {
			t.Errorf("%s: %d, %v", table, n, err)
		}
	}
}

func TestInstallRefusesWhatItCannotTellApart(t *testing.T) {
	for _, c := range []struct {
		table   Sharded
		account string
	}{
		{Sharded{Name: "t"}, "drover"},
		{Sharded{Name: "t", BucketColumn: "b", UserColumn: "u"}, "drover"},
		{Sharded{Name: "t", BucketColumn: "b"}, ""},
		{Sharded{Name: "t", BucketColumn: "b"}, "a' OR '1"},
		{Sharded{Name: "t", BucketColumn: "b"}, "drover@localhost"},
		{Sharded{Name: "t", BucketColumn: "b"}, strings.Repeat("a", 81)},
	} {
		if statements, err := InstallStatements(c.table, testBuckets, c.account); err == nil {
			t.Errorf("%+v, %q: got %d statements", c.table, c.account, len(statements))
		}
	}
}

func TestCreateAndActivateLeaveWhatIsThere(t *testing.T) {
	s := newShard(t)
	s.setState(3, "moved")
	s.must(s.root, "UPDATE "+Table+" SET epoch = 9, server_id = 77 WHERE bucket = -1")
	if err := Create(t.Context(), s.root); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := Activate(t.Context(), s.root, 0, 30_000); err != nil { // several statements
		t.Fatal(err)
	}
	t.Logf("30,001 rows in %v", time.Since(start))
	rows, err := AllRows(t.Context(), s.root)
	if err != nil || len(rows) != 30_002 {
		t.Fatal(len(rows), err)
	}
	if rows[0].Epoch != 9 || rows[0].ServerID != 77 || rows[1+3].State != Moved || rows[30_001].Bucket != 30_000 {
		t.Fatalf("got %+v, %+v", rows[0], rows[4])
	}
}

func TestTokensReadBackAsTheyWereWritten(t *testing.T) {
	for _, token := range []Token{{}, {"m", 0}, {"a.b-c_D", 4294967295}} {
		got, err := ParseToken(token.String())
		if err != nil || got != token {
			t.Errorf("%v: got %v, %v", token, got, err)
		}
	}
	for _, text := range []string{"m", "/1", "m/", "m/x", "m/-1", "m/4294967296", "m/1/2"} {
		if got, err := ParseToken(text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
}
