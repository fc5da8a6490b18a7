package database

import (
	"context"
	"fmt"
	"strings"
)

// describeMembers reads the names of an ENUM or SET from the column's type.
func (s *Server) describeMembers(ctx context.Context, c *Column) error {
	if c.DataType != "enum" && c.DataType != "set" {
		return nil
	}
	names, err := parseMembers(c.Type)
	if err != nil {
		return fmt.Errorf("column %s: %w", c.Name, err)
	}
	c.Members = make([][]byte, len(names))
	if sameInUTF8(c.Charset, names) {
		for i, name := range names {
			c.Members[i] = []byte(name)
		}
		return nil
	}
	// The server knows its character sets best. The charset is a word of the
	// server's own list.
	selects := make([]string, len(names))
	for i, name := range names {
		selects[i] = fmt.Sprintf("SELECT %d AS n, CAST(CONVERT(_utf8mb4 X'%X' USING %s) AS BINARY) AS m", i, name, c.Charset)
	}
	rows, err := s.DB.QueryContext(ctx, strings.Join(selects, " UNION ALL "))
	if err != nil {
		return fmt.Errorf("column %s: names of its members: %w", c.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		var member []byte
		if err := rows.Scan(&n, &member); err != nil {
			return fmt.Errorf("column %s: names of its members: %w", c.Name, err)
		}
		c.Members[n] = append([]byte{}, member...)
	}
	return rows.Err()
}

// sameInUTF8 says whether the names have the same bytes in the character set as
// in UTF-8.
func sameInUTF8(charset string, names []string) bool {
	switch charset {
	case "utf8", "utf8mb3", "utf8mb4", "binary":
		return true
	case "ucs2", "utf16", "utf16le", "utf32":
		return false
	}
	for _, name := range names {
		for i := range len(name) {
			if name[i] >= 0x80 || name[i] == '\\' || name[i] == '~' { // which some Asian sets do not have
				return false
			}
		}
	}
	return true
}

// parseMembers reads enum('a','b') as information_schema writes it: a quote is
// doubled; a backslash, a zero byte and a line's end are escaped.
func parseMembers(columnType string) ([]string, error) {
	bad := fmt.Errorf("its members cannot be read from its type %q", columnType)
	_, list, ok := strings.Cut(columnType, "(")
	if !ok {
		return nil, bad
	}
	var names []string
	for {
		if !strings.HasPrefix(list, "'") {
			return nil, bad
		}
		name, rest, ok := cutMember(list[1:])
		if !ok || rest == "" {
			return nil, bad
		}
		names = append(names, name)
		if rest[0] == ')' {
			return names, nil
		}
		list = rest[1:]
	}
}

// cutMember reads up to the closing quote.
func cutMember(text string) (name, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\'' && i+1 < len(text) && text[i+1] == '\'':
			b.WriteByte('\'')
			i++
		case text[i] == '\'':
			return b.String(), text[i+1:], true
		case text[i] == '\\' && i+1 < len(text):
			i++
			switch text[i] {
			case '0':
				b.WriteByte(0)
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			default:
				b.WriteByte(text[i])
			}
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", false
}
