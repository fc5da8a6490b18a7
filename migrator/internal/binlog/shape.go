package binlog

import (
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"drover/migrator/internal/database"
)

// followed is a chosen table and what is done with its rows.
type followed struct {
	*database.Table
	converters []converter
	deciding   int // the column that decides the bucket
}

func newFollowed(t *database.Table) *followed {
	f := &followed{Table: t, converters: make([]converter, len(t.Columns)), deciding: t.Index(t.Column())}
	for i, c := range t.Columns {
		f.converters[i] = converterOf(c)
	}
	return f
}

// shaped compares the columns that a row event has with those of the
// description: values read by the description of another shape would be wrong
// without a sign of it. The names are there when the server writes full
// metadata.
func (f *followed) shaped(m *replication.TableMapEvent) error {
	if int(m.ColumnCount) != len(f.Columns) {
		return f.altered("it has %d columns in the binlog and %d now", m.ColumnCount, len(f.Columns))
	}
	for i, c := range f.Columns {
		kind := columnType(m.ColumnType[i], m.ColumnMeta[i])
		want, known := binlogTypes[c.DataType]
		if c.Geometry() {
			want, known = mysql.MYSQL_TYPE_GEOMETRY, true
		}
		if !known || kind != want {
			return f.altered("column %s is of type %d in the binlog, and %s now", c.Name, kind, c.Type)
		}
		if i < len(m.ColumnName) && !strings.EqualFold(string(m.ColumnName[i]), c.Name) {
			return f.altered("column %d is %s in the binlog and %s now", i+1, m.ColumnName[i], c.Name)
		}
	}
	return nil
}

func (f *followed) hasShape(m *replication.TableMapEvent) bool { return f.shaped(m) == nil }

func (f *followed) altered(format string, args ...any) error {
	return fmt.Errorf("%w: table %s was altered: %s; abort the move and begin it again", ErrUnreadable, f.Name, fmt.Sprintf(format, args...))
}

// columnType is the type of a column of a table map. CHAR, ENUM and SET share
// one, and the other is in the metadata.
func columnType(kind byte, meta uint16) byte {
	if kind == mysql.MYSQL_TYPE_STRING {
		if inner := byte(meta >> 8); inner == mysql.MYSQL_TYPE_ENUM || inner == mysql.MYSQL_TYPE_SET {
			return inner
		}
	}
	return kind
}

// complete refuses a row without all its columns. Those that the server
// computes may be missing: they are not written either.
func (f *followed) complete(skipped []int) error {
	for _, i := range skipped {
		if !f.Columns[i].Generated || i == f.deciding {
			return fmt.Errorf("%w: table %s: a row without its column %s: set binlog_row_image=FULL, for sessions too, and begin the move again",
				ErrUnreadable, f.Name, f.Columns[i].Name)
		}
	}
	return nil
}
