package database

import (
	"slices"
	"testing"
)

func TestMembersAreReadAsTheServerWritesThem(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{`enum('a')`, []string{"a"}},
		{`enum('a','','ü')`, []string{"a", "", "ü"}},
		{`enum('it''s','b\\s',' x,y ','(')`, []string{"it's", `b\s`, " x,y ", "("}},
		{`set('a\nb','\0')`, []string{"a\nb", "\x00"}},
		{`enum('a) unsigned','b')`, []string{"a) unsigned", "b"}},
	} {
		if got, err := parseMembers(c.in); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v; want %q", c.in, got, err, c.want)
		}
	}
	for _, odd := range []string{"", "enum", "enum(", "enum()", "enum('a", "enum('a'", "enum('a',", "enum(a)"} {
		if got, err := parseMembers(odd); err == nil {
			t.Errorf("%q is read as %q", odd, got)
		}
	}
}

func TestAMembersNameIsNoPropertyOfTheColumn(t *testing.T) {
	c := Column{DataType: "enum", Type: "enum('a unsigned','b zerofill')"}
	if c.Unsigned() || c.Zerofill() {
		t.Error("an ENUM is a number")
	}
}

func TestDialectsAreToldByTheVersion(t *testing.T) {
	if d, tested := DialectOf("10.11.19-MariaDB-log"); d.Flavor != "mariadb" || !tested {
		t.Errorf("MariaDB: %+v, %t", d, tested)
	}
	if d, tested := DialectOf("8.0.36"); d.Flavor != "mysql" || tested {
		t.Errorf("MySQL: %+v, %t", d, tested)
	}
}
