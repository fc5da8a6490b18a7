package proof

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drover/shardlib/fence"
)

// column is what is known of a column that a made-up row gives a value.
type column struct {
	name, dataType string
	unsigned       bool
	length         int    // characters, of what is text
	generated      string // its expression, empty for what is written
	automatic      bool   // AUTO_INCREMENT
}

// table is the sharded table under trial.
type table struct {
	fence.Sharded
	buckets  uint32
	columns  []column
	keys     []string // the columns of every unique key
	primary  []string
	deciding []string // the written columns that decide the bucket
}

// ErrTable is the class of tables that cannot be tried.
var ErrTable = errors.New("the table cannot be tried")

func describe(ctx context.Context, conn *sql.Conn, sharded fence.Sharded, buckets uint32) (*table, error) {
	t := &table{Sharded: sharded, buckets: buckets}
	var engine string
	err := conn.QueryRowContext(ctx, "SELECT COALESCE(ENGINE, '') FROM information_schema.TABLES "+
		"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?", sharded.Name).Scan(&engine)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: there is none of this name that the account may see", ErrTable)
	}
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(engine, "InnoDB") {
		return nil, fmt.Errorf("%w: its engine is %s, which cannot roll back", ErrTable, engine)
	}
	if err := t.readColumns(ctx, conn); err != nil {
		return nil, err
	}
	if err := t.readKeys(ctx, conn); err != nil {
		return nil, err
	}
	if len(t.primary) == 0 {
		return nil, fmt.Errorf("%w: it has no primary key", ErrTable)
	}
	decides := t.column(sharded.Column())
	switch {
	case decides == nil:
		return nil, fmt.Errorf("%w: it has no column %q", ErrTable, sharded.Column())
	case decides.generated == "":
		t.deciding = []string{decides.name}
	default:
		for _, c := range t.columns {
			if c.generated == "" && strings.Contains(decides.generated, fence.Quote(c.name)) {
				t.deciding = append(t.deciding, c.name)
			}
		}
	}
	if len(t.deciding) == 0 {
		return nil, fmt.Errorf("%w: no written column is in the expression of %q", ErrTable, decides.name)
	}
	return t, nil
}

func (t *table) readColumns(ctx context.Context, conn *sql.Conn) error {
	rows, err := conn.QueryContext(ctx, "SELECT COLUMN_NAME, LOWER(DATA_TYPE), COLUMN_TYPE, COALESCE(CHARACTER_MAXIMUM_LENGTH, 0), "+
		"COALESCE(GENERATION_EXPRESSION, ''), EXTRA FROM information_schema.COLUMNS "+
		"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION", t.Name)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c column
		var whole, extra string
		var length uint64
		if err := rows.Scan(&c.name, &c.dataType, &whole, &length, &c.generated, &extra); err != nil {
			return err
		}
		c.unsigned, c.automatic = strings.Contains(whole, "unsigned"), strings.Contains(extra, "auto_increment")
		c.length = int(min(length, textMax))
		t.columns = append(t.columns, c)
	}
	return rows.Err()
}

// textMax bounds the text of a made-up value.
const textMax = 60

func (t *table) readKeys(ctx context.Context, conn *sql.Conn) error {
	rows, err := conn.QueryContext(ctx, "SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS "+
		"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX", t.Name)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key, name string
		if err := rows.Scan(&key, &name); err != nil {
			return err
		}
		if key == "PRIMARY" {
			t.primary = append(t.primary, name)
		}
		if !slices.Contains(t.keys, name) {
			t.keys = append(t.keys, name)
		}
	}
	return rows.Err()
}

func (t *table) column(name string) *column {
	i := slices.IndexFunc(t.columns, func(c column) bool { return strings.EqualFold(c.name, name) })
	if i < 0 {
		return nil
	}
	return &t.columns[i]
}

// given are the columns that a made-up row gives values: those that decide the
// bucket, and those of unique keys, so that it meets no other row. Other
// columns get their defaults, or, as the session is not strict, empty values.
func (t *table) given() []string {
	var names []string
	for _, c := range t.columns {
		if c.generated == "" && !c.automatic && (slices.Contains(t.deciding, c.name) || slices.Contains(t.keys, c.name)) {
			names = append(names, c.name)
		}
	}
	return names
}

// row is a made-up row.
type row struct {
	values  map[string]string // SQL literals of the given columns
	bucket  uint32
	primary []string // literals of the primary key, once inserted
}

// literal makes up a value of a column, other ones for other turns.
func (c column) literal(turn int) (string, error) {
	bits := map[string]int{"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}[c.dataType]
	switch c.dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		if !c.unsigned {
			bits--
		}
		return fmt.Sprint(^uint64(0)>>(64-bits) - uint64(turn)), nil
	case "decimal", "float", "double", "time", "bit":
		return fmt.Sprint(turn), nil
	case "enum", "set":
		return "1", nil
	case "year":
		return fmt.Sprint(2155 - turn%200), nil
	case "date", "datetime":
		return fmt.Sprintf("'9999-12-31' - INTERVAL %d DAY", turn), nil
	case "timestamp":
		return fmt.Sprintf("'2037-12-31' - INTERVAL %d DAY", turn), nil
	case "char", "varchar", "binary", "varbinary", "tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob":
		text := rand.Text() + fmt.Sprintf("-proof-%d", turn)
		return "'" + text[max(0, len(text)-c.length):] + "'", nil
	case "uuid":
		return fmt.Sprintf("'%s-%04x-4000-8000-%012x'", strings.ToLower(fmt.Sprintf("%08x", randomUint32())), turn, turn), nil
	case "inet4":
		return fmt.Sprintf("'255.255.%d.%d'", turn/256, turn%256), nil
	case "inet6":
		return fmt.Sprintf("'2001:db8::%x'", turn), nil
	default:
		return "", fmt.Errorf("%w: it has a key column %s of type %s", ErrTable, c.name, c.dataType)
	}
}

func randomUint32() (n uint32) {
	var b [4]byte
	rand.Read(b[:])
	for _, x := range b {
		n = n<<8 | uint32(x)
	}
	return n
}
