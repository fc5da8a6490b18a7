package database

import (
	"fmt"
	"strconv"
	"strings"

	"drover/shardlib/fence"
)

// Column is one column of a sharded table.
type Column struct {
	Name      string
	Type      string // as SHOW CREATE TABLE writes it, such as "int(10) unsigned"
	DataType  string // the word alone, such as "int"
	Charset   string // empty for what is not text
	Collation string
	// Generated columns are computed by the server and never written.
	Generated bool
	Nullable  bool
	// Octets is the length of a fixed BINARY column in bytes.
	Octets int
	// Members are the names of an ENUM or SET, in order, as the bytes that the
	// column's character set has for them.
	Members [][]byte
}

// same says whether the columns are defined alike. The members follow from the
// type and the character set.
func (c Column) same(o Column) bool {
	return c.Name == o.Name && c.Type == o.Type && c.DataType == o.DataType && c.Charset == o.Charset &&
		c.Collation == o.Collation && c.Generated == o.Generated && c.Nullable == o.Nullable && c.Octets == o.Octets
}

// Unsigned says whether the column holds no negative numbers.
func (c Column) Unsigned() bool {
	return strings.Contains(c.Type, " unsigned") && c.DataType != "enum" && c.DataType != "set"
}

// Zerofill says whether the server prints the column's numbers with zeros in
// front. Their text is then not that of the number.
func (c Column) Zerofill() bool {
	return strings.Contains(c.Type, " zerofill") && c.DataType != "enum" && c.DataType != "set"
}

// Fraction is the number of digits that a time of the column has behind the
// second.
func (c Column) Fraction() int { return max(0, c.number()) }

// number is the first number in the type's parentheses, such as 12 of bit(12);
// -1 where there is none.
func (c Column) number() int {
	_, rest, _ := strings.Cut(c.Type, "(")
	digits, _, _ := strings.Cut(rest, ")")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return -1
	}
	return n
}

// BitOctets is how many bytes the server gives for a value of a BIT column.
func (c Column) BitOctets() int { return (max(1, c.number()) + 7) / 8 }

// RawOctets is the length of the types that are read and written as raw bytes
// of one length, 0 for all others. In a session that speaks bytes the server
// takes these bytes for the value, and never the text.
func (c Column) RawOctets() int {
	switch c.DataType {
	case "uuid", "inet6":
		return 16
	case "inet4":
		return 4
	default:
		return 0
	}
}

// Geometry says whether the column holds shapes. They are read and written as
// the server stores them: four bytes of SRID, then WKB.
func (c Column) Geometry() bool {
	switch c.DataType {
	case "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
		"geometrycollection", "geomcollection":
		return true
	default:
		return false
	}
}

// enumKeyMembers bounds the members of an ENUM in a primary key: every key in a
// statement names them all. 64 names of 20 bytes for each of the 200 keys of a
// DELETE are 0.5 MB of hexadecimal digits.
const enumKeyMembers = 64

// Param is the placeholder for a value of the column where it is compared. It
// has one question mark.
//
// Values come as bytes; a comparison of bytes with the column would be made
// with doubles, in another collation, or without the index. An ENUM is compared
// by its index, for that is the order of its values.
func (c Column) Param() string {
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "year":
		if c.Unsigned() {
			return "CAST(? AS UNSIGNED)"
		}
		return "CAST(? AS SIGNED)"
	case "bit":
		return "CAST(CONV(HEX(?),16,10) AS UNSIGNED)"
	case "decimal":
		return "CAST(? AS " + c.bareType() + ")"
	case "date":
		return "CAST(? AS DATE)"
	case "datetime", "timestamp":
		return "CAST(? AS DATETIME(6))"
	case "time":
		return "CAST(? AS TIME(6))"
	case "uuid", "inet6", "inet4":
		return "CAST(? AS " + c.DataType + ")"
	case "enum":
		return "FIELD(?" + c.memberList() + ")"
	}
	if c.Charset == "" {
		return "?"
	}
	return "CONVERT(? USING " + c.Charset + ") COLLATE " + c.Collation
}

// bareType is the type without "unsigned" and "zerofill".
func (c Column) bareType() string {
	bare, _, _ := strings.Cut(c.Type, " ")
	return bare
}

func (c Column) memberList() string {
	var b strings.Builder
	for _, m := range c.Members {
		fmt.Fprintf(&b, ",X'%X'", m)
	}
	return b.String()
}

// Comparable says whether the column may be part of a primary key: whether the
// order of its values is the order in which Param compares them.
func (c Column) Comparable() bool {
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "year", "decimal", "bit",
		"date", "datetime", "timestamp", "time", "char", "varchar", "binary", "varbinary",
		"uuid", "inet6", "inet4":
		return true
	case "enum":
		return len(c.Members) <= enumKeyMembers
	default:
		return false
	}
}

// Read is the expression that reads the column without loss as bytes, which
// written to the same column of another server give the same value.
//
// FLOAT prints six digits unless it is read as DOUBLE. The year 0000 is 0 as a
// number, which as text is the year 2000. The zeros in front of a number are no
// part of it. Text is taken as bytes, for two columns of two character sets do
// not go into one checksum. UUID and addresses are taken as raw bytes. The error value of an
// ENUM prints as the empty name, which may be that of a member: it is read as a
// name that no member has, so that the server refuses it.
func (c Column) Read() string {
	name := fence.Quote(c.Name)
	switch c.DataType {
	case "float":
		return "CAST(" + name + " AS DOUBLE)"
	case "year":
		return "CAST(" + name + " AS CHAR)"
	case "enum":
		return "IF(CAST(" + name + " AS UNSIGNED)=0,X'00',CAST(" + name + " AS BINARY))"
	case "uuid", "inet6", "inet4":
		return fmt.Sprintf("CAST(%s AS BINARY(%d))", name, c.RawOctets())
	}
	if c.Charset != "" {
		return "CAST(" + name + " AS BINARY)"
	}
	if !c.Zerofill() {
		return name
	}
	switch c.DataType {
	case "decimal":
		return "CAST(" + name + " AS " + c.bareType() + ")"
	case "double":
		return "CAST(" + name + " AS DOUBLE)"
	default:
		return "CAST(" + name + " AS UNSIGNED)"
	}
}
