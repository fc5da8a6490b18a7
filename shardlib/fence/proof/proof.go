package proof

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/go-sql-driver/mysql"

	"drover/shardlib/fence"
)

// session is how a connection is set up: not strict, so that a made-up row need
// not name every column, and quick to give up.
var session = []string{
	"SET SESSION sql_mode = '', foreign_key_checks = 0, innodb_lock_wait_timeout = 1, lock_wait_timeout = 1, max_statement_time = 5, autocommit = 1",
	"CREATE TEMPORARY TABLE " + fence.Table + " (bucket INT NOT NULL PRIMARY KEY, " +
		"state VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, server_id BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB",
}

// plain is the name of the temporary table that is like the sharded one.
const plain = "drover_proof"

// ErrTemporary is returned for an account that may not make temporary tables.
var ErrTemporary = errors.New("the account may not make temporary tables, by which the fence is tried without a touch of its rows: " +
	"GRANT CREATE TEMPORARY TABLES ON the database TO it, or name an account with the same privileges that may")

// Prover tries tables on one connection, as the account that opened it.
type Prover struct {
	conn *sql.Conn
	// exempt is the migrator's account, which passes everywhere.
	exempt bool
}

// New prepares a connection to the database of the fence. The caller closes the
// Prover, and must not use the connection otherwise, nor give it back to a pool:
// the session is changed.
func New(ctx context.Context, conn *sql.Conn, exempt bool) (*Prover, error) {
	for _, statement := range session {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			if n := number(err); n == 1044 || n == 1142 {
				err = fmt.Errorf("%w: %w", ErrTemporary, err)
			}
			return nil, fmt.Errorf("fence: prepare a connection for trials: %w", err)
		}
	}
	// Without the temporary table the trials would write to the fence itself.
	var name, text string
	if err := conn.QueryRowContext(ctx, "SHOW CREATE TABLE "+fence.Table).Scan(&name, &text); err != nil {
		return nil, fmt.Errorf("fence: prepare a connection for trials: %w", err)
	}
	if !strings.HasPrefix(text, "CREATE TEMPORARY TABLE") {
		return nil, errors.New("fence: prepare a connection for trials: the server does not show the temporary table")
	}
	return &Prover{conn: conn, exempt: exempt}, nil
}

// Close drops what New made.
func (p *Prover) Close(ctx context.Context) error {
	_, err := p.conn.ExecContext(ctx, "DROP TEMPORARY TABLE "+fence.Table)
	return err
}

// turnsMax bounds the search for two rows of different buckets: with two
// buckets, this many rows are all of one with a chance of 2^-63.
const turnsMax = 64

// Table tries every statement under every condition on a table. The error says
// why the table could not be tried at all; a case that could not be is Untried.
func (p *Prover) Table(ctx context.Context, sharded fence.Sharded, buckets uint32) (cases []Case, err error) {
	wrap := func(err error) error { return fmt.Errorf("fence: try table %s: %w", sharded.Name, err) }
	t, err := describe(ctx, p.conn, sharded, buckets)
	if err != nil {
		return nil, wrap(err)
	}
	if _, err := p.conn.ExecContext(ctx, "CREATE TEMPORARY TABLE "+plain+" LIKE "+fence.Quote(t.Name)); err != nil {
		return nil, wrap(fmt.Errorf("%w: no temporary table can be like it: %w", ErrTable, err))
	}
	defer func() {
		_, dropErr := p.conn.ExecContext(context.WithoutCancel(ctx), "DROP TEMPORARY TABLE "+plain)
		err = errors.Join(err, dropErr)
	}()
	rows, err := p.makeUp(ctx, t)
	if err != nil {
		return nil, wrap(err)
	}
	for _, s := range Statements() {
		for _, c := range Conditions() {
			if !s.applies(c, buckets) || p.exempt && c == Null { // which the column may refuse
				continue
			}
			tried := Case{Statement: s, Condition: c, Want: Refused}
			if c == Active || p.exempt {
				tried.Want = Passed
			}
			if err := p.try(ctx, t, rows, &tried); err != nil {
				return nil, wrap(err)
			}
			cases = append(cases, tried)
		}
	}
	return cases, nil
}

// makeUp makes two rows of different buckets, the same where there is only one.
func (p *Prover) makeUp(ctx context.Context, t *table) ([2]row, error) {
	var rows [2]row
	have := 0
	for turn := 1; turn <= turnsMax; turn++ {
		r := row{values: map[string]string{}}
		for _, name := range t.given() {
			literal, err := t.column(name).literal(turn)
			if err != nil {
				return rows, err
			}
			if name == t.BucketColumn { // written, not generated
				literal = fmt.Sprint(uint32(turn) % t.buckets)
			}
			r.values[name] = literal
		}
		err := p.conn.QueryRowContext(ctx, "INSERT INTO "+plain+" "+r.insert(t)+" RETURNING "+t.Expr("", t.buckets)).Scan(&r.bucket)
		if err != nil {
			return rows, fmt.Errorf("the bucket of a made-up row: %w", err)
		}
		if have == 0 {
			rows[0], rows[1], have = r, r, 1
		} else if r.bucket != rows[0].bucket && !t.mayBeNull(r.bucket) {
			rows[1] = r
			return rows, nil
		}
	}
	if t.buckets == 1 {
		return rows, nil
	}
	return rows, fmt.Errorf("%w: %d made-up rows are all of bucket %d of %d", ErrTable, turnsMax, rows[0].bucket, t.buckets)
}

// mayBeNull says whether a NULL can become this bucket, where a column takes
// none and the session is not strict: of 0, of the empty text, or of the text
// "0". Such a bucket must not be active when a NULL is tried.
func (t *table) mayBeNull(bucket uint32) bool {
	return t.buckets > 3 && (bucket == 0 || bucket == crc32.ChecksumIEEE([]byte("0"))%t.buckets)
}

// insert gives the columns and values of the row, the primary key's too once
// they are known.
func (r row) insert(t *table) string {
	columns, values := r.lists(t)
	return "(" + strings.Join(columns, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")"
}

func (r row) lists(t *table) (columns, values []string) {
	for _, name := range t.given() {
		columns, values = append(columns, fence.Quote(name)), append(values, r.values[name])
	}
	for i, name := range t.primary {
		if c := t.column(name); c.automatic && r.primary != nil {
			columns, values = append(columns, fence.Quote(name)), append(values, r.primary[i])
		}
	}
	return columns, values
}

// where finds the inserted row.
func (r row) where(t *table, alias string) string {
	var parts []string
	for i, name := range t.primary {
		parts = append(parts, alias+fence.Quote(name)+" = "+r.primary[i])
	}
	return strings.Join(parts, " AND ")
}

// try runs one case. Its error is one of the trials' own statements; that of the
// statement under trial decides the outcome.
func (p *Prover) try(ctx context.Context, t *table, rows [2]row, c *Case) (err error) {
	if _, err := p.conn.ExecContext(ctx, "START TRANSACTION"); err != nil {
		return err
	}
	defer func() {
		_, rollbackErr := p.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		err = errors.Join(err, rollbackErr)
	}()
	there, other := rows[0], rows[1]
	bucket, next := rows[0].bucket, rows[1].bucket
	if c.Statement == Entering {
		there, other = other, there
	}
	if c.Statement.needsRow() {
		if err := p.fence(ctx, Active.rows(bucket, next)); err != nil {
			return err
		}
		if err := p.insert(ctx, t, &there); err != nil {
			c.Outcome, c.Reason = Untried, "insert the row that the statement is about: "+err.Error()
			return nil
		}
	}
	if err := p.fence(ctx, c.Condition.rows(bucket, next)); err != nil {
		return err
	}
	if c.Condition == Null {
		target := &there
		if c.Statement == Entering {
			target = &other
		}
		target.values = t.withoutBucket(target.values)
	}
	statement, done := t.statement(c.Statement, there, other)
	_, err = p.conn.ExecContext(ctx, statement)
	done()
	c.Outcome, c.Reason = judge(err)
	if errors.Is(err, mysql.ErrInvalidConn) || ctx.Err() != nil {
		return err
	}
	return nil
}

func (t *table) withoutBucket(values map[string]string) map[string]string {
	without := map[string]string{}
	for name, literal := range values {
		without[name] = literal
	}
	for _, name := range t.deciding {
		without[name] = "NULL"
	}
	return without
}

// fence sets the rows of the temporary fence.
func (p *Prover) fence(ctx context.Context, rows []string) error {
	if _, err := p.conn.ExecContext(ctx, "DELETE FROM "+fence.Table); err != nil || len(rows) == 0 {
		return err
	}
	_, err := p.conn.ExecContext(ctx, "INSERT INTO "+fence.Table+" VALUES "+strings.Join(rows, ","))
	return err
}

// insert puts a row into the table and notes its primary key.
func (p *Prover) insert(ctx context.Context, t *table, r *row) error {
	var key []string
	for _, name := range t.primary {
		key = append(key, "QUOTE("+fence.Quote(name)+")")
	}
	literals, into := make([]string, len(key)), make([]any, len(key))
	for i := range into {
		into[i] = &literals[i]
	}
	err := p.conn.QueryRowContext(ctx, "INSERT INTO "+fence.Quote(t.Name)+" "+r.insert(t)+" RETURNING "+strings.Join(key, ", ")).Scan(into...)
	r.primary = literals
	return err
}

// statement writes the SQL of a trial. done is called after it has run.
func (t *table) statement(s Statement, there, other row) (text string, done func()) {
	name, done := fence.Quote(t.Name), func() {}
	columns, values := there.lists(t)
	list := "(" + strings.Join(columns, ", ") + ")"
	same := columns[0] + " = " + columns[0]
	sets := func(r row) string {
		names, literals := r.lists(t)
		var parts []string
		for i := range names {
			parts = append(parts, names[i]+" = "+literals[i])
		}
		return strings.Join(parts, ", ")
	}
	switch s {
	case Insert:
		return "INSERT INTO " + name + " " + there.insert(t), done
	case InsertIgnore:
		return "INSERT IGNORE INTO " + name + " " + there.insert(t), done
	case InsertSelect:
		return "INSERT INTO " + name + " " + list + " SELECT " + strings.Join(values, ", "), done
	case OnDuplicate:
		return "INSERT INTO " + name + " " + there.insert(t) + " ON DUPLICATE KEY UPDATE " + same, done
	case Replace:
		return "REPLACE INTO " + name + " " + there.insert(t), done
	case LoadData:
		// One empty line, and the values by SET.
		handler := "drover-proof-" + fmt.Sprint(randomUint32())
		mysql.RegisterReaderHandler(handler, func() io.Reader { return strings.NewReader("x\n") })
		return "LOAD DATA LOCAL INFILE 'Reader::" + handler + "' INTO TABLE " + name + " (@ignored) SET " + sets(there),
			func() { mysql.DeregisterReaderHandler(handler) }
	case Update:
		return "UPDATE " + name + " SET " + same + " WHERE " + there.where(t, ""), done
	case UpdateJoin:
		return "UPDATE " + name + " AS one JOIN " + name + " AS two ON " + t.samePrimary() +
			" SET one." + columns[0] + " = two." + columns[0] + " WHERE " + there.where(t, "one."), done
	case Leaving, Entering:
		return "UPDATE " + name + " SET " + sets(other) + " WHERE " + there.where(t, ""), done
	case Delete:
		return "DELETE FROM " + name + " WHERE " + there.where(t, ""), done
	default: // DeleteJoin
		return "DELETE one FROM " + name + " AS one JOIN " + name + " AS two ON " + t.samePrimary() + " WHERE " + there.where(t, "one."), done
	}
}

func (t *table) samePrimary() string {
	var parts []string
	for _, name := range t.primary {
		parts = append(parts, "one."+fence.Quote(name)+" = two."+fence.Quote(name))
	}
	return strings.Join(parts, " AND ")
}

// The server's errors that come from a row which the triggers let pass, and
// that of a NULL where there may be none, which refuses as well.
const (
	erNull      = 1048
	erDuplicate = 1062
	erChild     = 1452
	erParent    = 1451
	erCheck     = 4025
)

func judge(err error) (Outcome, string) {
	if err == nil {
		return Passed, ""
	}
	switch number(err) {
	case fence.RefusedNumber:
		return Refused, ""
	case erNull:
		return Refused, err.Error()
	case erDuplicate, erChild, erParent, erCheck:
		return Passed, err.Error()
	default:
		return Untried, err.Error()
	}
}

func number(err error) uint16 {
	if server, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return server.Number
	}
	return 0
}
