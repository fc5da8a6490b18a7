package replicate

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

const (
	// A chunk ends with one of these; times ConnectionsMax, twice, for its text
	// and what the driver has of it: 32 MB, unless a single row is larger.
	chunkBytes = 4 << 20
	chunkRows  = 20_000
	// writeTries is how often a chunk is written that a lock was in the way of.
	writeTries = 5
)

// tableCopy is a table and how its rows are read and written.
type tableCopy struct {
	schema   string
	table    *database.Table
	names    string // of the columns that are written
	read     string // SELECT … FROM …
	loadable bool
}

func newTableCopy(schema string, t *database.Table) *tableCopy {
	c := &tableCopy{schema: schema, table: t, loadable: true}
	var names, reads []string
	for _, i := range t.Written() {
		column := t.Columns[i]
		names = append(names, fence.Quote(column.Name))
		reads = append(reads, column.Read())
		if column.Geometry() || column.RawOctets() != 0 {
			c.loadable = false // LOAD DATA takes the text of these, not the bytes
		}
	}
	c.names = strings.Join(names, ",")
	c.read = "SELECT " + strings.Join(reads, ",") + " FROM " + full(schema, t.Name)
	return c
}

// rowsText is a chunk: rows in the form in which they are written.
type rowsText struct {
	copy *tableCopy
	load bool
	text []byte
	rows int
}

func (c *rowsText) full() bool { return c.rows >= chunkRows || len(c.text) >= chunkBytes }

func (c *rowsText) reset() { c.text, c.rows = c.text[:0], 0 }

// add appends a row: a line for LOAD DATA, a tuple of literals else.
func (c *rowsText) add(values []sql.RawBytes) {
	if !c.load && c.rows != 0 {
		c.text = append(c.text, ',')
	}
	if !c.load {
		c.text = append(c.text, '(')
	}
	for i, v := range values {
		switch {
		case i == 0:
		case c.load:
			c.text = append(c.text, '\t')
		default:
			c.text = append(c.text, ',')
		}
		switch {
		case c.load && v == nil:
			c.text = append(c.text, `\N`...)
		case c.load:
			c.text = appendEscaped(c.text, v, "\t\n\\")
		case v == nil:
			c.text = append(c.text, "NULL"...)
		default:
			c.text = append(appendEscaped(append(c.text, "_binary'"...), v, "'\\\x00"), '\'')
		}
	}
	if c.load {
		c.text = append(c.text, '\n')
	} else {
		c.text = append(c.text, ')')
	}
	c.rows++
}

// appendEscaped writes bytes with a backslash before those that mean something.
func appendEscaped(dst, text []byte, special string) []byte {
	for {
		i := bytes.IndexAny(text, special)
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(append(dst, text[:i]...), '\\')
		switch text[i] {
		case '\t':
			dst = append(dst, 't')
		case '\n':
			dst = append(dst, 'n')
		case 0:
			dst = append(dst, '0')
		default:
			dst = append(dst, text[i])
		}
		text = text[i+1:]
	}
}

// errChunk says that the server did not take a chunk as it is.
var errChunk = errors.New("the server did not take every row as it is")

// writer writes chunks on the replica. It belongs to one goroutine.
type writer struct {
	*session
	token string
	name  string // under which the driver finds text
	text  atomic.Pointer[[]byte]
	loads bool
}

func newWriter(ctx context.Context, to *database.Server, token, name string) (*writer, error) {
	s, err := openQuiet(ctx, to)
	if err != nil {
		return nil, err
	}
	w := &writer{session: s, token: token, name: name}
	on, err := to.Variable(ctx, "local_infile")
	if err != nil {
		s.close()
		return nil, err
	}
	w.loads = on == "1" || strings.EqualFold(on, "on")
	mysql.RegisterReaderHandler(name, func() io.Reader {
		if text := w.text.Load(); text != nil {
			return bytes.NewReader(*text)
		}
		return nil // a server that asks when nobody loads gets nothing
	})
	return w, nil
}

func (w *writer) end(ctx context.Context) {
	mysql.DeregisterReaderHandler(w.name)
	w.kill(ctx)
}

// write writes a chunk in a transaction that has the run's mark.
func (w *writer) write(ctx context.Context, c *rowsText) error {
	var err error
	for range writeTries {
		err = database.InTx(ctx, w.conn, func(tx *sql.Tx) error {
			if err := own(ctx, tx, w.token, "LOCK IN SHARE MODE"); err != nil {
				return err
			}
			return w.put(ctx, tx, c)
		})
		if err == nil || !database.TimedOut(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("write rows of %s.%s on %s: %w", c.copy.schema, c.copy.table.Name, w.server.Name(), err)
	}
	return nil
}

func (w *writer) put(ctx context.Context, tx *sql.Tx, c *rowsText) error {
	table := full(c.copy.schema, c.copy.table.Name)
	statement := "INSERT INTO " + table + " (" + c.copy.names + ") VALUES " + string(c.text)
	if c.load {
		w.text.Store(&c.text)
		defer w.text.Store(nil)
		statement = "LOAD DATA LOCAL INFILE 'Reader::" + w.name + "' IGNORE INTO TABLE " + table +
			` CHARACTER SET binary FIELDS TERMINATED BY '\t' ENCLOSED BY '' ESCAPED BY '\\' LINES STARTING BY '' TERMINATED BY '\n' (` + c.copy.names + ")"
	}
	result, err := tx.ExecContext(ctx, statement)
	if err != nil {
		return err
	}
	taken, err := result.RowsAffected()
	if err != nil {
		return err
	}
	// LOCAL makes the server forgive what it would refuse, and tell of it.
	var warnings int
	if err := tx.QueryRowContext(ctx, "SELECT @@warning_count").Scan(&warnings); err != nil {
		return err
	}
	if taken != int64(c.rows) || c.load && warnings != 0 {
		said, _ := lines(ctx, tx, "SHOW WARNINGS LIMIT 1") // better than nothing
		return fmt.Errorf("%w: %d of %d rows, %d warnings %v", errChunk, taken, c.rows, warnings, said)
	}
	return nil
}
