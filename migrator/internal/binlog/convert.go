package binlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"

	"drover/migrator/internal/database"
)

// converter makes a value that go-mysql decoded fit to be a parameter: an int64
// or uint64 of an integer column, bytes of every other, as Column.Read gives
// them, and nil of NULL.
//
// The binlog itself does not say which integers are unsigned, it leaves out the
// zero bytes at the end of a BINARY, has numbers for the members of an ENUM or
// SET, and a UUID in the order of its index: the description of the table knows.
type converter func(v any) (any, error)

// converterOf chooses once for a column what is done to each of its values.
func converterOf(c database.Column) converter {
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		if c.Unsigned() {
			return unsigned(c.DataType == "mediumint")
		}
		return signed
	case "bit":
		return bits(c.BitOctets())
	case "year":
		return year
	case "enum":
		return enum(c.Members)
	case "set":
		return set(c.Members, comma(c.Charset))
	case "float", "double":
		return float
	case "time":
		return clock(c.Fraction())
	case "binary":
		return padded(c.Octets)
	case "inet6", "inet4":
		return padded(c.RawOctets())
	case "uuid":
		return uuid
	default:
		return text
	}
}

func unknownValue(v any) error {
	return fmt.Errorf("a value of type %T, which this program cannot write", v)
}

func signed(v any) (any, error) {
	switch v := v.(type) {
	case int8:
		return int64(v), nil
	case int16:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case int64:
		return v, nil
	default:
		return nil, unknownValue(v)
	}
}

// unsigned takes the bits of a signed value for what they are. Of a MEDIUMINT
// there are 24, which were extended by the sign.
func unsigned(medium bool) converter {
	return func(v any) (any, error) {
		switch v := v.(type) {
		case int8:
			return int64(uint8(v)), nil
		case int16:
			return int64(uint16(v)), nil
		case int32:
			if medium {
				return int64(uint32(v) & 0xFFFFFF), nil
			}
			return int64(uint32(v)), nil
		case int64:
			return uint64(v), nil
		default:
			return nil, unknownValue(v)
		}
	}
}

func bits(octets int) converter {
	return func(v any) (any, error) {
		n, ok := v.(int64)
		if !ok {
			return nil, unknownValue(v)
		}
		b := make([]byte, 8)
		binary.BigEndian.PutUint64(b, uint64(n))
		return b[8-octets:], nil
	}
}

// year writes four digits: 0 as text would be the year 2000.
func year(v any) (any, error) {
	n, ok := v.(int)
	if !ok {
		return nil, unknownValue(v)
	}
	if n == 0 {
		return []byte("0000"), nil
	}
	return strconv.AppendInt(nil, int64(n), 10), nil
}

func enum(members [][]byte) converter {
	return func(v any) (any, error) {
		n, ok := v.(int64)
		switch {
		case !ok:
			return nil, unknownValue(v)
		case n == 0:
			return nil, fmt.Errorf("the error value of an ENUM, which no server takes in strict mode: give the row a member, or NULL")
		case n < 0 || n > int64(len(members)):
			return nil, fmt.Errorf("member %d of an ENUM of %d", n, len(members))
		}
		return members[n-1], nil
	}
}

func set(members [][]byte, comma string) converter {
	return func(v any) (any, error) {
		n, ok := v.(int64)
		if !ok {
			return nil, unknownValue(v)
		}
		chosen, b := uint64(n), []byte{}
		for i, m := range members {
			if chosen&(1<<i) == 0 {
				continue
			}
			if len(b) != 0 {
				b = append(b, comma...)
			}
			b = append(b, m...)
			chosen &^= 1 << i
		}
		if chosen != 0 {
			return nil, fmt.Errorf("members %#x of a SET of %d", uint64(n), len(members))
		}
		return b, nil
	}
}

// comma is what stands between the members of a SET.
func comma(charset string) string {
	switch charset {
	case "ucs2", "utf16":
		return "\x00,"
	case "utf16le":
		return ",\x00"
	case "utf32":
		return "\x00\x00\x00,"
	default:
		return ","
	}
}

// float writes the shortest text that is read as the same number. A FLOAT is
// the double that it is exactly: the shortest text of the largest float is a
// number above it.
func float(v any) (any, error) {
	switch v := v.(type) {
	case float32:
		return strconv.AppendFloat(nil, float64(v), 'g', -1, 64), nil
	case float64:
		return strconv.AppendFloat(nil, v, 'g', -1, 64), nil
	default:
		return nil, unknownValue(v)
	}
}

// clock writes the digits behind the second even where they are all zero, as
// the server does: keys are compared as text.
func clock(fraction int) converter {
	const zeros = ".000000"
	return func(v any) (any, error) {
		s, ok := v.(string)
		if !ok {
			return nil, unknownValue(v)
		}
		if fraction != 0 && strings.IndexByte(s, '.') < 0 {
			return append([]byte(s), zeros[:1+fraction]...), nil
		}
		return []byte(s), nil
	}
}

func text(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return []byte(v), nil
	case []byte:
		if len(v) < pinnedMin {
			return bytes.Clone(v), nil
		}
		return v, nil
	default:
		return nil, unknownValue(v)
	}
}

// pinnedMin is from where on the bytes of a value are not copied out of their
// event, which then stays in memory with them: half of an event of usual size.
const pinnedMin = 4096

func padded(octets int) converter {
	return func(v any) (any, error) {
		b := make([]byte, octets)
		switch v := v.(type) {
		case string:
			copy(b, v)
			return b, length(len(v), octets)
		case []byte:
			copy(b, v)
			return b, length(len(v), octets)
		default:
			return nil, unknownValue(v)
		}
	}
}

func length(have, most int) error {
	if have > most {
		return fmt.Errorf("%d bytes in a column of %d", have, most)
	}
	return nil
}

// uuid brings the bytes of a UUID into the order in which it is written.
//
// MariaDB stores a UUID of the versions 1 to 5 with its five groups the other
// way round, so that those of one time stand together, and every other as it is
// written (plugin/type_uuid/sql_type_uuid.h, since 10.11.5). Where the version
// stands tells which: in a group that was moved, or in its own place.
func uuid(v any) (any, error) {
	raw, err := padded(16)(v)
	if err != nil {
		return nil, err
	}
	r := raw.([]byte) //nolint:forcetypeassert // padded gives nothing else
	if !uuidTurned(r) {
		return r, nil
	}
	b := make([]byte, 0, 16)
	b = append(b, r[12:16]...)
	b = append(b, r[10:12]...)
	b = append(b, r[8:10]...)
	b = append(b, r[6:8]...)
	return append(b, r[0:6]...), nil
}

func uuidTurned(r []byte) bool { return r[6]&0x80 != 0 && r[8] > 0 && r[8] < 0x60 }

// convert makes a row of the values that go-mysql decoded.
func (f *followed) convert(raw []any) (Row, error) {
	if len(raw) != len(f.converters) {
		return nil, fmt.Errorf("%w: table %s: a row of %d values for %d columns", ErrUnreadable, f.Name, len(raw), len(f.converters))
	}
	row := make(Row, len(raw))
	for i, v := range raw {
		if v == nil {
			continue
		}
		converted, err := f.converters[i](v)
		if err != nil {
			return nil, fmt.Errorf("%w: table %s, column %s: %w", ErrUnreadable, f.Name, f.Columns[i].Name, err)
		}
		row[i] = converted
	}
	return row, nil
}

// decide converts the value alone that decides the bucket.
func (f *followed) decide(raw []any) (any, error) {
	if len(raw) != len(f.converters) {
		return nil, fmt.Errorf("%w: table %s: a row of %d values for %d columns", ErrUnreadable, f.Name, len(raw), len(f.converters))
	}
	v := raw[f.deciding]
	if v == nil {
		return nil, nil
	}
	converted, err := f.converters[f.deciding](v)
	if err != nil {
		return nil, fmt.Errorf("%w: table %s, column %s: %w", ErrUnreadable, f.Name, f.Columns[f.deciding].Name, err)
	}
	return converted, nil
}

// Readable says whether values of the column survive the way through the
// binlog byte for byte. The preflight refuses tables with other columns.
//
// Compressed columns, times in the format before MariaDB 10.1, and UUIDs of
// tables from before 10.11.5 are other types in the binlog than they seem.
func Readable(c database.Column) bool {
	if c.DataType != "enum" && c.DataType != "set" && strings.Contains(c.Type, "/*") {
		return false
	}
	_, known := binlogTypes[c.DataType]
	return known || c.Geometry()
}

// binlogTypes are the types that columns have in the binlog.
var binlogTypes = map[string]byte{
	"tinyint": mysql.MYSQL_TYPE_TINY, "smallint": mysql.MYSQL_TYPE_SHORT, "mediumint": mysql.MYSQL_TYPE_INT24,
	"int": mysql.MYSQL_TYPE_LONG, "bigint": mysql.MYSQL_TYPE_LONGLONG, "decimal": mysql.MYSQL_TYPE_NEWDECIMAL,
	"float": mysql.MYSQL_TYPE_FLOAT, "double": mysql.MYSQL_TYPE_DOUBLE, "bit": mysql.MYSQL_TYPE_BIT,
	"year": mysql.MYSQL_TYPE_YEAR, "date": mysql.MYSQL_TYPE_DATE, "time": mysql.MYSQL_TYPE_TIME2,
	"datetime": mysql.MYSQL_TYPE_DATETIME2, "timestamp": mysql.MYSQL_TYPE_TIMESTAMP2,
	"char": mysql.MYSQL_TYPE_STRING, "binary": mysql.MYSQL_TYPE_STRING,
	"varchar": mysql.MYSQL_TYPE_VARCHAR, "varbinary": mysql.MYSQL_TYPE_VARCHAR,
	"tinytext": mysql.MYSQL_TYPE_BLOB, "text": mysql.MYSQL_TYPE_BLOB, "mediumtext": mysql.MYSQL_TYPE_BLOB, "longtext": mysql.MYSQL_TYPE_BLOB,
	"tinyblob": mysql.MYSQL_TYPE_BLOB, "blob": mysql.MYSQL_TYPE_BLOB, "mediumblob": mysql.MYSQL_TYPE_BLOB, "longblob": mysql.MYSQL_TYPE_BLOB,
	"enum": mysql.MYSQL_TYPE_ENUM, "set": mysql.MYSQL_TYPE_SET,
	"uuid": mysql.MYSQL_TYPE_STRING, "inet6": mysql.MYSQL_TYPE_STRING, "inet4": mysql.MYSQL_TYPE_STRING,
}
