package preflight

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/setup"
	"drover/shardlib/fence"
)

// facts is what one server said.
type facts struct {
	server   *database.Server
	read     bool                 // the server answered, and is one that can be asked the rest
	buckets  []bucketmap.BucketID // of the move; nil for a whole shard
	isTarget bool

	variables map[string]string
	user      string // USER()

	grants     answer // SHOW GRANTS
	anonymous  answer // hosts of accounts without a name
	privileged answer // accounts that may write to a read-only server
	filters    answer // SHOW MASTER STATUS
	replicates answer // SHOW ALL SLAVES STATUS
	prepared   answer // XA RECOVER
	long       answer // thread and age of long transactions
	comments   answer // table and comment, of Drover's own tables
	referring  answer // foreign keys from and to, as InnoDB names the tables

	fenceRows []fence.Row
	fenceErr  error

	tables []*tableFacts
}

// answer is the result of a statement, or why there is none.
type answer struct {
	columns []string
	rows    [][]string // NULL is ""
	err     error
}

// column returns a column's values.
func (a answer) column(name string) []string {
	for i, c := range a.columns {
		if !strings.EqualFold(c, name) {
			continue
		}
		values := make([]string, len(a.rows))
		for j, row := range a.rows {
			values[j] = row[i]
		}
		return values
	}
	return nil
}

// ask executes a statement that reads.
func ask(ctx context.Context, db *sql.DB, query string, args ...any) answer {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return answer{err: err}
	}
	defer rows.Close()
	a := answer{}
	if a.columns, err = rows.Columns(); err != nil {
		return answer{err: err}
	}
	values := make([]sql.NullString, len(a.columns))
	scan := make([]any, len(values))
	for i := range values {
		scan[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(scan...); err != nil {
			return answer{err: err}
		}
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = v.String
		}
		a.rows = append(a.rows, row)
	}
	if err := rows.Err(); err != nil {
		return answer{err: err}
	}
	return a
}

// settings are the variables that are looked at. A server that lacks one leaves
// it out of the answer.
var settings = []string{
	"version", "log_bin", "binlog_format", "binlog_row_image", "gtid_strict_mode", "server_id", "read_only",
	"binlog_expire_logs_seconds", "expire_logs_days", "max_binlog_total_size",
	"sync_binlog", "innodb_flush_log_at_trx_commit", "max_allowed_packet",
}

// Server error numbers that say why an account is not let in.
const (
	erDatabaseDenied  = 1044
	erAccessDenied    = 1045
	erUnknownDatabase = 1049
)

// readServer fills s. The error is ctx's alone: what a server cannot answer is
// kept where the answer would be.
func (p *Preflight) readServer(ctx context.Context, f *findings, s *facts) error {
	db := s.server.DB
	variables := ask(ctx, db, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('"+strings.Join(settings, "','")+"')")
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if variables.err != nil {
		remedy := "start the server, or put its address right in the shard list"
		if number, ok := database.ErrorNumber(variables.err); ok {
			switch number {
			case erAccessDenied, erDatabaseDenied:
				remedy = "make the account, or put account.user and its password right in the configuration"
			case erUnknownDatabase:
				remedy = "create the database there, or put its name right in the shard list"
			}
		}
		f.check(s.server, ServerReachable, refuse(remedy, "%s", variables.err))
		return nil
	}
	f.check(s.server, ServerReachable)
	s.variables = map[string]string{}
	for _, row := range variables.rows {
		s.variables[strings.ToLower(row[0])] = row[1]
	}
	if found := versionOf(s.variables["version"]); len(found) != 0 {
		f.check(s.server, ServerVersion, found...)
		return nil // the rest is asked in words that it may not know
	}
	f.check(s.server, ServerVersion, note("%s", s.variables["version"]))
	s.read = true
	return p.readRest(ctx, s)
}

// readRest asks everything else, side by side.
func (p *Preflight) readRest(ctx context.Context, s *facts) error {
	var g errgroup.Group
	g.SetLimit(queriesAtOnce)
	db := s.server.DB
	put := func(where *answer, query string, args ...any) {
		g.Go(func() error {
			*where = ask(ctx, db, query, args...)
			return nil
		})
	}
	s.tables = make([]*tableFacts, len(p.Tables))
	for i, sharded := range p.Tables { // the longest first
		g.Go(func() error {
			s.tables[i] = p.readTable(ctx, s, sharded)
			return nil
		})
	}
	g.Go(func() error {
		s.fenceRows, s.fenceErr = readFence(ctx, s)
		return nil
	})
	g.Go(func() error {
		var a answer
		if a = ask(ctx, db, "SELECT USER()"); a.err == nil && len(a.rows) == 1 {
			s.user = a.rows[0][0]
		}
		return nil
	})
	put(&s.grants, "SHOW GRANTS")
	put(&s.anonymous, "SELECT Host FROM mysql.global_priv WHERE User = '' AND Host <> ''")
	// A role has no host.
	put(&s.privileged, "SELECT DISTINCT GRANTEE FROM information_schema.USER_PRIVILEGES "+
		"WHERE PRIVILEGE_TYPE IN ('SUPER', 'READ_ONLY ADMIN', 'READ ONLY ADMIN') ORDER BY GRANTEE")
	put(&s.filters, database.MariaDB().Status)
	put(&s.replicates, "SHOW ALL SLAVES STATUS")
	put(&s.prepared, "XA RECOVER")
	// InnoDB writes its times in the server's own time zone, whatever the session's.
	put(&s.long, "SELECT trx_mysql_thread_id AS thread, TIMESTAMPDIFF(SECOND, trx_started, CONVERT_TZ(NOW(), '+00:00', 'SYSTEM')) AS age "+
		"FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id <> CONNECTION_ID() HAVING age >= ? ORDER BY age DESC LIMIT 5",
		int64(p.longest()/time.Second))
	// One SELECT a table: the server looks a single name up, and reads all of
	// them for a list.
	var selects []string
	var args []any
	for _, name := range setup.Tables() {
		selects = append(selects, "SELECT TABLE_NAME AS name, TABLE_COMMENT AS comment FROM information_schema.TABLES "+
			"WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?")
		args = append(args, s.server.Database, name)
	}
	put(&s.comments, strings.Join(selects, " UNION ALL "), args...)
	put(&s.referring, "SELECT FOR_NAME AS child, REF_NAME AS parent FROM information_schema.INNODB_SYS_FOREIGN")
	_ = g.Wait() // no function returns an error
	return ctx.Err()
}

func (p *Preflight) longest() time.Duration {
	if p.longTransaction != 0 {
		return p.longTransaction
	}
	return longTransaction
}

// readFence reads the shard's row and those of the move, or every row.
func readFence(ctx context.Context, s *facts) ([]fence.Row, error) {
	if s.buckets == nil {
		return fence.AllRows(ctx, s.server.DB)
	}
	own, err := fence.Rows(ctx, s.server.DB, nil)
	if err != nil {
		return nil, err
	}
	rows, err := fence.Rows(ctx, s.server.DB, s.buckets)
	return append(own, rows...), err
}

// unknown is the finding of a check whose question was not answered.
func unknown(verdict Verdict, privilege string, err error) finding {
	remedy := "see why the server does not answer this"
	if privilege != "" {
		remedy = fmt.Sprintf("grant the migrator's account %s", privilege)
	}
	return finding{verdict, "this cannot be checked: " + err.Error(), remedy}
}

// number reads a variable; ok is false where the server has no such variable.
func (s *facts) number(name string) (n float64, ok bool) {
	n, err := strconv.ParseFloat(s.variables[name], 64)
	return n, err == nil
}

// shardRows and bucketRows split the rows of the fence.
func (s *facts) shardRows() []fence.Row {
	var own []fence.Row
	for _, r := range s.fenceRows {
		if r.Bucket == fence.ShardRow {
			own = append(own, r)
		}
	}
	return own
}

func (s *facts) bucketRows() []fence.Row {
	var rows []fence.Row
	for _, r := range s.fenceRows {
		if r.Bucket != fence.ShardRow {
			rows = append(rows, r)
		}
	}
	return rows
}
