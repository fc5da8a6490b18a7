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

// SchemaVersion is the version of the fence's table and triggers. It stands in
// the comment of the table and in each trigger's body. What changed:
//
//	1  the first
//	2  the account is compared byte for byte and whole, so that names such as
//	   DROVER, dröver and drover@x do not pass for drover; the triggers find
//	   both rows in one look, and an UPDATE within a bucket looks once
const SchemaVersion = 2

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
	old, fresh := table.Expr("OLD.", buckets), table.Expr("NEW.", buckets)
	checks := map[string]string{
		"INSERT": triggerCheck(fresh, "    "),
		"DELETE": triggerCheck(old, "    "),
		// Two NULLs are the same here, and the first check has refused them.
		"UPDATE": triggerCheck(old, "    ") + fmt.Sprintf("    IF NOT (%s <=> %s) THEN\n%s    END IF;\n", old, fresh, triggerCheck(fresh, "      ")),
	}
	statements := make([]string, 0, len(checks))
	for _, operation := range []string{"INSERT", "UPDATE", "DELETE"} {
		statements = append(statements, fmt.Sprintf(
			"CREATE OR REPLACE TRIGGER %s BEFORE %s ON %s FOR EACH ROW BEGIN\n"+
				"  /* drover fence, schema %d */\n"+
				"  DECLARE passed INT DEFAULT 0;\n"+
				"  IF COALESCE(%s, '') <> '%s' THEN\n%s  END IF;\nEND",
			Quote(triggerNames(table.Name)[operation]), operation, Quote(table.Name), SchemaVersion, loginName, account, checks[operation]))
	}
	return statements, nil
}

// loginName is the name by which the client logged in, as bytes. USER() is the
// name, '@' and the host, and a name may have '@' in it; a host has none. It is
// not CURRENT_USER(), which in a trigger is who made the trigger, in a routine
// who made the routine, and for a proxied login the account it stands for.
const loginName = "CAST(LEFT(USER(), CHAR_LENGTH(USER()) - 1 - CHAR_LENGTH(SUBSTRING_INDEX(USER(), '@', -1))) AS BINARY)"

// triggerCheck refuses unless both rows are active. Both are found by their
// whole primary key, and so are read, and locked shared, before anything is
// compared, as CheckWrite does. What is counted is what may be written:
// anything unforeseen counts as 0. A bucket of -1 would find the shard's row
// twice, hence the last condition.
func triggerCheck(bucket, indent string) string {
	lines := []string{
		"SELECT COUNT(*) INTO passed FROM " + Table + " AS shard" + byKey + " JOIN " + Table + " AS home" + byKey,
		fmt.Sprintf("  WHERE shard.bucket = %d AND home.bucket = %s AND home.bucket >= 0", ShardRow, bucket),
		fmt.Sprintf("  AND shard.state = '%[1]s' AND shard.server_id = @@server_id AND home.state = '%[1]s' LOCK IN SHARE MODE;", Active),
		"IF COALESCE(passed, 0) <> 1 THEN",
		fmt.Sprintf("  SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = %d, MESSAGE_TEXT = 'drover: the bucket is not active on this server';", RefusedNumber),
		"END IF;",
	}
	return indent + strings.Join(lines, "\n"+indent) + "\n"
}

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
