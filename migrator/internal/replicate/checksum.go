package replicate

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// A row's hash is the MD5 of its values, each with its length, as the bytes that
// the server keeps; a chunk is equal when the number of rows, the XOR of one
// half of the hashes and the sum of the other half are, as for a move.

// wordOf is the SQL expression of one value for a row's hash.
func wordOf(c database.Column) string {
	name := fence.Quote(c.Name)
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return "COALESCE(" + name + ",'N')"
	case "float", "double":
		// A zero prints without its sign; the arc tangent knows it.
		return "COALESCE(CONCAT(" + c.Read() + ",IF(" + name + "=0 AND ATAN2(" + name + ",-1)<0,'-','')),'N')"
	case "enum", "set":
		return "COALESCE(CAST(" + name + " AS UNSIGNED),'N')"
	case "year":
		return "COALESCE(" + c.Read() + ",'N')"
	default:
		return "COALESCE(CONCAT(LENGTH(" + name + "),':',CAST(" + name + " AS BINARY)),'N')"
	}
}

// hashOf is the SQL expression of a row's hash. What the servers compute is in
// it: they may compute it in two ways.
func hashOf(t *database.Table) string {
	words := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		words[i] = wordOf(c)
	}
	return "MD5(CONCAT_WS('#'," + strings.Join(words, ",") + "))"
}

// sum is the checksum of a chunk.
type sum struct {
	rows  int64
	xor   uint64
	total string
}

// span is a chunk: the rows of a table after one key, up to another.
type span struct {
	copy  *tableCopy
	where string
	args  []any
}

func (s *session) sum(ctx context.Context, c span) (sum, error) {
	var got sum
	err := s.conn.QueryRowContext(ctx, "SELECT COUNT(*), COALESCE(BIT_XOR(CAST(CONV(LEFT(h,16),16,10) AS UNSIGNED)),0), "+
		"COALESCE(SUM(CAST(CONV(RIGHT(h,16),16,10) AS UNSIGNED)),0) FROM (SELECT "+hashOf(c.copy.table)+" AS h FROM "+
		full(c.copy.schema, c.copy.table.Name)+c.where+" LIMIT 18446744073709551615) AS hashes", c.args...).Scan(&got.rows, &got.xor, &got.total)
	if err != nil {
		return sum{}, fmt.Errorf("checksum of %s.%s on %s: %w", c.copy.schema, c.copy.table.Name, s.server.Name(), err)
	}
	return got, nil
}

// keyWords is how a row is named: by its primary key, or by its hash where it
// has none.
func keyWords(t *database.Table) string {
	if len(t.Primary) == 0 {
		return hashOf(t)
	}
	var names []string
	for _, i := range t.Primary {
		c := t.Columns[i]
		switch {
		case c.Charset != "" || c.DataType == "date" || c.DataType == "datetime" || c.DataType == "timestamp" || c.DataType == "time" ||
			!strings.Contains(c.DataType, "binary") && !strings.Contains(c.DataType, "blob") && c.DataType != "bit" && !c.Geometry():
			names = append(names, "CAST("+fence.Quote(c.Name)+" AS CHAR)")
		default:
			names = append(names, "CONCAT('0x',HEX("+fence.Quote(c.Name)+"))")
		}
	}
	return "CONCAT_WS(','," + strings.Join(names, ",") + ")"
}

// hashesMax bounds the rows of a chunk that are compared one by one; a table
// without a usable key is one chunk.
const hashesMax = 100_000

// hashes gives each row's hash by its name; more than hashesMax is nil.
func (s *session) hashes(ctx context.Context, c span) (map[string]string, error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT "+keyWords(c.copy.table)+","+hashOf(c.copy.table)+" FROM "+
		full(c.copy.schema, c.copy.table.Name)+c.where+fmt.Sprintf(" LIMIT %d", hashesMax+1), c.args...)
	if err != nil {
		return nil, fmt.Errorf("rows of %s.%s on %s: %w", c.copy.schema, c.copy.table.Name, s.server.Name(), err)
	}
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var key, hash string
		if err := rows.Scan(&key, &hash); err != nil {
			return nil, err
		}
		for n := 2; all[key] != "" && len(c.copy.table.Primary) == 0; n++ {
			key = fmt.Sprintf("%.32s (%d)", key, n) // rows that are the same, each counted
		}
		all[key] = hash
	}
	if len(all) > hashesMax {
		return nil, rows.Err()
	}
	return all, rows.Err()
}

// place is a primary key, by which chunks end.
type place []any

// next returns the key of the n-th row after a place, nil when there are fewer.
func (s *session) next(ctx context.Context, c *tableCopy, after place, n int) (place, error) {
	t := c.table
	where, args := beyond(t, after, ">")
	if where != "" {
		where = " WHERE " + where
	}
	var names, order []string
	for _, i := range t.Primary {
		names, order = append(names, t.Columns[i].Read()), append(order, fence.Quote(t.Columns[i].Name))
	}
	values := make([]sql.RawBytes, len(names))
	scan := make([]any, len(names))
	for i := range values {
		scan[i] = &values[i]
	}
	rows, err := s.conn.QueryContext(ctx, "SELECT "+strings.Join(names, ",")+" FROM "+full(c.schema, t.Name)+" FORCE INDEX (PRIMARY)"+where+
		" ORDER BY "+strings.Join(order, ",")+fmt.Sprintf(" LIMIT 1 OFFSET %d", n-1), args...)
	if err != nil {
		return nil, fmt.Errorf("keys of %s.%s on %s: %w", c.schema, t.Name, s.server.Name(), err)
	}
	defer rows.Close()
	var key place
	for rows.Next() {
		if err := rows.Scan(scan...); err != nil {
			return nil, err
		}
		for _, v := range values {
			key = append(key, append([]byte{}, v...))
		}
	}
	return key, rows.Err()
}

// beyond is the condition for keys on one side of a place: (a > ? OR a = ? AND
// b > ?). No place is no condition.
func beyond(t *database.Table, at place, op string) (where string, args []any) {
	if at == nil {
		return "", nil
	}
	var ors []string
	for i := range t.Primary {
		var ands []string
		for j := range i + 1 {
			c := t.Columns[t.Primary[j]]
			compare := "="
			if j == i {
				compare = op
				if op == "<" && i == len(t.Primary)-1 {
					compare = "<="
				}
			}
			ands = append(ands, fence.Quote(c.Name)+compare+c.Param())
			args = append(args, at[j])
		}
		ors = append(ors, "("+strings.Join(ands, " AND ")+")")
	}
	where = "(" + strings.Join(ors, " OR ") + ")"
	if len(t.Primary) > 1 { // which the optimizer would not see by itself
		c := t.Columns[t.Primary[0]]
		where, args = fence.Quote(c.Name)+op+"="+c.Param()+" AND "+where, append([]any{at[0]}, args...)
	}
	return where, args
}

// spanOf is the chunk after one place, up to and with another.
func spanOf(c *tableCopy, after, upto place) span {
	s := span{copy: c}
	var conditions []string
	for _, end := range []struct {
		at place
		op string
	}{{after, ">"}, {upto, "<"}} {
		if where, args := beyond(c.table, end.at, end.op); where != "" {
			conditions, s.args = append(conditions, where), append(s.args, args...)
		}
	}
	if len(conditions) != 0 {
		s.where = " WHERE " + strings.Join(conditions, " AND ")
	}
	return s
}

// keyed says whether the table can be gone through by its primary key.
func keyed(t *database.Table) bool {
	for _, i := range t.Primary {
		if !t.Columns[i].Comparable() {
			return false
		}
	}
	return len(t.Primary) != 0
}
