package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drover/shardlib/fence"
)

// Table is a sharded table as a server describes it.
type Table struct {
	fence.Sharded
	Engine  string
	Columns []Column
	// Primary are the indices in Columns of the primary key's columns, in the
	// order of the key.
	Primary []int
	// Uniques are the columns of every other unique key.
	Uniques map[string][]string
	// Indexed says whether an index begins with the bucket column.
	Indexed bool
	// Buckets is the map's bucket count.
	Buckets uint32
}

// ErrNoTable is returned for a table that the server does not have.
var ErrNoTable = errors.New("no such table")

// ErrNotBase is returned for what is no plain table: a view, a sequence, a
// system-versioned table, whose history no statement can write.
var ErrNotBase = errors.New("only a plain table can be sharded")

// Describe reads the description of a table in the server's database.
func (s *Server) Describe(ctx context.Context, sharded fence.Sharded, buckets uint32) (*Table, error) {
	t := &Table{Sharded: sharded, Uniques: map[string][]string{}, Buckets: buckets}
	wrap := func(err error) error {
		return fmt.Errorf("database %s: describe table %s: %w", s.Name(), sharded.Name, err)
	}
	var kind string
	err := s.DB.QueryRowContext(ctx, "SELECT COALESCE(ENGINE, ''), TABLE_TYPE FROM information_schema.TABLES "+
		"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?", sharded.Name).Scan(&t.Engine, &kind)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, wrap(ErrNoTable)
	}
	if err != nil {
		return nil, wrap(err)
	}
	if kind != "BASE TABLE" {
		return nil, wrap(fmt.Errorf("%w, and this is a %s", ErrNotBase, kind))
	}
	if err := s.describeColumns(ctx, t); err != nil {
		return nil, wrap(err)
	}
	if err := s.describeKeys(ctx, t); err != nil {
		return nil, wrap(err)
	}
	if t.Index(sharded.Column()) < 0 {
		return nil, wrap(fmt.Errorf("it has no column %q, which the configuration names", sharded.Column()))
	}
	return t, nil
}

func (s *Server) describeColumns(ctx context.Context, t *Table) error {
	rows, err := s.DB.QueryContext(ctx, "SELECT COLUMN_NAME, COLUMN_TYPE, DATA_TYPE, COALESCE(CHARACTER_SET_NAME, ''), "+
		"COALESCE(COLLATION_NAME, ''), EXTRA, IS_NULLABLE, COALESCE(CHARACTER_OCTET_LENGTH, 0) FROM information_schema.COLUMNS "+
		"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION", t.Name)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c Column
		var extra, nullable string
		var octets uint64
		if err := rows.Scan(&c.Name, &c.Type, &c.DataType, &c.Charset, &c.Collation, &extra, &nullable, &octets); err != nil {
			return err
		}
		c.DataType = strings.ToLower(c.DataType)
		c.Generated = strings.Contains(strings.ToUpper(extra), "GENERATED")
		c.Nullable = nullable == "YES"
		if c.DataType == "binary" {
			c.Octets = int(octets)
		}
		t.Columns = append(t.Columns, c)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows.Close() // its connection may be the only one
	for i := range t.Columns {
		if err := s.describeMembers(ctx, &t.Columns[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) describeKeys(ctx context.Context, t *Table) error {
	rows, err := s.DB.QueryContext(ctx, "SELECT INDEX_NAME, NON_UNIQUE, SEQ_IN_INDEX, COLUMN_NAME FROM information_schema.STATISTICS "+
		"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY INDEX_NAME, SEQ_IN_INDEX", t.Name)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key, column string
		var nonUnique bool
		var seq int
		if err := rows.Scan(&key, &nonUnique, &seq, &column); err != nil {
			return err
		}
		if seq == 1 && column == t.BucketColumn {
			t.Indexed = true
		}
		switch {
		case key == "PRIMARY":
			t.Primary = append(t.Primary, t.Index(column))
		case !nonUnique:
			t.Uniques[key] = append(t.Uniques[key], column)
		}
	}
	return rows.Err()
}

// Index returns the index of a column, or -1.
func (t *Table) Index(column string) int {
	return slices.IndexFunc(t.Columns, func(c Column) bool { return strings.EqualFold(c.Name, column) })
}

// Written returns the indices of the columns that are written: all but the
// generated ones.
func (t *Table) Written() []int {
	var w []int
	for i, c := range t.Columns {
		if !c.Generated {
			w = append(w, i)
		}
	}
	return w
}

// Same lists how the table differs from another server's description of it.
// Moving rows between tables that differ is refused.
func (t *Table) Same(o *Table) []string {
	var diffs []string
	if len(t.Columns) != len(o.Columns) {
		return []string{fmt.Sprintf("%d columns against %d", len(t.Columns), len(o.Columns))}
	}
	for i, c := range t.Columns {
		if !c.same(o.Columns[i]) {
			diffs = append(diffs, fmt.Sprintf("column %d: %s %s %s against %s %s %s",
				i+1, c.Name, c.Type, c.Collation, o.Columns[i].Name, o.Columns[i].Type, o.Columns[i].Collation))
		}
	}
	if !slices.Equal(t.Primary, o.Primary) {
		diffs = append(diffs, "the primary keys differ")
	}
	return diffs
}
