package fence

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"

	"drover/tools/testservers"
)

// primary is the server of all tests; each test has a database of its own on
// it, and so a fence of its own.
var primary *testservers.MariaDB

func TestMain(m *testing.M) { os.Exit(withServers(m)) }

func withServers(m *testing.M) int {
	fleet, err := testservers.New(context.Background(), testservers.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = fleet.Close() }() // for what ends early: after the tests it is asked
	if primary, err = fleet.MariaDB(context.Background(), "primary", testservers.MariaDBOptions{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := fleet.Close(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

const testBuckets = 16

// shard is one test's database, with a fence that has every bucket active.
type shard struct {
	t           *testing.T
	name        string
	root        *sql.DB
	app, drover *sql.DB // as the application's and the migrator's accounts
}

var databases atomic.Int32

func newShard(t *testing.T, statements ...string) *shard {
	t.Helper()
	s := &shard{t: t, name: fmt.Sprintf("test_%d", databases.Add(1))}
	if err := primary.Exec(t.Context(), "CREATE DATABASE "+s.name); err != nil {
		t.Fatal(err)
	}
	s.root, s.app, s.drover = s.open(testservers.AccountRoot), s.open(testservers.AccountApp), s.open(testservers.AccountDrover)
	if err := Create(t.Context(), s.root); err != nil {
		t.Fatal(err)
	}
	if err := Activate(t.Context(), s.root, 0, testBuckets-1); err != nil {
		t.Fatal(err)
	}
	for _, statement := range statements {
		s.must(s.root, statement)
	}
	return s
}

// open has arguments sent in the statement's text, as shardlib does.
func (s *shard) open(account string) *sql.DB {
	s.t.Helper()
	c, err := mysql.ParseDSN(primary.DSN(account, s.name))
	if err != nil {
		s.t.Fatal(err)
	}
	c.InterpolateParams, c.Logger = true, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		s.t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	s.t.Cleanup(func() { db.Close() })
	return db
}

func (s *shard) must(q Querier, query string, args ...any) {
	s.t.Helper()
	if _, err := q.ExecContext(s.t.Context(), query, args...); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

func (s *shard) setState(bucket int64, state string) {
	s.t.Helper()
	s.must(s.root, "UPDATE "+Table+" SET state = ? WHERE bucket = ?", state, bucket)
}

func (s *shard) begin(db *sql.DB) *sql.Tx {
	s.t.Helper()
	tx, err := db.BeginTx(s.t.Context(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { tx.Rollback() })
	return tx
}

// trxPoll is longer than the 100 ms without a reader after which InnoDB renews
// what information_schema shows of transactions.
const trxPoll = 120 * time.Millisecond

// waiting returns once a statement with this text waits for a lock.
func (s *shard) waiting(text string) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(trxPoll) {
		var n int
		err := s.root.QueryRowContext(s.t.Context(), "SELECT COUNT(*) FROM information_schema.INNODB_TRX "+
			"WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE ?", "%"+text+"%").Scan(&n)
		if err != nil {
			s.t.Fatal(err)
		}
		if n != 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no statement with %q waits for a lock", text)
		}
	}
}

// userIn returns a user id of a bucket, other ones by other prefixes.
func userIn(bucket uint32, prefix string) []byte {
	for i := 0; ; i++ {
		user := fmt.Appendf(nil, "%s%d", prefix, i)
		if uint32(bucketOf(user)) == bucket {
			return user
		}
	}
}

func quoted(user []byte) string { return "'" + strings.ReplaceAll(string(user), "'", "''") + "'" }
