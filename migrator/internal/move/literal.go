package move

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// Statements that write rows carry their values in their text: one round trip
// a statement, and no placeholder to be looked for in a megabyte of SQL. The
// session speaks bytes and has backslash escapes on (database.Open), which is
// what makes these literals exact.

// appendLiteral writes a value as SQL.
func appendLiteral(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "NULL"...)
	case []byte:
		return appendQuoted(append(dst, "_binary"...), v)
	case int64, uint64, float64:
		return appendText(dst, v)
	default:
		return appendQuoted(append(dst, "_binary"...), appendText(nil, v))
	}
}

// appendText writes a value that is not NULL as the server would print it.
func appendText(dst []byte, v any) []byte {
	switch v := v.(type) {
	case []byte:
		return append(dst, v...)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case float64:
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	default:
		return fmt.Append(dst, v)
	}
}

// appendQuoted writes bytes between quotes, with everything escaped that ends
// or changes a literal.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '\'')
	for _, c := range text {
		switch c {
		case 0:
			dst = append(dst, '\\', '0')
		case '\'', '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '\'')
}

// appendTuple writes the chosen values of a row as (a,b,c).
func appendTuple(dst []byte, row binlog.Row, columns []int) []byte {
	dst = append(dst, '(')
	for i, column := range columns {
		if i != 0 {
			dst = append(dst, ',')
		}
		dst = appendLiteral(dst, row[column])
	}
	return append(dst, ')')
}

// appendParam writes a value where the column is compared with it.
func appendParam(dst []byte, c database.Column, v any) []byte {
	before, after, _ := strings.Cut(c.Param(), "?")
	return append(appendLiteral(append(dst, before...), v), after...)
}

// appendMatch writes a condition that is true for rows whose columns have one
// of the tuples: the first columns by =, those that agree in them by IN in the
// last. Runs of tuples that agree must stand together.
func appendMatch(dst []byte, t *database.Table, columns []int, tuples []binlog.Row) []byte {
	last := len(columns) - 1
	for i := 0; i < len(tuples); {
		end := i + 1
		for end < len(tuples) && sameValues(tuples[i][:last], tuples[end][:last]) {
			end++
		}
		if i != 0 {
			dst = append(dst, " OR "...)
		}
		dst = append(dst, '(')
		for j := range last {
			c := t.Columns[columns[j]]
			dst = append(append(dst, fence.Quote(c.Name)...), '=')
			dst = append(appendParam(dst, c, tuples[i][j]), " AND "...)
		}
		c := t.Columns[columns[last]]
		dst = append(append(dst, fence.Quote(c.Name)...), " IN ("...)
		for j := i; j < end; j++ {
			if j != i {
				dst = append(dst, ',')
			}
			dst = appendParam(dst, c, tuples[j][last])
		}
		dst = append(dst, "))"...)
		i = end
	}
	return dst
}

func sameValues(a, b binlog.Row) bool {
	for i := range a {
		if !sameValue(a[i], b[i]) {
			return false
		}
	}
	return true
}

func sameValue(a, b any) bool {
	x, isBytes := a.([]byte)
	y, alsoBytes := b.([]byte)
	if isBytes || alsoBytes {
		return isBytes && alsoBytes && bytes.Equal(x, y)
	}
	return a == b
}
