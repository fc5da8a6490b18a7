package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/internal/testrun"
	"drover/tools/testservers"
)

var server testservers.Shared

func TestMain(m *testing.M) { os.Exit(server.Run(m, os.Stderr)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// takenForMySQL is a server of MariaDB whose statements are ended as MySQL's are:
// the statement that does it is the same. app is of another account there, whose
// transactions may stand still.
func takenForMySQL(t *testing.T) (s *Server, app *sql.DB) {
	t.Helper()
	mariadb, name, err := server.Database(t.Context())
	must(t, err)
	s, err = Open("alpha", "legacy", mariadb.Addr(), name, Account{User: testservers.AccountDrover, Password: testservers.Password})
	must(t, err)
	app, err = mariadb.Open(testservers.AccountApp, name)
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(app.Close(), s.Close())) })
	d, _ := DialectOf("8.4.0")
	s.dialect.Store(&d)
	return s, app
}

func TestAStatementIsEndedAfterItsBoundOrWithItsContext(t *testing.T) {
	s, app := takenForMySQL(t)
	for _, statement := range []string{"CREATE TABLE bounded (a INT PRIMARY KEY)", "INSERT INTO bounded VALUES (1)"} {
		_, err := s.DB.ExecContext(t.Context(), statement)
		must(t, err)
	}
	holder, err := app.BeginTx(t.Context(), nil)
	must(t, err)
	defer holder.Rollback()
	_, err = holder.Exec("UPDATE bounded SET a = 1")
	must(t, err)
	for _, c := range []struct {
		name        string
		bound       time.Duration
		interrupted bool
		want        error
	}{
		{"its bound", 20 * time.Millisecond, false, ErrBound},
		{"its context", time.Hour, true, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			conn, err := s.DB.Conn(ctx)
			must(t, err)
			defer Drop(conn)
			var id int64
			must(t, conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id))
			_, err = conn.ExecContext(ctx, "SET SESSION innodb_lock_wait_timeout = 1000")
			must(t, err)
			waits := func() (n int) {
				must(t, s.DB.QueryRowContext(t.Context(),
					"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ? AND INFO LIKE 'UPDATE bounded%'", id).Scan(&n))
				return n
			}
			err = s.EndAfter(ctx, conn, c.bound, func() error {
				done := make(chan error, 1)
				go func() {
					_, err := conn.ExecContext(ctx, "UPDATE bounded SET a = 2")
					done <- err
				}()
				if c.interrupted {
					testrun.Until(t, "the statement waits", func() error {
						if waits() == 0 {
							return errors.New("it is not there")
						}
						return nil
					})
					cancel()
				}
				return <-done
			})
			if !errors.Is(err, c.want) || TimedOut(err) == c.interrupted {
				t.Errorf("error %v, want %v", err, c.want)
			}
			testrun.Until(t, "the statement is gone", func() error {
				if waits() != 0 {
					return errors.New("it still waits")
				}
				return nil
			})
		})
	}
}

func TestAStatementThatEndsInTimeIsLeftAlone(t *testing.T) {
	s, _ := takenForMySQL(t)
	want := errors.New("its own")
	for _, c := range []error{nil, want} {
		if err := s.EndAfter(t.Context(), s.DB, time.Hour, func() error { return c }); !errors.Is(err, c) {
			t.Errorf("error %v, want %v", err, c)
		}
	}
}

func TestTheBoundOfTheServersUsersIsNotTheMigrators(t *testing.T) {
	mariadb, name, err := server.Database(t.Context())
	must(t, err)
	must(t, mariadb.Exec(t.Context(), "SET GLOBAL max_statement_time = 77"))
	t.Cleanup(func() { must(t, mariadb.Exec(context.Background(), "SET GLOBAL max_statement_time = DEFAULT")) })
	s, err := Open("alpha", "legacy", mariadb.Addr(), name, Account{User: testservers.AccountDrover, Password: testservers.Password})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	var bound float64
	must(t, s.DB.QueryRowContext(t.Context(), "SELECT @@max_statement_time").Scan(&bound))
	if bound != 0 {
		t.Errorf("a session's statements are ended after %g s", bound)
	}
}

func TestWhatTheServerEndsMayHaveCommitted(t *testing.T) {
	for number, want := range map[uint16]bool{1317: true, 1927: true, 1053: true, 1969: true, 1205: false, 1213: false, 1290: false} {
		err := fmt.Errorf("wrapped: %w", &mysql.MySQLError{Number: number})
		if got := Interrupted(err); got != want {
			t.Errorf("%d: %t, want %t", number, got, want)
		}
	}
	if Interrupted(nil) || Interrupted(sql.ErrConnDone) {
		t.Error("an error that is not the server's")
	}
}
