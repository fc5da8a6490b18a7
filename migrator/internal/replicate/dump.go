package replicate

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// Dump is the logical copy: every table is read in one consistent snapshot and
// streamed to the replica in chunks.
type Dump struct{}

// Job is what a Method is given.
type Job struct {
	*run
	pace *pace
}

// Intend notes databases that are about to be made.
func (j *Job) Intend(ctx context.Context, schemas []string) error {
	return j.saveMark(ctx, func(m *mark) { m.Schemas = schemas })
}

// definitionTries is how often a snapshot is opened anew for a definition that
// changed just then.
const definitionTries = 3

// Copy opens the snapshot, makes what the definitions say, and copies the rows.
func (Dump) Copy(ctx context.Context, j *Job) (Start, error) {
	shot, start, objects, err := j.openDefined(ctx)
	if err != nil {
		return Start{}, err
	}
	defer shot.kill(ctx)
	var schemas []string
	for _, o := range objects {
		if o.kind == kindSchema {
			schemas = append(schemas, o.schema)
		}
	}
	if err := j.Intend(ctx, schemas); err != nil {
		return Start{}, err
	}
	before, after := objects, []object(nil)
	if i := slices.IndexFunc(objects, func(o object) bool { return o.kind == kindTrigger || o.kind == kindEvent }); i >= 0 {
		before, after = objects[:i], objects[i:] // triggers would change what is copied
	}
	j.crash("before_define", Copying)
	if err := j.quietly(ctx, func(s *session) error { return define(ctx, s, before) }); err != nil {
		return Start{}, fmt.Errorf("%s: %w", j.to.Name(), err)
	}
	j.crash("after_define", Copying)
	if err := j.copyRows(ctx, shot, objects); err != nil {
		return Start{}, err
	}
	if err := j.quietly(ctx, func(s *session) error { return define(ctx, s, after) }); err != nil {
		return Start{}, fmt.Errorf("%s: %w", j.to.Name(), err)
	}
	return start, j.unchanged(ctx, objects)
}

// openDefined opens a snapshot and reads the definitions as of it: they were
// the same before and after.
func (j *Job) openDefined(ctx context.Context) (*snapshot, Start, []object, error) {
	for try := 1; ; try++ {
		before, err := j.from.BinlogHistory(ctx)
		if err != nil {
			return nil, Start{}, nil, err
		}
		first, err := j.definitions(ctx, j.from)
		if err != nil {
			return nil, Start{}, nil, err
		}
		shot, err := j.openSnapshot(ctx, j.Limits.Connections)
		if err != nil {
			return nil, Start{}, nil, err
		}
		second, err := j.definitions(ctx, j.from)
		if err != nil {
			shot.close()
			return nil, Start{}, nil, err
		}
		if names := changed(first, second); len(names) != 0 {
			shot.close()
			if try == definitionTries {
				return nil, Start{}, nil, fmt.Errorf("%w: %v; run this again when no definitions are being changed", ErrDefinition, names)
			}
			continue
		}
		return shot, Start{Position: shot.position, History: historyAt(before, shot.position)}, second, nil
	}
}

func (r *run) definitions(ctx context.Context, server *database.Server) ([]object, error) {
	s, err := openSession(ctx, server)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return readSchema(ctx, s)
}

// unchanged refuses a copy in the course of which a definition changed.
func (r *run) unchanged(ctx context.Context, objects []object) error {
	now, err := r.definitions(ctx, r.from)
	if err != nil {
		return err
	}
	if names := changed(objects, now); len(names) != 0 {
		return fmt.Errorf("%w: %v; run this again: it begins anew", ErrDefinition, names)
	}
	return nil
}

// part is a table, or a range of its primary key.
type part struct {
	*tableCopy
	where string
	rows  int64 // about
}

// copyRows copies all rows, a part a session at a time.
func (j *Job) copyRows(ctx context.Context, shot *snapshot, objects []object) error {
	tables, err := j.describe(ctx, objects)
	if err != nil {
		return err
	}
	var parts []part
	var total int64
	for _, t := range tables {
		split, err := t.split(ctx, shot.sessions[0], objects, len(shot.sessions))
		if err != nil {
			return err
		}
		parts = append(parts, split...)
	}
	for _, p := range parts {
		total += p.rows
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.rows, a.rows) }) // the longest first
	queue := make(chan part, len(parts))
	for _, p := range parts {
		queue <- p
	}
	close(queue)
	j.result.Tables = len(tables)
	var copied atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	done := make(chan struct{})
	var guard errgroup.Group
	guarded, stop := context.WithCancelCause(ctx)
	guard.Go(func() error {
		if err := j.guard(guarded, done); err != nil {
			stop(err)
			shot.killStatements(ctx) // whoever waits goes on at once
		}
		return nil
	})
	for n, s := range shot.sessions {
		group.Go(func() error { return j.copyParts(guarded, s, n, queue, &copied, total) })
	}
	err = group.Wait()
	close(done)
	_ = guard.Wait() // it returns no error
	if cause := context.Cause(guarded); errors.Is(cause, ErrWaiting) {
		err = cause
	}
	stop(nil)
	if err == nil {
		err = j.copySequences(context.WithoutCancel(ctx), objects)
	}
	j.result.Copied = copied.Load()
	if errNo(err, erDefinitionChanged, erNoTable) {
		return fmt.Errorf("%w: %w; run this again: it begins anew", ErrDefinition, err)
	}
	return err
}

const erDefinitionChanged = 1412

// describe reads the descriptions of all tables.
func (j *Job) describe(ctx context.Context, objects []object) (tables []*tableCopy, err error) {
	servers := map[string]*database.Server{}
	defer func() {
		for _, s := range servers {
			_ = s.Close() // it has only read
		}
	}()
	for _, o := range objects {
		if o.kind != kindTable {
			continue
		}
		s := servers[o.schema]
		if s == nil {
			if s, err = database.Open(j.from.Shard, j.from.Datacenter, j.from.Addr, o.schema, j.from.Account); err != nil {
				return nil, err
			}
			servers[o.schema] = s
		}
		var first string
		if err := s.DB.QueryRowContext(ctx, "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND ORDINAL_POSITION = 1",
			o.schema, o.name).Scan(&first); err != nil {
			return nil, fmt.Errorf("%s: describe %s: %w", s.Name(), o, err)
		}
		// Every table is described, sharded or not: any column passes for a user.
		t, err := s.Describe(ctx, fence.Sharded{Name: o.name, UserColumn: first}, 0)
		if err != nil {
			return nil, err
		}
		tables = append(tables, newTableCopy(o.schema, t))
	}
	return tables, nil
}

const (
	// splitRows is from how many rows on a table is copied in ranges.
	splitRows = 200_000
	// splitMore times the sessions are the ranges, for they are not equally full.
	splitMore = 4
)

// split makes ranges of a large table's primary key, if that begins with a
// whole number. The first and the last range have no outer end.
func (c *tableCopy) split(ctx context.Context, s *session, objects []object, sessions int) ([]part, error) {
	whole := part{tableCopy: c}
	if i := slices.IndexFunc(objects, func(o object) bool {
		return o.kind == kindTable && o.schema == c.schema && o.name == c.table.Name
	}); i >= 0 {
		whole.rows = objects[i].rows
	}
	if sessions < 2 || whole.rows < splitRows || len(c.table.Primary) == 0 {
		return []part{whole}, nil
	}
	key := c.table.Columns[c.table.Primary[0]]
	switch key.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
	default:
		return []part{whole}, nil
	}
	name := fence.Quote(key.Name)
	var low, high sql.NullString
	err := s.conn.QueryRowContext(ctx, "SELECT CAST(MIN("+name+") AS CHAR), CAST(MAX("+name+") AS CHAR) FROM "+full(c.schema, c.table.Name)).Scan(&low, &high)
	if err == nil {
		err = s.letGo(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: ends of %s: %w", s.server.Name(), c.table.Name, err)
	}
	first, err1 := strconv.ParseInt(low.String, 10, 64)
	last, err2 := strconv.ParseInt(high.String, 10, 64)
	n := int64(sessions * splitMore)
	if errors.Join(err1, err2) != nil || last/2-first/2 < n {
		return []part{whole}, nil //nolint:nilerr // an empty table, or numbers above 2^63: in one piece
	}
	step := last/n - first/n
	var parts []part
	for i := range n {
		p := part{tableCopy: c, rows: whole.rows / n}
		from, to := fmt.Sprintf("%s >= %d", name, first+i*step), fmt.Sprintf("%s < %d", name, first+(i+1)*step)
		switch i {
		case 0:
			p.where = to
		case n - 1:
			p.where = from
		default:
			p.where = from + " AND " + to
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// copyParts copies parts until there are no more.
func (j *Job) copyParts(ctx context.Context, s *session, n int, queue <-chan part, copied *atomic.Int64, total int64) error {
	w, err := newWriter(ctx, j.to, string(j.id), fmt.Sprintf("%s-%d", j.id, n))
	if err != nil {
		return err
	}
	defer w.end(ctx)
	for p := range queue {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := j.copyPart(ctx, s, w, p, copied, total); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		if err := s.letGo(ctx); err != nil {
			return err
		}
	}
	return nil
}

// copyPart streams a part. While a chunk is written the primary fills what the
// network holds, and then waits.
func (j *Job) copyPart(ctx context.Context, s *session, w *writer, p part, copied *atomic.Int64, total int64) error {
	query := p.read
	if p.where != "" {
		query += " WHERE " + p.where
	}
	rows, err := s.conn.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("read %s.%s on %s: %w", p.schema, p.table.Name, s.server.Name(), err)
	}
	defer rows.Close()
	values := make([]sql.RawBytes, len(p.table.Written()))
	scan := make([]any, len(values))
	for i := range values {
		scan[i] = &values[i]
	}
	chunk := &rowsText{copy: p.tableCopy, load: p.loadable && w.loads}
	flush := func() error {
		if chunk.rows == 0 {
			return nil
		}
		if err := j.pace.wait(ctx, chunk.rows, len(chunk.text)); err != nil {
			return err
		}
		j.crash("before_chunk", Copying)
		if err := w.write(ctx, chunk); err != nil {
			return err
		}
		j.crash("after_chunk", Copying)
		j.report(Event{State: Copying, Rows: copied.Add(int64(chunk.rows)), RowsTotal: total})
		chunk.reset()
		return nil
	}
	for rows.Next() {
		if err := rows.Scan(scan...); err != nil {
			return err
		}
		if chunk.add(values); chunk.full() {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s.%s on %s: %w", p.schema, p.table.Name, s.server.Name(), err)
	}
	return flush()
}

// copySequences copies where sequences are. A sequence is in no snapshot; what
// it gave since is in the binlog, so it ends where it must.
func (j *Job) copySequences(ctx context.Context, objects []object) error {
	for _, o := range objects {
		if o.kind != kindSequence {
			continue
		}
		var next string
		if err := j.from.DB.QueryRowContext(ctx, "SELECT next_not_cached_value FROM "+full(o.schema, o.name)).Scan(&next); err != nil {
			return fmt.Errorf("%s: read %s: %w", j.from.Name(), o, err)
		}
		if err := j.quietly(ctx, func(s *session) error {
			return s.exec(ctx, "DO SETVAL("+full(o.schema, o.name)+","+next+",0)")
		}); err != nil {
			return fmt.Errorf("%s: write %s: %w", j.to.Name(), o, err)
		}
	}
	return nil
}
