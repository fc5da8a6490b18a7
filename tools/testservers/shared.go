package testservers

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Shared is one MariaDB server for all tests of a package: each makes a database
// of its own on it. The zero value starts it at the first call. It may be used
// concurrently.
//
//	var server testservers.Shared
//
//	func TestMain(m *testing.M) { os.Exit(server.Run(m, os.Stderr)) }
type Shared struct {
	once    sync.Once
	fleet   *Fleet
	mariadb *MariaDB
	err     error
	names   atomic.Int64
}

// Run runs the tests and ends the server, if there is one. It returns the exit
// code; why the server could not be ended is written to out.
func (s *Shared) Run(m interface{ Run() int }, out io.Writer) int {
	code := m.Run()
	if s.fleet == nil {
		return code
	}
	if err := s.fleet.Close(); err != nil {
		fmt.Fprintln(out, err)
		return max(code, 1)
	}
	return code
}

// MariaDB returns the server.
func (s *Shared) MariaDB() (*MariaDB, error) {
	s.once.Do(func() {
		ctx := context.Background() // it outlives the test that came first
		if s.fleet, s.err = New(ctx, Options{}); s.err == nil {
			s.mariadb, s.err = s.fleet.MariaDB(ctx, "shared", MariaDBOptions{})
		}
	})
	return s.mariadb, s.err
}

// Fleet returns the fleet that the server is of, for more of them.
func (s *Shared) Fleet() (*Fleet, error) {
	_, err := s.MariaDB()
	return s.fleet, err
}

// Database makes an empty database, and returns the server and its name.
func (s *Shared) Database(ctx context.Context) (*MariaDB, string, error) {
	m, err := s.MariaDB()
	if err != nil {
		return nil, "", err
	}
	name := fmt.Sprintf("app%d", s.names.Add(1))
	return m, name, m.Exec(ctx, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4")
}
