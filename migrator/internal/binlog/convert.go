package binlog

import (
	"fmt"

	"drover/migrator/internal/database"
)

// convertRow makes the values that go-mysql decoded fit to be parameters.
//
// The binlog itself does not say which integers are unsigned, unless the
// server writes full metadata, and it leaves out the zero bytes at the end of
// a BINARY: the description of the table knows both.
func convertRow(table *database.Table, raw []any) (Row, error) {
	if len(raw) != len(table.Columns) {
		return nil, fmt.Errorf("%w: table %s: a row of %d values for %d columns", ErrUnreadable, table.Name, len(raw), len(table.Columns))
	}
	row := make(Row, len(raw))
	for i, v := range raw {
		converted, err := convert(table.Columns[i], v)
		if err != nil {
			return nil, fmt.Errorf("%w: table %s, column %s: %w", ErrUnreadable, table.Name, table.Columns[i].Name, err)
		}
		row[i] = converted
	}
	return row, nil
}

func convert(c database.Column, v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case int8:
		if c.Unsigned() {
			return int64(uint8(v)), nil
		}
		return int64(v), nil
	case int16:
		if c.Unsigned() {
			return int64(uint16(v)), nil
		}
		return int64(v), nil
	case int32:
		if c.Unsigned() {
			if c.DataType == "mediumint" {
				return int64(uint32(v) & 0xFFFFFF), nil
			}
			return int64(uint32(v)), nil
		}
		return int64(v), nil
	case int64:
		if c.Unsigned() || c.DataType == "bit" || c.DataType == "set" {
			return uint64(v), nil
		}
		return v, nil
	case uint8:
		return int64(v), nil
	case uint16:
		return int64(v), nil
	case uint32:
		return int64(v), nil
	case uint64:
		return v, nil
	case int:
		return int64(v), nil
	case float32:
		// As the double that it is exactly: the shortest text of the largest
		// float is a number above it.
		return float64(v), nil
	case float64:
		return v, nil
	case string:
		if c.DataType == "binary" {
			return pad([]byte(v), c.Octets), nil
		}
		return []byte(v), nil
	case []byte:
		if c.DataType == "binary" {
			return pad(v, c.Octets), nil
		}
		return v, nil
	default:
		return nil, fmt.Errorf("a value of type %T, which this program cannot write", v)
	}
}

func pad(b []byte, octets int) []byte {
	for len(b) < octets {
		b = append(b, 0)
	}
	return b
}

// Readable says whether values of the column survive the way through the
// binlog byte for byte. The preflight refuses tables with other columns.
func Readable(c database.Column) bool {
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit", "year",
		"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set",
		"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob",
		"date", "time", "datetime", "timestamp":
		return true
	default:
		return false
	}
}
