package binlog

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/go-mysql-org/go-mysql/replication"
)

// statement judges one statement of the binlog: whether it changes the rows or
// the shape of a chosen table other than by row events.
//
// What it cannot tell, it takes for a change. That concerns statements that
// change rows (they are in the binlog only of sessions whose binlog_format is
// not ROW): in the tables' own database any of them may change a sharded table
// by a view, a trigger or a function. One that writes to a table of another
// database is let pass; a view or a trigger there is not looked through.
type statement struct {
	scanner
	database string // of the chosen tables
	current  string // of the session
	chosen   func(name string) bool
}

// The bits of sql_mode, from MariaDB's sql/sql_class.h.
const (
	modeANSIQuotes = 1 << 2
	modeNoEscapes  = 1 << 20
)

// The first status variables of a query event, from sql/log_event.h: a code,
// and a value of fixed length.
const (
	statusFlags2  = 0 // 4 bytes
	statusSQLMode = 1 // 8 bytes
)

func sqlMode(status []byte) uint64 {
	if len(status) >= 5 && status[0] == statusFlags2 {
		status = status[5:]
	}
	if len(status) >= 9 && status[0] == statusSQLMode {
		return binary.LittleEndian.Uint64(status[1:])
	}
	return 0
}

func newStatement(e *replication.QueryEvent, database string, chosen func(string) bool) *statement {
	mode := sqlMode(e.StatusVars)
	return &statement{database: database, current: string(e.Schema), chosen: chosen,
		scanner: scanner{rest: string(e.Query), ansiQuotes: mode&modeANSIQuotes != 0, noEscapes: mode&modeNoEscapes != 0}}
}

// sameName compares a name in a statement with a known one, as the most lenient
// server does. What is not UTF-8 is in the character set of the session, and
// may be any name beyond ASCII.
func sameName(a, known string) bool {
	if strings.EqualFold(a, known) {
		return true
	}
	beyond := func(r rune) bool { return r >= utf8.RuneSelf }
	return !utf8.ValidString(a) && strings.ContainsFunc(known, beyond)
}

// ours says whether a name is that of a chosen table.
func (s *statement) ours(qualifier, name string) bool {
	return s.inDatabase(qualifier) && s.chosen(name)
}

func (s *statement) inDatabase(qualifier string) bool {
	if qualifier == "" {
		qualifier = s.current
	}
	return sameName(qualifier, s.database)
}

// changes is the judgement.
func (s *statement) changes() bool {
	if s.peek().is("SET") {
		for t := s.next(); t.kind != end && !t.is("FOR"); {
			t = s.next()
		}
	}
	switch first := s.next(); {
	case first.kind == end:
		return false
	case first.is("ALTER"):
		return s.alter()
	case first.is("CREATE"):
		return s.create()
	case first.is("DROP"):
		return s.drop()
	case first.is("TRUNCATE"):
		s.skip("TABLE")
		return s.names()
	case first.is("RENAME"):
		if !s.skip("TABLE", "TABLES") {
			return false
		}
		s.skip("IF", "EXISTS")
		return s.names()
	case first.is("INSERT", "REPLACE", "DELETE", "UPDATE", "LOAD"):
		return s.write(first)
	case first.is("ANALYZE", "OPTIMIZE", "CHECK", "CHECKSUM", "REPAIR", "GRANT", "REVOKE", "FLUSH", "INSTALL", "UNINSTALL",
		"LOCK", "UNLOCK", "USE", "START", "RELEASE", "SAVEPOINT", "ROLLBACK", "COMMIT", "BEGIN"):
		return false
	default:
		return s.inDatabase("") || s.mentions()
	}
}

// names reads a list of names, with whatever stands between, to the end.
func (s *statement) names() bool {
	for {
		qualifier, name, ok := s.name()
		if !ok || s.ours(qualifier, name) {
			return true // no name where there must be one: not understood
		}
		for !s.peek().isMark(',') && !s.peek().is("TO") {
			if s.next().kind == end {
				return false
			}
		}
		s.next()
	}
}

// one reads the name of a table.
func (s *statement) one() bool {
	qualifier, name, ok := s.name()
	return !ok || s.ours(qualifier, name)
}

func (s *statement) alter() bool {
	s.skip("ONLINE", "IGNORE")
	if !s.skip("TABLE") {
		return false // a database's defaults, a user, a routine, an event
	}
	s.skip("IF", "EXISTS")
	if s.one() {
		return true
	}
	for {
		switch t := s.next(); {
		case t.kind == end:
			return false
		case t.is("RENAME"):
			if s.peek().is("COLUMN", "INDEX", "KEY") {
				continue
			}
			s.skip("TO", "AS")
			if s.peek().isMark('=') {
				s.next()
			}
			if s.one() {
				return true
			}
		case t.is("TABLE"): // EXCHANGE and CONVERT PARTITION
			if s.one() {
				return true
			}
		}
	}
}

func (s *statement) create() bool {
	replace := false
	for {
		switch t := s.next(); {
		case t.kind == end, t.is("TEMPORARY"):
			return false
		case t.is("REPLACE"):
			replace = true
		case t.is("TABLE"):
			kept := s.skip("IF", "NOT", "EXISTS")
			if !s.one() {
				return false
			}
			// Of a table that is there nothing changes, unless rows are added.
			return replace || !kept || s.finds("SELECT", "VALUES", "WITH")
		case t.is("DATABASE", "SCHEMA"):
			return replace && sameName(s.next().text, s.database)
		case t.is("INDEX"):
			return !s.finds("ON") || s.one()
		case t.is("TRIGGER", "VIEW", "PROCEDURE", "FUNCTION", "PACKAGE", "EVENT", "USER", "ROLE", "SERVER", "SEQUENCE", "TABLESPACE"):
			return false
		}
	}
}

func (s *statement) drop() bool {
	switch t := s.next(); {
	case t.is("TABLE", "TABLES"):
		s.skip("IF", "EXISTS")
		return s.names()
	case t.is("DATABASE", "SCHEMA"):
		s.skip("IF", "EXISTS")
		return sameName(s.next().text, s.database)
	case t.is("INDEX"):
		return !s.finds("ON") || s.one()
	default:
		return false
	}
}

// finds passes over everything up to a keyword.
func (s *statement) finds(keywords ...string) bool {
	for {
		switch t := s.next(); {
		case t.kind == end:
			return false
		case t.is(keywords...):
			return true
		}
	}
}

// write judges a statement that changes rows: only one that names a single
// table of another database passes.
func (s *statement) write(first token) bool {
	if first.is("LOAD") {
		if !s.finds("TABLE") {
			return true
		}
	} else {
		s.skip("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "QUICK", "IGNORE", "INTO", "FROM")
	}
	qualifier, _, ok := s.name()
	if !ok || s.inDatabase(qualifier) {
		return true
	}
	if first.is("INSERT", "REPLACE", "LOAD") {
		return false
	}
	switch t := s.peek(); {
	case t.kind == end, t.is("SET", "WHERE", "ORDER", "LIMIT", "RETURNING"):
		return false
	default: // an alias, or several tables
		return s.inDatabase("") || s.mentions()
	}
}

// mentions says whether a chosen table, or its database, is named from here on.
func (s *statement) mentions() bool {
	for {
		t := s.next()
		if t.kind == end {
			return false
		}
		if !t.isName() {
			continue
		}
		switch qualified := s.peek().isMark('.'); {
		case !qualified && s.ours("", t.text), qualified && sameName(t.text, s.database):
			return true
		}
	}
}
