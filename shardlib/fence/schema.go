package fence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"drover/bucketmap"
)

// createTable makes the fence's table. epoch and state have no default: a row
// is written whole.
func createTable() string {
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s (
  bucket    INT NOT NULL COMMENT '%d is the whole shard',
  state     VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  epoch     BIGINT UNSIGNED NOT NULL,
  move_id   VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  server_id INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of the primary, in the row of the shard',
  PRIMARY KEY (bucket)
) ENGINE=InnoDB COMMENT='%s'`, Table, ShardRow, comment(SchemaVersion))
}

func comment(version int) string { return fmt.Sprintf("drover fence, schema %d", version) }

// Create makes the table and the shard's row, active for this server, where
// they are not there yet, and brings an older table to this version. Rows that
// are there are left alone.
func Create(ctx context.Context, q Querier) error {
	if _, err := q.ExecContext(ctx, createTable()); err != nil {
		return fmt.Errorf("fence: create: %w", err)
	}
	if err := Upgrade(ctx, q); err != nil {
		return err
	}
	if _, err := q.ExecContext(ctx, fmt.Sprintf("INSERT IGNORE INTO %s (bucket, state, epoch, server_id) VALUES (%d, '%s', %d, @@server_id)",
		Table, ShardRow, Active, bucketmap.FirstEpoch)); err != nil {
		return fmt.Errorf("fence: create: %w", err)
	}
	return nil
}

var (
	// ErrNoFence is returned where the database has no fence table.
	ErrNoFence = errors.New("there is no " + Table + " table; run migrator init")
	// ErrNewer is returned for a fence of a newer version of Drover.
	ErrNewer = errors.New("the fence was made by a newer version of Drover; use that one")
	// ErrForeign is returned for a table of the fence's name that is not Drover's.
	ErrForeign = errors.New("the table " + Table + " is not Drover's: its comment does not say a schema version")
)

var versioned = regexp.MustCompile(`drover fence, schema (\d{1,9})\b`)

// parseVersion finds the version in a table's comment or a trigger's body.
func parseVersion(text string) (int, bool) {
	m := versioned.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	return n, err == nil
}

// TableVersion returns the version of the fence's table, as its comment says.
func TableVersion(ctx context.Context, q Querier) (int, error) {
	rows, err := q.QueryContext(ctx, "SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '"+Table+"'")
	if err != nil {
		return 0, fmt.Errorf("fence: read the table's version: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return 0, errors.Join(rows.Err(), fmt.Errorf("fence: %w", ErrNoFence))
	}
	var text string
	if err := rows.Scan(&text); err != nil {
		return 0, fmt.Errorf("fence: read the table's version: %w", err)
	}
	version, ok := parseVersion(text)
	if !ok {
		return 0, fmt.Errorf("fence: %w", ErrForeign)
	}
	return version, rows.Err()
}

// upgradeBound bounds the wait for the table: while the change waits for
// transactions that have looked at the fence, every new one waits behind it.
const upgradeBound = "SET STATEMENT lock_wait_timeout = 1, max_statement_time = 0.1 FOR "

// Upgrade brings the fence's table to this version, in place, without a copy,
// and without a moment in which it is not there. It waits for a tenth of a
// second at most for open transactions, and fails with the server's timeout
// when they do not end: try again. A table of this version is left alone.
func Upgrade(ctx context.Context, q Querier) error {
	version, err := TableVersion(ctx, q)
	switch {
	case err != nil:
		return err
	case version == SchemaVersion:
		return nil
	case version > SchemaVersion:
		return fmt.Errorf("fence: the table has schema %d, this program knows %d: %w", version, SchemaVersion, ErrNewer)
	}
	// Between 1 and 2 the table's columns are the same.
	if _, err := q.ExecContext(ctx, upgradeBound+fmt.Sprintf("ALTER TABLE %s COMMENT = '%s', ALGORITHM=INSTANT", Table, comment(SchemaVersion))); err != nil {
		return fmt.Errorf("fence: bring the table from schema %d to %d: %w", version, SchemaVersion, err)
	}
	return nil
}

// Trigger is one of the fence's triggers as it is installed.
type Trigger struct {
	Operation string // INSERT, UPDATE or DELETE
	Version   int    // 1 where the body says none
}

// TriggersOf returns the fence's triggers that a table has.
func TriggersOf(ctx context.Context, q Querier, table string) ([]Trigger, error) {
	rows, err := q.QueryContext(ctx, "SELECT TRIGGER_NAME, EVENT_MANIPULATION, ACTION_STATEMENT FROM information_schema.TRIGGERS "+
		"WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = ? AND ACTION_TIMING = 'BEFORE'", table)
	if err != nil {
		return nil, fmt.Errorf("fence: triggers of %s: %w", table, err)
	}
	defer rows.Close()
	names := triggerNames(table)
	var found []Trigger
	for rows.Next() {
		var name, operation string
		var body sql.NullString // NULL for who may not see it
		if err := rows.Scan(&name, &operation, &body); err != nil {
			return nil, fmt.Errorf("fence: triggers of %s: %w", table, err)
		}
		if names[operation] != name {
			continue
		}
		version, ok := parseVersion(body.String)
		if !ok {
			version = 1
		}
		found = append(found, Trigger{operation, version})
	}
	return found, rows.Err()
}

// Installed returns how many of a table's three triggers are there, of
// whatever version.
func Installed(ctx context.Context, q Querier, table string) (int, error) {
	found, err := TriggersOf(ctx, q, table)
	return len(found), err
}
