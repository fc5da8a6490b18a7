package fence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"drover/bucketmap"
)

// SchemaVersion is the version of the fence's tables and triggers. It stands
// in the comment of the table.
const SchemaVersion = 1

// createTable makes the fence's table. epoch and state have no default: a row
// is written whole.
var createTable = fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s (
  bucket    INT NOT NULL COMMENT '%d is the whole shard',
  state     VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  epoch     BIGINT UNSIGNED NOT NULL,
  move_id   VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  server_id INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of the primary, in the row of the shard',
  PRIMARY KEY (bucket)
) ENGINE=InnoDB COMMENT='drover fence, schema %d'`, Table, ShardRow, SchemaVersion)

// Create makes the table and the shard's row, active for this server, where
// they are not there yet. Rows that are there are left alone.
func Create(ctx context.Context, q Querier) error {
	for _, statement := range []string{
		createTable,
		fmt.Sprintf("INSERT IGNORE INTO %s (bucket, state, epoch, server_id) VALUES (%d, '%s', %d, @@server_id)",
			Table, ShardRow, Active, bucketmap.FirstEpoch),
	} {
		if _, err := q.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("fence: create: %w", err)
		}
	}
	return nil
}

// activateChunk bounds one INSERT: 10,000 rows of about 30 bytes.
const activateChunk = 10_000

// Activate writes active rows for buckets that live on this shard from the
// start. Rows that are there are left alone.
func Activate(ctx context.Context, q Querier, first, last bucketmap.BucketID) error {
	for from := uint64(first); from <= uint64(last); from += activateChunk {
		var b strings.Builder
		fmt.Fprintf(&b, "INSERT IGNORE INTO %s (bucket, state, epoch) VALUES ", Table)
		for i := from; i <= uint64(last) && i < from+activateChunk; i++ {
			if i != from {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "(%d,'%s',%d)", i, Active, bucketmap.FirstEpoch)
		}
		if _, err := q.ExecContext(ctx, b.String()); err != nil {
			return fmt.Errorf("fence: activate buckets %d-%d: %w", first, last, err)
		}
	}
	return nil
}

// Sharded says how a row of a table tells its bucket. Exactly one of the
// columns is given.
type Sharded struct {
	Name string `yaml:"name" json:"name"`
	// BucketColumn holds the bucket: written by the application, or generated
	// as CRC32(user_id) % N.
	BucketColumn string `yaml:"bucket_column,omitempty" json:"bucket_column,omitempty"`
	// UserColumn holds the user id, of which the bucket is computed.
	UserColumn string `yaml:"user_column,omitempty" json:"user_column,omitempty"`
}

// Expr is the SQL expression of the bucket of a row. prefix is put before the
// column: "", "NEW." or "OLD.".
func (t Sharded) Expr(prefix string, buckets uint32) string {
	if t.BucketColumn != "" {
		return prefix + Quote(t.BucketColumn)
	}
	return fmt.Sprintf("(CRC32(%s%s) %% %d)", prefix, Quote(t.UserColumn), buckets)
}

// Column is the column that decides the bucket.
func (t Sharded) Column() string {
	if t.BucketColumn != "" {
		return t.BucketColumn
	}
	return t.UserColumn
}

// Quote quotes an identifier.
func Quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// identifierMax is the server's limit, in characters.
const identifierMax = 64

// triggerNames gives the triggers of a table, one an operation. Of a long table
// name they have the beginning and a hash, for a table name alone may have 64
// characters.
func triggerNames(table string) map[string]string {
	const before, after = "drover_fence_", "_insert" // all operations have six letters
	if room := identifierMax - len(before) - len(after); utf8.RuneCountInString(table) > room {
		sum := sha256.Sum256([]byte(table))
		hash := "_" + hex.EncodeToString(sum[:8])
		table = string([]rune(table)[:room-len(hash)]) + hash
	}
	return map[string]string{
		"INSERT": before + table + "_insert",
		"UPDATE": before + table + "_update",
		"DELETE": before + table + "_delete",
	}
}

// ErrAccount is returned by Install for an account name that cannot be told
// apart in a trigger.
var ErrAccount = errors.New("the account that passes the fence must be 1 to 80 letters, digits, '_', '-' or '.'")

// Install puts the trigger fence on a table, replacing an earlier one. Writers
// other than account, as USER() names it, are refused with error
// RefusedNumber unless the bucket's row and the shard's are active. It fails
// closed: a missing row, a NULL, an unknown state refuse.
//
// A server with an anonymous account lets anybody claim account's name; the
// preflight refuses such servers.
func Install(ctx context.Context, q Querier, table Sharded, buckets uint32, account string) error {
	statements, err := InstallStatements(table, buckets, account)
	if err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := q.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("fence: install on %s: %w", table.Name, err)
		}
	}
	return nil
}

// InstallStatements returns what Install executes.
func InstallStatements(table Sharded, buckets uint32, account string) ([]string, error) {
	if (table.BucketColumn == "") == (table.UserColumn == "") {
		return nil, fmt.Errorf("fence: table %q: give bucket_column or user_column, one of the two", table.Name)
	}
	if account == "" || len(account) > 80 || strings.Trim(account,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != "" {
		return nil, fmt.Errorf("%w: %q", ErrAccount, account)
	}
	rows := map[string][]string{"INSERT": {"NEW."}, "UPDATE": {"OLD.", "NEW."}, "DELETE": {"OLD."}}
	var statements []string
	for _, operation := range []string{"INSERT", "UPDATE", "DELETE"} {
		var checks strings.Builder
		for _, prefix := range rows[operation] {
			fmt.Fprintf(&checks, triggerCheck, Table+byKey, ShardRow, table.Expr(prefix, buckets), Active, ShardRow, RefusedNumber)
		}
		statements = append(statements, fmt.Sprintf(
			"CREATE OR REPLACE TRIGGER %s BEFORE %s ON %s FOR EACH ROW BEGIN\n"+
				"  DECLARE passed INT DEFAULT 0;\n"+
				"  IF COALESCE(SUBSTRING_INDEX(USER(), '@', 1), '') <> '%s' THEN\n%s  END IF;\nEND",
			Quote(triggerNames(table.Name)[operation]), operation, Quote(table.Name), account, checks.String()))
	}
	return statements, nil
}

// triggerCheck locks both rows before it looks at them, as CheckWrite does.
// What is counted is what may be written: anything unforeseen counts as 0.
const triggerCheck = `    SELECT COUNT(*) INTO passed FROM (
      SELECT bucket, state, server_id FROM %s WHERE bucket IN (%d, %s) LOCK IN SHARE MODE
    ) AS fence WHERE state = '%s' AND (bucket <> %d OR server_id = @@server_id);
    IF COALESCE(passed, 0) <> 2 THEN
      SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = %d, MESSAGE_TEXT = 'drover: the bucket is not active on this server';
    END IF;
`

// Remove takes the trigger fence off a table.
func Remove(ctx context.Context, q Querier, table string) error {
	for _, statement := range RemoveStatements(table) {
		if _, err := q.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("fence: remove from %s: %w", table, err)
		}
	}
	return nil
}

// RemoveStatements returns what Remove executes.
func RemoveStatements(table string) []string {
	var statements []string
	for _, name := range slices.Sorted(maps.Values(triggerNames(table))) {
		statements = append(statements, "DROP TRIGGER IF EXISTS "+Quote(name))
	}
	return statements
}

// Installed returns how many of a table's three triggers are there.
func Installed(ctx context.Context, q Querier, table string) (int, error) {
	rows, err := q.QueryContext(ctx, "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS "+
		"WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = ?", table)
	if err != nil {
		return 0, fmt.Errorf("fence: triggers of %s: %w", table, err)
	}
	defer rows.Close()
	want := map[string]bool{}
	for _, name := range triggerNames(table) {
		want[name] = true
	}
	n := 0
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return 0, fmt.Errorf("fence: triggers of %s: %w", table, err)
		}
		if want[name] {
			n++
		}
	}
	return n, rows.Err()
}
