package preflight

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

const (
	// sampleRows is how many rows of a table are looked at to see whether their
	// buckets are those of their users: enough that a wrong bucket count does
	// not hide, few enough for a millisecond.
	sampleRows = 200
	// sampleColumns bounds the columns that may hold the user id.
	sampleColumns = 32
)

// tableFacts is what a server says of one sharded table.
type tableFacts struct {
	sharded fence.Sharded
	table   *database.Table // nil where err says why
	err     error

	bucket     answer // generation of the bucket column: extra, expression
	unique     answer // unique keys: name, column, part
	references answer // foreign keys of this table: name, rules, parent's schema and table
	triggers   answer
	partitions answer
	sample     sample
	rows       answer // one row of the move's buckets, if there are any: asked of the target alone
}

// sample is what a look at some rows gave.
type sample struct {
	err     error
	rows    int
	outside int            // whose bucket is NULL or none of the map's
	highest string         // the highest bucket of the table, where an index knows it
	agree   map[string]int // column → rows whose bucket is that of the column's value
}

// readTable asks everything about one table.
func (p *Preflight) readTable(ctx context.Context, s *facts, sharded fence.Sharded) *tableFacts {
	t := &tableFacts{sharded: sharded}
	if t.table, t.err = s.server.Describe(ctx, sharded, p.Map.Buckets()); t.err != nil {
		return t
	}
	db, schema := s.server.DB, s.server.Database
	t.bucket = ask(ctx, db, "SELECT EXTRA AS extra, COALESCE(GENERATION_EXPRESSION, '') AS expression FROM information_schema.COLUMNS "+
		"WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND COLUMN_NAME = ?", schema, sharded.Name, sharded.Column())
	t.unique = ask(ctx, db, "SELECT INDEX_NAME AS name, COLUMN_NAME AS `column`, SUB_PART AS part FROM information_schema.STATISTICS "+
		"WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX", schema, sharded.Name)
	t.references = ask(ctx, db, "SELECT CONSTRAINT_NAME AS name, UPDATE_RULE AS on_update, DELETE_RULE AS on_delete, "+
		"UNIQUE_CONSTRAINT_SCHEMA AS parent_schema, REFERENCED_TABLE_NAME AS parent FROM information_schema.REFERENTIAL_CONSTRAINTS "+
		"WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ? ORDER BY CONSTRAINT_NAME", schema, sharded.Name)
	t.triggers = ask(ctx, db, "SELECT TRIGGER_NAME AS name, ACTION_TIMING AS timing, EVENT_MANIPULATION AS operation, ACTION_STATEMENT AS body "+
		"FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ? ORDER BY TRIGGER_NAME", schema, sharded.Name)
	t.partitions = ask(ctx, db, "SELECT PARTITION_NAME, SUBPARTITION_NAME, PARTITION_METHOD, SUBPARTITION_METHOD, PARTITION_EXPRESSION, "+
		"SUBPARTITION_EXPRESSION, PARTITION_DESCRIPTION FROM information_schema.PARTITIONS "+
		"WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND PARTITION_NAME IS NOT NULL "+
		"ORDER BY PARTITION_ORDINAL_POSITION, SUBPARTITION_ORDINAL_POSITION", schema, sharded.Name)
	if sharded.BucketColumn != "" {
		t.sample = p.readSample(ctx, s, t.table)
	}
	if s.isTarget {
		t.rows = ask(ctx, db, "SELECT "+t.table.Expr("", p.Map.Buckets())+" AS bucket FROM "+fence.Quote(sharded.Name)+
			" WHERE "+t.table.Expr("", p.Map.Buckets())+" IN ("+listOf(s.buckets)+") LIMIT 1")
	}
	return t
}

func listOf(buckets []bucketmap.BucketID) string {
	words := make([]string, len(buckets))
	for i, b := range buckets {
		words[i] = strconv.FormatUint(uint64(b), 10)
	}
	return strings.Join(words, ",")
}

// readSample compares, in some rows, the bucket with what it would be if each
// of the other columns were the user id. The table is not read from end to end.
func (p *Preflight) readSample(ctx context.Context, s *facts, t *database.Table) sample {
	bucket := fence.Quote(t.BucketColumn)
	var columns, counts, inner []string
	inner = append(inner, bucket)
	for _, c := range t.Columns {
		if !canBeUser(c) || strings.EqualFold(c.Name, t.BucketColumn) || len(columns) == sampleColumns {
			continue
		}
		columns = append(columns, c.Name)
		inner = append(inner, fence.Quote(c.Name))
		var same []string
		for _, form := range forms(c) {
			same = append(same, fmt.Sprintf("CRC32(%s) %% %d = %s", form, t.Buckets, bucket))
		}
		counts = append(counts, "COALESCE(SUM("+strings.Join(same, " OR ")+"), 0)")
	}
	highest := "NULL"
	if t.Indexed {
		highest = "(SELECT MAX(" + bucket + ") FROM " + fence.Quote(t.Name) + ")"
	}
	query := "SELECT COUNT(*), COALESCE(SUM(" + bucket + " IS NULL OR " + bucket + " < 0 OR " + bucket + " >= " +
		strconv.FormatUint(uint64(t.Buckets), 10) + "), 0), " + highest
	if len(counts) != 0 {
		query += ", " + strings.Join(counts, ", ")
	}
	a := ask(ctx, s.server.DB, query+" FROM (SELECT "+strings.Join(inner, ", ")+" FROM "+fence.Quote(t.Name)+
		" LIMIT "+strconv.Itoa(sampleRows)+") AS some")
	if a.err != nil {
		return sample{err: a.err}
	}
	numbers := a.rows[0] // an aggregate has one row
	out := sample{highest: numbers[2], agree: map[string]int{}}
	var err error
	parse := func(text string) int {
		n, parseErr := strconv.Atoi(text)
		err = errors.Join(err, parseErr)
		return n
	}
	out.rows, out.outside = parse(numbers[0]), parse(numbers[1])
	for i, c := range columns {
		out.agree[c] = parse(numbers[3+i])
	}
	out.err = err
	return out
}

// canBeUser says whether a column may hold user ids.
func canBeUser(c database.Column) bool {
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "char", "varchar", "binary", "varbinary":
		return true
	}
	return false
}

// forms are the texts that a request may have for the value of a column: the
// value, and for 16 bytes a UUID with dashes and without.
func forms(c database.Column) []string {
	name := fence.Quote(c.Name)
	if c.DataType != "binary" || c.Octets != 16 {
		return []string{name}
	}
	// In a session that speaks bytes HEX gives bytes, which LOWER leaves alone.
	digits := "LOWER(CONVERT(HEX(" + name + ") USING latin1))"
	var parts []string
	for _, p := range [][2]int{{1, 8}, {9, 4}, {13, 4}, {17, 4}, {21, 12}} {
		parts = append(parts, fmt.Sprintf("SUBSTR(%s, %d, %d)", digits, p[0], p[1]))
	}
	return []string{name, digits, "CONCAT_WS('-', " + strings.Join(parts, ", ") + ")"}
}

// uniqueKey is a unique key; a column of which the key has the beginning alone
// is in prefixed.
type uniqueKey struct {
	name     string
	columns  []string
	prefixed []string
}

func (k uniqueKey) String() string { return k.name + "(" + strings.Join(k.columns, ",") + ")" }

// has says whether the key has the whole column.
func (k uniqueKey) has(column string) bool {
	same := func(c string) bool { return strings.EqualFold(c, column) }
	return slices.ContainsFunc(k.columns, same) && !slices.ContainsFunc(k.prefixed, same)
}

func (t *tableFacts) keys() []uniqueKey {
	var keys []uniqueKey
	for _, row := range t.unique.rows {
		name, column, part := row[0], row[1], row[2]
		if n := len(keys); n == 0 || keys[n-1].name != name {
			keys = append(keys, uniqueKey{name: name})
		}
		k := &keys[len(keys)-1]
		k.columns = append(k.columns, column)
		if part != "" {
			k.prefixed = append(k.prefixed, column)
		}
	}
	return keys
}

// generation is how the server computes a bucket.
type generation struct {
	generated, virtual bool
	expression         string
	// sources are the columns of the expression.
	sources []string
	// modulus is that of CRC32(column) % modulus, 0 when the expression is
	// another.
	modulus uint64
}

var (
	bucketExpression = regexp.MustCompile("(?i)^\\(?crc32\\(`((?:[^`]|``)+)`\\)\\)? *(?:MOD|%) *([0-9]+)$")
	quotedName       = regexp.MustCompile("`((?:[^`]|``)+)`")
)

func (t *tableFacts) generation() generation {
	if len(t.bucket.rows) != 1 || t.sharded.BucketColumn == "" {
		return generation{}
	}
	extra, expression := strings.ToUpper(t.bucket.rows[0][0]), t.bucket.rows[0][1]
	g := generation{generated: strings.Contains(extra, "GENERATED"), virtual: strings.Contains(extra, "VIRTUAL"), expression: expression}
	if !g.generated {
		return generation{}
	}
	for _, m := range quotedName.FindAllStringSubmatch(expression, -1) {
		g.sources = append(g.sources, strings.ReplaceAll(m[1], "``", "`"))
	}
	if m := bucketExpression.FindStringSubmatch(expression); m != nil {
		g.modulus, _ = strconv.ParseUint(m[2], 10, 64) // digits; too many of them is no modulus
	}
	return g
}
