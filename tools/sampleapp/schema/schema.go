// Package schema has the sample application's tables: the SQL that makes them,
// what the fence must know of them, and a loader that fills them with users.
//
// Who prepares a shard, in this order: (1) executes Statements; (2) makes the
// fence's table and rows (package fence); (3) loads users with Seed; (4)
// installs the triggers, if any, for each of Tables.
//
// The package never drops or changes a table. Its functions may be called
// concurrently.
package schema

import (
	_ "embed"
	"strconv"
	"strings"

	"drover/shardlib/fence"
)

//go:embed schema.sql
var text string

// Statements returns the statements that make the tables where they are not
// there yet, for a map of so many buckets.
func Statements(buckets uint32) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	script := strings.ReplaceAll(strings.Join(lines, ""), "BUCKETS", strconv.FormatUint(uint64(buckets), 10))
	var statements []string
	for statement := range strings.SplitSeq(script, ";") {
		if statement = strings.TrimSpace(statement); statement != "" {
			statements = append(statements, statement)
		}
	}
	return statements
}

// Tables says how the rows of each table tell their bucket.
func Tables() []fence.Sharded {
	return []fence.Sharded{
		{Name: "steps", BucketColumn: "bucket"},
		{Name: "request", BucketColumn: "bucket"},
		{Name: "profile", UserColumn: "user_id"},
	}
}
