//go:build mysql

// Package mysqltest runs servers of MySQL for tests that are built with the tag
// mysql: they are no part of make test.
//
// A test must (1) call New, which gets the server's packages with apt-get from
// Debian's unstable suite where they are not in the cache yet (48 MB, unpacked
// 265 MB, below the user's cache folder; nothing is installed), with the C
// library that they were built for; (2) Start servers, each on a free port of
// 127.0.0.1; (3) end: the servers end with the test.
//
// It never ends a process that it did not start. A Fleet is used by one
// goroutine.
package mysqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/internal/testrun"
	"drover/tools/testservers"
)

const (
	library = "usr/lib/x86_64-linux-gnu"
	// readyMax bounds a start, which takes some 2 s; initMax the making of the
	// template, 4 s.
	readyMax  = 60 * time.Second
	readyPoll = 50 * time.Millisecond
)

// Fleet is servers of one test.
type Fleet struct {
	t    testing.TB
	root string // where the packages are unpacked
	dir  string
}

// New makes a fleet, and fails the test where MySQL cannot be had.
func New(t testing.TB) *Fleet {
	t.Helper()
	cache, err := os.UserCacheDir()
	must(t, err)
	root := filepath.Join(cache, "drover", "mysql")
	if _, err := os.Stat(filepath.Join(root, "usr/sbin/mysqld")); err != nil {
		must(t, install(t.Context(), root))
	}
	f := &Fleet{t: t, root: root, dir: t.TempDir()}
	template := f.template()
	if _, err := os.Stat(template); err == nil {
		return f
	}
	made := filepath.Join(f.dir, "template")
	out, err := f.command(append(f.options(made), "--initialize-insecure")...).CombinedOutput()
	if err != nil {
		t.Fatalf("make a template: %v\n%s", err, out)
	}
	must(t, os.Remove(filepath.Join(made, "auto.cnf")))
	must(t, run(t.Context(), "", "cp", "-a", made, template+".partial"))
	must(t, os.Rename(template+".partial", template))
	return f
}

func (f *Fleet) template() string { return filepath.Join(f.root, "template") }

// install downloads and unpacks. It takes all or nothing.
func install(ctx context.Context, root string) error {
	partial := root + ".partial"
	if err := errors.Join(os.RemoveAll(partial), os.MkdirAll(filepath.Join(partial, "apt/lists/partial"), 0o700),
		os.MkdirAll(filepath.Join(partial, "apt/cache/archives/partial"), 0o700)); err != nil {
		return err
	}
	sources, err := os.ReadFile("/etc/apt/sources.list.d/debian.sources")
	if err != nil {
		return fmt.Errorf("the machine's package sources: %w", err)
	}
	first, _, _ := strings.Cut(string(sources), "\n\n")
	list := filepath.Join(partial, "apt/unstable.sources")
	if err := os.WriteFile(list, []byte(regexp.MustCompile(`(?m)^Suites:.*$`).ReplaceAllString(first, "Suites: sid")+"\n"), 0o600); err != nil {
		return err
	}
	options := []string{"-q", "-o", "Dir::Etc::sourcelist=" + list, "-o", "Dir::Etc::sourceparts=/dev/null", "-o", "Debug::NoLocking=true",
		"-o", "Dir::State::Lists=" + filepath.Join(partial, "apt/lists"), "-o", "Dir::Cache=" + filepath.Join(partial, "apt/cache")}
	if err := run(ctx, partial, "apt-get", append(options, "update")...); err != nil {
		return err
	}
	packages, err := closure(ctx, options, "mysql-server-core", "libc6", "zlib1g")
	if err != nil {
		return err
	}
	if err := run(ctx, partial, "apt-get", append(append(options, "download"), packages...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(partial, "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := errors.Join(run(ctx, partial, "dpkg", "-x", file, partial), os.Remove(file)); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(filepath.Join(partial, "apt")), os.RemoveAll(root), os.Rename(partial, root), ctx.Err())
}

var depends = regexp.MustCompile(`(?m)^ [ |](?:Pre)?Depends: (lib[^:\s]+)`)

// closure is the packages and the libraries that they need.
func closure(ctx context.Context, options []string, packages ...string) (all []string, err error) {
	seen := map[string]bool{}
	for len(packages) != 0 {
		out, err := exec.CommandContext(ctx, "apt-cache", append(append(options, "depends", "--no-recommends", "--no-suggests", "--no-conflicts",
			"--no-breaks", "--no-replaces", "--no-enhances"), packages...)...).Output()
		if err != nil {
			return nil, fmt.Errorf("apt-cache depends: %w", err)
		}
		for _, p := range packages {
			seen[p] = true
		}
		all, packages = append(all, packages...), nil
		for _, found := range depends.FindAllStringSubmatch(string(out), -1) {
			if name := found[1]; !seen[name] && !strings.Contains(name, "perl") {
				seen[name] = true
				packages = append(packages, name)
			}
		}
	}
	return all, nil
}

func run(ctx context.Context, dir, program string, args ...string) error {
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

// command is mysqld with the C library that it was built for.
func (f *Fleet) command(args ...string) *exec.Cmd {
	libraries := filepath.Join(f.root, library)
	return exec.Command(filepath.Join(libraries, "ld-linux-x86-64.so.2"), append([]string{"--library-path", libraries, filepath.Join(f.root, "usr/sbin/mysqld")}, args...)...) //nolint:noctx // kill ends it
}

func (f *Fleet) options(data string, more ...string) []string {
	share := filepath.Join(f.root, "usr/share/mysql")
	return append([]string{"--no-defaults", "--user=root", "--datadir=" + data, "--basedir=" + filepath.Join(f.root, "usr"), "--lc-messages-dir=" + share,
		"--character-sets-dir=" + filepath.Join(share, "charsets"), "--plugin-dir=" + filepath.Join(f.root, "usr/lib/mysql/plugin"), "--secure-file-priv=",
		"--mysqlx=OFF", "--innodb-buffer-pool-size=64M", "--innodb-redo-log-capacity=16M", "--innodb-use-native-aio=0",
		"--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0", "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--log-bin=binlog",
		"--relay-log=relay", "--skip-name-resolve", "--replica-net-timeout=10", "--innodb-doublewrite=OFF"}, more...)
}

// Server is one server.
type Server struct {
	Addr string
	Root *sql.DB
	t    testing.TB
	kill func()
}

// accounts are those of testservers' MariaDB.
var accounts = []string{
	"SET SESSION sql_log_bin = 0",
	"CREATE USER root@'%'", "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION",
	"CREATE USER drover@'%' IDENTIFIED BY '" + testservers.Password + "'", "GRANT ALL ON *.* TO drover@'%' WITH GRANT OPTION",
	"CREATE USER app@'%' IDENTIFIED BY '" + testservers.Password + "'",
	"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER, EXECUTE ON *.* TO app@'%'",
	"CREATE USER replica@'%' IDENTIFIED BY '" + testservers.Password + "'", "GRANT REPLICATION SLAVE ON *.* TO replica@'%'",
	"INSTALL PLUGIN clone SONAME 'mysql_clone.so'",
	"INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'", "INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'",
}

// Start starts a server, which ends with the test.
func (f *Fleet) Start(id int) *Server {
	f.t.Helper()
	dir := filepath.Join(f.dir, fmt.Sprint(id))
	must(f.t, run(f.t.Context(), "", "cp", "-a", f.template(), dir))
	var lc net.ListenConfig
	listener, err := lc.Listen(f.t.Context(), "tcp", "127.0.0.1:0")
	must(f.t, err)
	addr := listener.Addr().String()
	must(f.t, listener.Close())
	_, port, err := net.SplitHostPort(addr)
	must(f.t, err)
	log := filepath.Join(f.dir, fmt.Sprintf("%d.log", id))
	socket, err := os.MkdirTemp("", "drover-mysql-") // a socket's path has 107 bytes at most
	must(f.t, err)
	c := f.command(f.options(dir, "--bind-address=127.0.0.1", "--port="+port, fmt.Sprintf("--server-id=%d", id),
		"--socket="+filepath.Join(socket, "s"), "--pid-file="+filepath.Join(dir, "pid"), "--log-error="+log)...)
	must(f.t, c.Start())
	ended := make(chan struct{})
	ready, done := context.WithTimeout(f.t.Context(), readyMax)
	defer done()
	go func() {
		_ = c.Wait() // it is killed, or its log says why it has ended
		close(ended)
		done()
	}()
	s := &Server{Addr: addr, t: f.t}
	killed := false
	s.kill = func() {
		if !killed {
			killed = true
			_ = c.Process.Kill()
			<-ended
		}
	}
	f.t.Cleanup(func() {
		s.kill()
		_ = os.RemoveAll(socket)
	})
	local, err := open("unix", filepath.Join(socket, "s"), testservers.AccountRoot, "")
	must(f.t, err)
	defer local.Close()
	looks := testrun.NewPace(readyPoll)
	defer looks.Stop()
	for err = local.PingContext(ready); err != nil; err = local.PingContext(ready) {
		if !looks.Wait(ready) {
			text, _ := os.ReadFile(log)
			f.t.Fatalf("start MySQL: %v\n%s", err, text)
		}
	}
	conn, err := local.Conn(f.t.Context())
	must(f.t, err)
	defer conn.Close()
	for _, statement := range accounts {
		if _, err := conn.ExecContext(f.t.Context(), statement); err != nil {
			f.t.Fatalf("%s: %v", statement, err)
		}
	}
	s.Root, err = s.Open(testservers.AccountRoot, "")
	must(f.t, err)
	f.t.Cleanup(func() { _ = s.Root.Close() })
	return s
}

// Kill ends the server as a power failure would.
func (s *Server) Kill() { s.kill() }

// Open connects as an account of testservers.
func (s *Server) Open(account, database string) (*sql.DB, error) {
	return open("tcp", s.Addr, account, database)
}

// Exec executes statements as root, in one session.
func (s *Server) Exec(statements ...string) {
	s.t.Helper()
	conn, err := s.Root.Conn(context.Background())
	must(s.t, err)
	defer func() {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // what was set must not stay in the pool
		_ = conn.Close()
	}()
	for _, statement := range statements {
		if _, err := conn.ExecContext(context.Background(), statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

func open(network, addr, account, database string) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.DBName, c.InterpolateParams, c.Logger = account, network, addr, database, true, &mysql.NopLogger{}
	if account != testservers.AccountRoot {
		c.Passwd = testservers.Password
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
