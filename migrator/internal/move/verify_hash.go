package move

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// What two ends are compared by, and how sure "equal" is.
//
// A row is written as text that no other row reads alike: each value with its
// length in bytes, as the bytes that the server keeps, so that neither a
// collation nor a conversion makes two values one; NULL as a word of its own.
// The row's hash is the MD5 of that text, 128 bits, with the primary key in it.
//
// A chunk of rows is equal when the number of rows, the XOR of the hashes'
// first 64 bits and the sum of their last 64 bits are equal at both ends. The
// XOR alone would let two changes cancel out; the sum is another function of
// other bits, and what cancels in one does not in the other. For rows that
// differ by chance, and not by somebody who builds MD5 collisions, the three
// agree with a probability of about 2^-127 a chunk: with 10^9 chunks, 10^-29.
// Rows that are compared one by one are so by all 128 bits.

// sum is the checksum of a range of rows.
type sum struct {
	rows  int64
	xor   uint64
	total string // a DECIMAL: 64 bits times the rows is more than an integer holds
}

// word is the SQL expression of one column's value for a row's hash.
func word(c database.Column) string {
	name := fence.Quote(c.Name)
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return "COALESCE(" + name + ",'N')"
	case "float", "double":
		// A zero prints without its sign; the arc tangent knows it.
		read := c.Read()
		return "COALESCE(CONCAT(LENGTH(" + read + "),':'," + read + ",IF(" + name + "=0 AND ATAN2(" + name + ",-1)<0,'-','')),'N')"
	case "enum", "set":
		// An ENUM may hold the error value, which reads like the member ''.
		return "COALESCE(CONCAT(LENGTH(" + name + "),':',CAST(" + name + " AS BINARY),'=',CAST(" + name + " AS UNSIGNED)),'N')"
	case "year":
		return "COALESCE(" + c.Read() + ",'N')"
	default:
		// The column itself, not what Read makes of it for writing.
		return "COALESCE(CONCAT(LENGTH(" + name + "),':',CAST(" + name + " AS BINARY)),'N')"
	}
}

// rowHash is the SQL expression of a row's hash, 32 hexadecimal digits. The
// bucket is in it even where the server computes it, for the two servers may
// compute it in two ways.
func rowHash(t *database.Table) string {
	columns := t.Written()
	if i := t.Index(t.BucketColumn); i >= 0 && !slices.Contains(columns, i) {
		columns = append(columns, i)
	}
	words := make([]string, len(columns))
	for i, column := range columns {
		words[i] = word(t.Columns[column])
	}
	return "MD5(CONCAT_WS('#'," + strings.Join(words, ",") + "))"
}

// checksum asks a server for the checksum of the rows that a condition chooses.
// The LIMIT, which cuts nothing off, makes it compute each hash once.
func checksum(ctx context.Context, server *database.Server, t *database.Table, where string, args []any) (sum, error) {
	var s sum
	err := server.DB.QueryRowContext(ctx, verifyBound()+
		"SELECT COUNT(*), COALESCE(BIT_XOR(CAST(CONV(LEFT(h,16),16,10) AS UNSIGNED)),0), COALESCE(SUM(CAST(CONV(RIGHT(h,16),16,10) AS UNSIGNED)),0) FROM (SELECT "+
		rowHash(t)+" AS h FROM "+fence.Quote(t.Name)+" WHERE "+where+" LIMIT 18446744073709551615) AS hashes", args...).Scan(&s.rows, &s.xor, &s.total)
	if err != nil {
		return sum{}, fmt.Errorf("checksum of %s on %s: %w", t.Name, server.Name(), err)
	}
	return s, nil
}

// keyHash is a row's key and hash.
type keyHash struct {
	key  binlog.Row
	hash string
}

// hashes asks a server for the hash of each row that a condition chooses, by
// the key's text.
func hashes(ctx context.Context, server *database.Server, t *database.Table, where string, args []any) (map[string]keyHash, error) {
	wrap := func(err error) error { return fmt.Errorf("row checksums of %s on %s: %w", t.Name, server.Name(), err) }
	names := make([]string, 0, len(t.Primary)+1)
	for _, c := range t.Primary {
		names = append(names, t.Columns[c].Read())
	}
	names = append(names, rowHash(t))
	rows, err := server.DB.QueryContext(ctx, verifyBound()+"SELECT "+strings.Join(names, ",")+" FROM "+fence.Quote(t.Name)+" WHERE "+where, args...)
	if err != nil {
		return nil, wrap(err)
	}
	defer rows.Close()
	all := map[string]keyHash{}
	values := make([]sql.RawBytes, len(names))
	scan := make([]any, len(names))
	for i := range values {
		scan[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(scan...); err != nil {
			return nil, wrap(err)
		}
		key := make(binlog.Row, len(t.Primary))
		for i := range key {
			key[i] = slices.Clone([]byte(values[i]))
		}
		all[plainKey(key)] = keyHash{key: key, hash: string(values[len(values)-1])}
		if len(all) > differMax {
			return nil, wrap(fmt.Errorf("%w: %d", errTooMany, differMax))
		}
	}
	if err := rows.Err(); err != nil {
		return nil, wrap(err)
	}
	return all, nil
}

// plainKey is a key, whose values are bytes or numbers, as a map's key.
func plainKey(key binlog.Row) string {
	var text []byte
	for _, v := range key {
		value := plainValue(v)
		text = fmt.Appendf(text, "%d:", len(value))
		text = append(text, value...)
	}
	return string(text)
}

func plainValue(v any) []byte {
	switch v := v.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	default:
		return fmt.Append(nil, v)
	}
}
