// Package edgevalues lists the column types that are moved, with values at their
// edges, for the tests that prove it: of the binlog's reader, of a whole move, and
// of docs/types.md, which is drawn from it. It holds data and does nothing. All
// may be called by any number of goroutines.
package edgevalues

import (
	"fmt"
	"strings"
)

// Type is a column type and values of it. Both are SQL; NULL is one of each.
type Type struct {
	Definition string
	Values     []string
}

// All returns every type. The slice is the caller's.
func All() []Type {
	return []Type{
		{"TINYINT", []string{"-128", "127"}}, {"TINYINT UNSIGNED", []string{"255", "128"}}, {"TINYINT(1)", []string{"TRUE", "FALSE"}},
		{"SMALLINT", []string{"-32768", "32767"}}, {"SMALLINT UNSIGNED", []string{"65535"}},
		{"MEDIUMINT", []string{"-8388608", "8388607"}}, {"MEDIUMINT UNSIGNED", []string{"16777215", "8388608"}},
		{"INT", []string{"-2147483648", "2147483647"}}, {"INT UNSIGNED", []string{"4294967295"}}, {"INT(7) ZEROFILL", []string{"42", "4294967295"}},
		{"BIGINT", []string{"-9223372036854775808"}}, {"BIGINT UNSIGNED", []string{"18446744073709551615"}},
		{"DECIMAL(65,30)", []string{"-99999999999999999999999999999999999.999999999999999999999999999999", "1e-30", "0", "-0.5"}},
		{"DECIMAL(30,0)", []string{"-1", "999999999999999999999999999999", "1000000000"}}, {"DECIMAL(5,5)", []string{"-0.00001", "0.1"}},
		{"DECIMAL(8,2) ZEROFILL", []string{"1.5", "0"}},
		{"FLOAT", []string{"0.1", "-3.40282346e38", "1e-45"}}, {"FLOAT(7,2)", []string{"99999.99", "-0.01"}},
		{"DOUBLE", []string{"0.1", "-1.7976931348623157e308", "-2.2250738585072014e-308", "5e-324"}}, {"DOUBLE(12,4) ZEROFILL", []string{"1.5"}},
		{"BIT(1)", []string{"b'1'"}}, {"BIT(9)", []string{"b'100000001'", "b'1'"}}, {"BIT(64)", []string{"~0", "1"}},
		{"CHAR(10)", []string{"'  ab  '", "'ünï'"}}, {"CHAR(255)", []string{"REPEAT('😀', 255)"}}, {"CHAR(3) CHARACTER SET latin1", []string{"'é '"}},
		{"CHAR(5) CHARACTER SET utf16", []string{"'😀 '", "''"}}, {"CHAR(5) COLLATE utf8mb4_nopad_bin", []string{"'a '"}},
		{"VARCHAR(100)", []string{"'😀\\'\"\\\\ \\0 x'", "'trailing  '", "''"}}, {"VARCHAR(300) CHARACTER SET ucs2", []string{"'€'"}},
		{"VARCHAR(20) COLLATE utf8mb4_bin", []string{"'a  '"}}, {"VARCHAR(20) CHARACTER SET sjis", []string{"'表'"}},
		{"BINARY(8)", []string{"X'00FF000000000000'", "X''", "X'2020'"}}, {"VARBINARY(16)", []string{"X'00FF00'", "X''", "X'2020'"}},
		{"TINYBLOB", []string{"REPEAT(X'00', 255)"}}, {"BLOB", []string{"X'0001FEFF'", "REPEAT('x', 65535)"}},
		{"MEDIUMBLOB", []string{"REPEAT(X'FF', 100000)"}}, {"LONGBLOB", []string{"''"}},
		{"TINYTEXT", []string{"'a '"}}, {"MEDIUMTEXT", []string{"REPEAT('😀', 30000)"}}, {"LONGTEXT CHARACTER SET latin1", []string{"'é'"}},
		{"ENUM('a','b','','ü','it''s','b\\\\s')", []string{"'ü'", "''", "'a'", "'it''s'", "'b\\\\s'"}}, {"ENUM('2','1','0')", []string{"'2'", "'1'", "'0'"}},
		{"ENUM('a','é') CHARACTER SET latin1", []string{"'é'"}}, {"ENUM('a','é') CHARACTER SET ucs2", []string{"'é'", "'a'"}},
		{"ENUM(" + names(300) + ")", []string{"'m299'", "'m0'"}},
		{"SET(" + names(64) + ")", []string{"'m0,m63'", "'m63'", "''"}}, {"SET('a','é','c') CHARACTER SET ucs2", []string{"'a,é'", "'c'"}},
		{"SET('2','1') CHARACTER SET latin1", []string{"'2'", "'2,1'"}},
		{"DATE", []string{"'0000-00-00'", "'9999-12-31'", "'2024-00-15'", "'2024-02-31'"}},
		{"TIME", []string{"'-838:59:59'", "'838:59:59'", "'-00:00:01'", "'00:00:00'"}},
		{"TIME(6)", []string{"'-838:59:59.999999'", "'-00:00:00.000001'", "'12:00:00'", "'00:00:00'"}}, {"TIME(1)", []string{"'-00:00:00.9'", "'-01:00:00'"}},
		{"TIME(3)", []string{"'-00:00:00.001'", "'30:00:00.999'"}}, {"TIME(4)", []string{"'-00:00:01.0001'"}},
		{"DATETIME", []string{"'0000-00-00 00:00:00'", "'9999-12-31 23:59:59'"}}, {"DATETIME(1)", []string{"'2024-02-29 00:00:00.9'"}},
		{"DATETIME(4)", []string{"'0001-01-01 00:00:00.0001'"}}, {"DATETIME(6)", []string{"'1000-01-01 00:00:00.000001'", "'2024-00-00 00:00:00'", "'0000-00-00'"}},
		{"TIMESTAMP NULL", []string{"'1970-01-02 00:00:01'", "'2038-01-18 03:14:07'", "0"}}, {"TIMESTAMP(3) NULL", []string{"'2038-01-18 03:14:07.001'", "0"}},
		{"TIMESTAMP(6) NULL", []string{"'2024-10-27 01:30:00.000001'", "'2024-10-27 01:30:00'"}},
		{"YEAR", []string{"1901", "2155", "0000", "2000"}}, {"JSON", []string{`'{"a": [1, 2.50, "ü"]}'`, "'null'"}},
		{"UUID", []string{"'01234567-89ab-1def-8123-456789abcdef'", "'01890a5d-ac96-774b-bcce-b302099a8057'", "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"}},
		{"INET6", []string{"'::'", "'::1'", "'2001:db8::'", "'::ffff:1.2.3.4'", "'ff::'"}}, {"INET4", []string{"'0.0.0.0'", "'255.255.255.255'", "'10.0.0.0'"}},
		{"POINT", []string{"POINT(1.5,-2)"}}, {"GEOMETRY", []string{"ST_GeomFromText('LINESTRING(0 0,1 1)', 4326)", "ST_GeomFromText('POINT(1 2)')"}},
		{"LINESTRING", []string{"ST_GeomFromText('LINESTRING(0 0,1 1)')"}}, {"POLYGON", []string{"ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')"}},
		{"MULTIPOINT", []string{"ST_GeomFromText('MULTIPOINT(0 0,1 1)')"}}, {"MULTILINESTRING", []string{"ST_GeomFromText('MULTILINESTRING((0 0,1 1))')"}},
		{"MULTIPOLYGON", []string{"ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))')"}},
		{"GEOMETRYCOLLECTION", []string{"ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')"}},
	}
}

// names lists n members.
func names(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("'m%d'", i)
	}
	return strings.Join(list, ",")
}
