package testservers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"
)

// The accounts that every MariaDB server has, from any host.
const (
	AccountRoot    = "root"    // everything, and no password
	AccountApp     = "app"     // reads and writes rows, and cannot write where read_only is set
	AccountDrover  = "drover"  // all privileges, SUPER and READ_ONLY ADMIN among them
	AccountReplica = "replica" // replicates
)

// Password is the password of every account but AccountRoot.
const Password = "drover-test"

// MariaDBOptions are for Fleet.MariaDB; the zero value is good.
type MariaDBOptions struct {
	// Config has my.cnf keys of the [mysqld] section, which go before the
	// defaults. Dashes and underscores are the same. A key with an empty value
	// is written as a bare key.
	Config map[string]string
}

// MariaDB is one MariaDB server.
type MariaDB struct {
	process
	serverID uint32
}

// MariaDB starts a MariaDB server and waits until it answers. The name is its
// folder's name, and its own in the fleet.
func (f *Fleet) MariaDB(ctx context.Context, name string, opts MariaDBOptions) (*MariaDB, error) {
	m := &MariaDB{serverID: f.nextServerID()}
	if err := f.add(&m.process, name); err != nil {
		return nil, err
	}
	if err := copyTree(f.template, m.dataDir()); err != nil {
		return nil, fmt.Errorf("start %s: copy the template: %w", name, err)
	}
	config, err := m.config(defaultConfig(), opts.Config)
	if err == nil {
		err = m.setUp(config)
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// MariaDBs starts MariaDB servers side by side, with default options, and
// returns them in the order of their names.
func (f *Fleet) MariaDBs(ctx context.Context, names ...string) ([]*MariaDB, error) {
	servers, failures := make([]*MariaDB, len(names)), make([]error, len(names))
	var starts sync.WaitGroup
	for i, name := range names {
		starts.Go(func() { servers[i], failures[i] = f.MariaDB(ctx, name, MariaDBOptions{}) })
	}
	starts.Wait()
	if err := errors.Join(failures...); err != nil {
		return nil, err
	}
	return servers, nil
}

// setUp makes the process a MariaDB server of that configuration, to which the
// port is added once it is known.
func (m *MariaDB) setUp(config map[string]string) error {
	m.prepare = func(port int) error {
		config["port"] = strconv.Itoa(port)
		return os.WriteFile(m.configPath(), renderConfig(config), 0o600)
	}
	m.command = func() []string { return []string{m.fleet.binaries.mariadbd, "--defaults-file=" + m.configPath()} }
	m.probe = m.answers
	m.taken = "Can't start server: Bind on TCP/IP port"
	return os.Mkdir(filepath.Join(m.dir, "tmp"), 0o700)
}

// ServerID returns the server's server_id, which no other server of the fleet
// has unless MariaDBOptions gave it.
func (m *MariaDB) ServerID() uint32 { return m.serverID }

// DSN returns a data source name for github.com/go-sql-driver/mysql. The
// database may be empty. It sets no parameters: add yours after a question mark.
func (m *MariaDB) DSN(account, database string) string {
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr, config.DBName = account, "tcp", m.Addr(), database
	if account != AccountRoot {
		config.Passwd = Password
	}
	return config.FormatDSN()
}

// Open returns a pool of connections as the account to the database, which may
// be empty. The caller closes it.
func (m *MariaDB) Open(account, database string) (*sql.DB, error) {
	config, err := mysql.ParseDSN(m.DSN(account, database))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", m.name, err)
	}
	// These servers are killed on purpose; the driver would print each time.
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", m.name, err)
	}
	return sql.OpenDB(connector), nil
}

// Exec runs the statements as root, in order and on one connection, and ends
// with the first that fails.
func (m *MariaDB) Exec(ctx context.Context, statements ...string) error {
	return m.onRoot(ctx, func(connection *sql.Conn) error {
		for _, statement := range statements {
			if _, err := connection.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s: %s: %w", m.name, shorten(statement), err)
			}
		}
		return nil
	})
}

// onRoot gives do a connection as root.
func (m *MariaDB) onRoot(ctx context.Context, do func(*sql.Conn) error) (err error) {
	pool, err := m.Open(AccountRoot, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	connection, err := pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", m.name, err)
	}
	defer connection.Close()
	return do(connection)
}

// answers connects and makes sure that it is this server that answers: a
// stranger may have taken the port. MariaDB listens long before it accepts, so
// one attempt usually waits as long as the start takes.
func (m *MariaDB) answers(ctx context.Context) error {
	return m.onRoot(ctx, func(connection *sql.Conn) error {
		var dataDir string
		if err := connection.QueryRowContext(ctx, "SELECT @@datadir").Scan(&dataDir); err != nil {
			return err
		}
		if filepath.Clean(dataDir) != m.dataDir() {
			return fmt.Errorf("another server answers on %s, with the data folder %s", m.Addr(), dataDir)
		}
		return nil
	})
}

func (m *MariaDB) configPath() string { return filepath.Join(m.dir, "my.cnf") }

func (m *MariaDB) dataDir() string { return filepath.Join(m.dir, "data") }

// config adds to the configuration what is the server's own, but for the port,
// and then the overrides.
func (m *MariaDB) config(config, overrides map[string]string) (map[string]string, error) {
	maps.Copy(config, m.fleet.binaries.config())
	config["server_id"] = strconv.FormatUint(uint64(m.serverID), 10)
	config["datadir"] = m.dataDir()
	config["tmpdir"] = filepath.Join(m.dir, "tmp")
	if os.Getuid() == 0 {
		config["user"] = "root" // it refuses to run as root unless told to
	}
	for key, value := range overrides {
		if strings.ContainsAny(key+value, "\n\r") {
			return nil, fmt.Errorf("config %q = %q: more than one line", key, value)
		}
		config[strings.ReplaceAll(key, "-", "_")] = value
	}
	id, err := strconv.ParseUint(config["server_id"], 10, 32)
	if err != nil || id == 0 {
		return nil, fmt.Errorf("config server_id = %q: want 1 to 4294967295", config["server_id"])
	}
	m.serverID = uint32(id)
	return config, nil
}

// defaultConfig is what all servers, and the template, have in common: what
// Drover asks of a shard, and otherwise little memory and no waiting for disks.
// A commit reaches the kernel before it is answered, so Kill loses nothing;
// only the machine's own crash would.
func defaultConfig() map[string]string {
	return map[string]string{
		"bind_address": loopback,
		// Relative to the data folder: a socket's whole path has 107 bytes at most.
		"socket":   "mariadbd.sock",
		"pid_file": "mariadbd.pid",

		"log_bin":             "binlog",
		"log_slave_updates":   "1",
		"relay_log":           "relay",
		"binlog_format":       "ROW",
		"binlog_row_image":    "FULL",
		"binlog_row_metadata": "FULL",
		"gtid_strict_mode":    "1",
		"slave_net_timeout":   "10", // seconds; the default is a minute without news

		"innodb_flush_log_at_trx_commit":      "2",
		"sync_binlog":                         "0",
		"innodb_use_native_aio":               "0", // io_uring is often forbidden, or short of lockable memory
		"innodb_buffer_pool_size":             "64M",
		"innodb_buffer_pool_dump_at_shutdown": "OFF",
		"innodb_buffer_pool_load_at_startup":  "OFF",
		"innodb_log_file_size":                "32M",
		"innodb_log_buffer_size":              "4M",
		"key_buffer_size":                     "1M",
		"aria_pagecache_buffer_size":          "8M",
		"performance_schema":                  "OFF",

		"max_connections":      "500",
		"max_allowed_packet":   "64M", // the driver's own limit
		"character_set_server": "utf8mb4",
		"skip_name_resolve":    "1",
	}
}

// renderConfig writes my.cnf, its keys in order.
func renderConfig(config map[string]string) []byte {
	text := []byte("[mysqld]\n")
	for _, key := range slices.Sorted(maps.Keys(config)) {
		text = append(text, key...)
		switch value := config[key]; {
		case value == "":
		case strings.ContainsAny(value, " #") && !strings.Contains(value, `"`):
			text = fmt.Appendf(text, ` = "%s"`, value)
		default:
			text = append(text, " = "+value...)
		}
		text = append(text, '\n')
	}
	return text
}

func shorten(statement string) string {
	const limit = 120
	statement = strings.Join(strings.Fields(statement), " ")
	if len(statement) > limit {
		return statement[:limit] + "…"
	}
	return statement
}
