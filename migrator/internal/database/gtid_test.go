package database

import "testing"

func TestPositionsAreComparedDomainByDomain(t *testing.T) {
	parse := func(s string) Position {
		p, err := ParsePosition(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a := parse("0-1-100,5-2-7")
	for _, c := range []struct {
		other   string
		reached bool
		lag     uint64
	}{
		{"", true, 0},
		{"0-1-100", true, 0},
		{"0-9-99,5-2-7", true, 0},
		{"0-1-101", false, 1},
		{"0-1-101,5-2-9", false, 3},
		{"6-1-4", false, 4},
	} {
		if got := a.Reached(parse(c.other)); got != c.reached {
			t.Errorf("%s reached %q: %v", a, c.other, got)
		}
		if got := a.Lag(parse(c.other)); got != c.lag {
			t.Errorf("%s lags behind %q by %d, want %d", a, c.other, got, c.lag)
		}
	}
	b := a.Clone()
	b.Advance(GTID{0, 3, 99})
	b.Advance(GTID{7, 1, 1})
	if b.String() != "0-1-100,5-2-7,7-1-1" || a.String() != "0-1-100,5-2-7" {
		t.Errorf("%s and %s", a, b)
	}
	for _, bad := range []string{"1", "0-1", "0-1-2-3", "a-1-2", "0-1--2", "4294967296-1-1"} {
		if _, err := ParsePosition(bad); err == nil {
			t.Errorf("%q is taken for a position", bad)
		}
	}
}

func TestWithinMillisWritesSeconds(t *testing.T) {
	for ms, want := range map[int]string{15: "0.015", 1000: "1.000", 12345: "12.345"} {
		if got := WithinMillis(ms); got != "SET STATEMENT max_statement_time="+want+" FOR " {
			t.Errorf("%d ms: %q", ms, got)
		}
	}
}

func TestTextIsComparedInTheColumnsOrder(t *testing.T) {
	for _, c := range []struct {
		column Column
		want   string
	}{
		{Column{DataType: "int", Type: "int(10) unsigned"}, "CAST(? AS UNSIGNED)"},
		{Column{DataType: "bigint", Type: "bigint(20)"}, "CAST(? AS SIGNED)"},
		{Column{DataType: "decimal", Type: "decimal(10,2) unsigned"}, "CAST(? AS decimal(10,2))"},
		{Column{DataType: "varchar", Type: "varchar(10)", Charset: "utf8mb4", Collation: "utf8mb4_bin"}, "CONVERT(? USING utf8mb4) COLLATE utf8mb4_bin"},
		{Column{DataType: "varbinary", Type: "varbinary(10)"}, "?"},
	} {
		if got := c.column.Param(); got != c.want {
			t.Errorf("%s: %s, want %s", c.column.Type, got, c.want)
		}
	}
}
