package binlog

import (
	"context"
	"database/sql/driver"
	"errors"
	"os"
	"testing"
	"time"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

var server testservers.Shared

func TestMain(m *testing.M) { os.Exit(server.Run(m, os.Stderr)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a database on a server, and who reads its binlog.
type world struct {
	t      testing.TB
	root   *database.Server
	server *database.Server // as the migrator
}

func newWorld(t testing.TB) *world {
	t.Helper()
	m, name, err := server.Database(t.Context())
	must(t, err)
	return newWorldIn(t, m, name)
}

// newWorldIn is newWorld in a database that is there.
func newWorldIn(t testing.TB, m *testservers.MariaDB, name string) *world {
	t.Helper()
	w := &world{t: t}
	for user, to := range map[string]**database.Server{testservers.AccountRoot: &w.root, testservers.AccountDrover: &w.server} {
		account := database.Account{User: user}
		if user != testservers.AccountRoot {
			account.Password = testservers.Password
		}
		opened, err := database.Open("alpha", "legacy", m.Addr(), name, account)
		must(t, err)
		t.Cleanup(func() { must(t, opened.Close()) })
		*to = opened
	}
	return w
}

// exec runs statements on one connection, which starts as a person's does.
func (w *world) exec(statements ...string) {
	w.t.Helper()
	conn, err := w.root.DB.Conn(w.t.Context())
	must(w.t, err)
	defer conn.Close()
	// Its settings are changed: the pool must not have it again.
	defer func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }()
	for _, s := range append([]string{"SET NAMES utf8mb4", "SET SESSION tx_isolation='REPEATABLE-READ'"}, statements...) {
		if _, err := conn.ExecContext(w.t.Context(), s); err != nil {
			w.t.Fatalf("%.200s: %v", s, err)
		}
	}
}

func (w *world) describe(name, user string) *database.Table {
	w.t.Helper()
	table, err := w.server.Describe(w.t.Context(), fence.Sharded{Name: name, UserColumn: user}, 64)
	must(w.t, err)
	return table
}

func (w *world) end() database.Position {
	w.t.Helper()
	p, err := w.server.BinlogPosition(w.t.Context())
	must(w.t, err)
	return p
}

// read passes transactions from a position on to take, up to the end of the
// binlog as it is now.
func (w *world) read(s *Stream, take func(Transaction)) error {
	w.t.Helper()
	end := w.end()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	out, ended := make(chan Transaction), make(chan error, 1)
	reached := s.position.Clone()
	go func() { ended <- s.Run(ctx, out) }()
	for !reached.Reached(end) {
		select {
		case tx := <-out:
			take(tx)
			reached.Advance(tx.GTID)
		case err := <-ended:
			return err
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// changes reads everything from a position on.
func (w *world) changes(from database.Position, tables ...*database.Table) ([]Change, error) {
	w.t.Helper()
	var all []Change
	err := w.read(NewStream(w.server, tables, from), func(tx Transaction) { all = append(all, tx.Changes...) })
	return all, err
}
