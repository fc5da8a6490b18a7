package pairs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"drover/internal/pause"
	"drover/tools/testservers"
)

// errDiffers says that a test left something behind on a server.
var errDiffers = errors.New("the server is not as it was")

// state is what of a server must be as it was: settings, accounts, routines.
type state map[string]string

// ownSettings are what renew puts back by itself.
var ownSettings = map[string]bool{
	"read_only": true, "gtid_binlog_pos": true, "gtid_binlog_state": true, "gtid_current_pos": true, "gtid_slave_pos": true,
}

// ownTables are the server's own tables that tests may change, each with the
// columns of its that are looked at.
var ownTables = map[string]string{
	"global_priv": "Host, User, Priv", "db": "Host, Db, User", "roles_mapping": "Host, User, Role", "tables_priv": "Host, Db, User, Table_name",
	"proxies_priv": "Host, User", "plugin": "name, dl", "func": "name", "servers": "Server_name",
}

// look reads a server's state.
func look(ctx context.Context, m *testservers.MariaDB) (state, error) {
	db, err := m.Open(testservers.AccountRoot, "")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	found := state{}
	err = each(ctx, db, "SHOW GLOBAL VARIABLES", func(row []string) {
		if !ownSettings[row[0]] {
			found[row[0]] = row[1]
		}
	})
	for table, columns := range ownTables {
		err = errors.Join(err, each(ctx, db, "SELECT "+columns+" FROM mysql."+table, func(row []string) {
			found[table+"\x00"+strings.Join(row, "\x00")] = ""
		}))
	}
	return found, err
}

// stop ends the replication of a server that is otherwise as it began.
func stop(ctx context.Context, m *testservers.MariaDB, began state) error {
	found, err := look(ctx, m)
	if err != nil {
		return err
	}
	if !maps.Equal(found, began) {
		return fmt.Errorf("%s: %w", m.Name(), errDiffers)
	}
	return m.Exec(ctx, "STOP SLAVE", "RESET SLAVE ALL")
}

// empty makes a server as new that replicates from nobody.
func empty(ctx context.Context, m *testservers.MariaDB, _ state) error {
	if err := alone(ctx, m); err != nil {
		return err
	}
	statements := []string{"SET SESSION lock_wait_timeout = 5", "SET SESSION sql_log_bin = 0"}
	schemas, err := databases(ctx, m)
	if err != nil {
		return err
	}
	for _, name := range schemas {
		statements = append(statements, "DROP DATABASE `"+strings.ReplaceAll(name, "`", "``")+"`")
	}
	return m.Exec(ctx, append(statements, "RESET MASTER", "SET GLOBAL gtid_slave_pos = ''", "SET GLOBAL read_only = 0")...)
}

// goneEvery is between two looks whether somebody who was killed has gone.
const goneEvery = 2 * time.Millisecond

// alone ends everybody else's connections, and waits until they are gone: a killed
// test's may hold locks.
func alone(ctx context.Context, m *testservers.MariaDB) error {
	db, err := m.Open(testservers.AccountRoot, "")
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx) // another one of this pool would be somebody else
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		var kills []string
		if err := each(ctx, conn, "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND USER NOT IN ('system user', 'event_scheduler')",
			func(row []string) { kills = append(kills, "KILL "+row[0]) }); err != nil || len(kills) == 0 {
			return err
		}
		for _, kill := range kills {
			_, _ = conn.ExecContext(ctx, kill) // it may have gone by itself
		}
		if err := pause.For(ctx, goneEvery); err != nil {
			return fmt.Errorf("%s: %d connections do not end: %w", m.Name(), len(kills), err)
		}
	}
}

// databases returns those that are not the server's own.
func databases(ctx context.Context, m *testservers.MariaDB) (names []string, err error) {
	db, err := m.Open(testservers.AccountRoot, "")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	err = each(ctx, db, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')",
		func(row []string) { names = append(names, row[0]) })
	return names, err
}

// querier is a pool or one connection of it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each passes the rows of a query to take, as text.
func each(ctx context.Context, db querier, query string, take func(row []string)) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		row := make([]string, len(columns))
		for i, v := range values {
			row[i] = v.String
		}
		take(row)
	}
	return rows.Err()
}
