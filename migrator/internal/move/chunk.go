package move

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

const (
	// chunkFirst is the first chunk in rows; each later one is sized by the
	// time that the one before it took, between chunkMin and chunkMax.
	chunkFirst = 500
	chunkMin   = 50
	chunkMax   = 20_000
	// chunkBytes ends a chunk of wide rows early: what is read is in memory,
	// of CopyParallelMax + spareChunks chunks at once at most: 56 MiB.
	chunkBytes = 8 << 20
)

// nextChunk is the size after a chunk that was read with a size of its own,
// which may be an older one than is in force: half of that when it took much more
// than wanted; twice or, where it took next to nothing, four times as much when
// it was full and took much less.
func nextChunk(size, had, copied int, took, want time.Duration) int {
	switch {
	case took > want*3/2:
		return min(size, max(chunkMin, had/2))
	case copied < had:
		return size
	case took < want/8:
		return max(size, min(chunkMax, had*4))
	case took < want*2/3:
		return max(size, min(chunkMax, had*2))
	default:
		return size
	}
}

// cursor is how far the copy has come, saved with each chunk.
type cursor struct {
	Table   int      `json:"table"`   // index in the configuration's order
	Segment int      `json:"segment"` // index in the move's buckets, where the copy goes by bucket
	After   [][]byte `json:"after"`   // primary key of the last row, as text
	Rows    int64    `json:"rows"`
}

// chunk is some rows on their way.
type chunk struct {
	number int // 0 for the first of a run
	table  *database.Table
	size   int // in rows, as it was asked for
	rows   int
	text   []byte // as LOAD DATA takes it
	next   cursor // once it is written
	read   time.Duration
}

// route is how the copy goes through a table.
//
// Where an index has the bucket first and then the primary key, as every index
// of the bucket alone has, that is the order, and all buckets are one pass:
// each chunk begins where the one before it ended, whatever bucket that is in.
// Where the index goes on with another column, it is a pass a bucket. Where
// there is none, it is one pass in the order of the primary key over the whole
// table, and the server leaves out the rows of other buckets.
type route struct {
	table   *database.Table
	buckets Buckets
	index   string // to go by
	ordered bool   // by bucket, then primary key
	head    string // SELECT … FROM …
	order   string
	// Where the selected values have the primary key and the bucket. The written
	// columns come first; what of these is no written column comes after them.
	columns  int
	keyAt    []int
	bucketAt int
	text     []byte // room for the next chunk's, of one that is written; may be nil
}

// routeOf chooses the route by the source's indexes.
func routeOf(ctx context.Context, from *database.Server, t *database.Table, buckets Buckets) (*route, error) {
	p := &route{table: t, buckets: buckets, index: "PRIMARY"}
	if t.Indexed {
		index, ordered, err := bucketIndex(ctx, from, t)
		if err != nil {
			return nil, err
		}
		p.index, p.ordered = index, ordered
	}
	var names []string
	at := func(column int) int {
		name := t.Columns[column].Read()
		if i := slices.Index(names, name); i >= 0 {
			return i
		}
		names = append(names, name)
		return len(names) - 1
	}
	for _, i := range t.Written() {
		at(i)
	}
	var order []string
	if p.ordered {
		order = append(order, fence.Quote(t.BucketColumn))
		p.bucketAt = at(t.Index(t.BucketColumn))
	}
	for _, i := range t.Primary {
		p.keyAt = append(p.keyAt, at(i))
		order = append(order, fence.Quote(t.Columns[i].Name))
	}
	p.columns = len(names)
	p.head = "SELECT " + strings.Join(names, ",") + " FROM " + fence.Quote(t.Name) + " FORCE INDEX (" + fence.Quote(p.index) + ") WHERE "
	p.order = " ORDER BY " + strings.Join(order, ",") + " LIMIT "
	return p, nil
}

// bucketIndex finds the index that begins with the bucket column, and says
// whether the primary key is all that follows in it. Of several it takes one of
// which that is so.
func bucketIndex(ctx context.Context, server *database.Server, t *database.Table) (name string, ordered bool, err error) {
	rows, err := server.DB.QueryContext(ctx, "SELECT INDEX_NAME, COLUMN_NAME, INDEX_TYPE = 'BTREE' AND SUB_PART IS NULL FROM information_schema.STATISTICS "+
		"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY INDEX_NAME, SEQ_IN_INDEX", t.Name)
	if err != nil {
		return "", false, fmt.Errorf("read the indexes of %s on %s: %w", t.Name, server.Name(), err)
	}
	defer rows.Close()
	columns := map[string][]string{}
	var names []string
	unfit := map[string]bool{}
	for rows.Next() {
		var index, column string
		var fit bool
		if err := rows.Scan(&index, &column, &fit); err != nil {
			return "", false, fmt.Errorf("read the indexes of %s on %s: %w", t.Name, server.Name(), err)
		}
		if len(columns[index]) == 0 {
			names = append(names, index)
		}
		columns[index] = append(columns[index], strings.ToLower(column))
		unfit[index] = unfit[index] || !fit
	}
	if err := rows.Err(); err != nil {
		return "", false, fmt.Errorf("read the indexes of %s on %s: %w", t.Name, server.Name(), err)
	}
	wanted := []string{strings.ToLower(t.BucketColumn)}
	for _, i := range t.Primary {
		if c := strings.ToLower(t.Columns[i].Name); c != wanted[0] {
			wanted = append(wanted, c)
		}
	}
	for _, index := range names {
		c := columns[index]
		if unfit[index] || c[0] != wanted[0] {
			continue
		}
		// A secondary index ends with what it lacks of the primary key, in that
		// key's order.
		if len(c) <= len(wanted) && slices.Equal(c, wanted[:len(c)]) {
			return index, true, nil
		}
		name = index
	}
	if name == "" {
		return "PRIMARY", false, nil
	}
	return name, false, nil
}

// passes is how many segments the cursor goes through, one after the other.
func (p *route) passes() int {
	if !p.ordered && p.index != "PRIMARY" {
		return len(p.buckets)
	}
	return 1
}

// where is the condition for what is after the cursor.
func (p *route) where(at cursor) (where string, args []any) {
	t := p.table
	if p.ordered {
		bucket := fence.Quote(t.BucketColumn)
		if at.After == nil {
			return bucketsExpr(bucket, p.buckets[at.Segment:]), nil
		}
		cond, args := afterKey(t, at.After)
		where = fmt.Sprintf("%s = %d AND (%s)", bucket, p.buckets[at.Segment], cond)
		if rest := p.buckets[at.Segment+1:]; len(rest) != 0 {
			where += " OR " + bucketsExpr(bucket, rest)
		}
		return "(" + where + ")", args
	}
	buckets := p.buckets
	if p.passes() > 1 {
		buckets = p.buckets[at.Segment : at.Segment+1]
	}
	where = mineExpr(t, buckets)
	if at.After != nil {
		var cond string
		cond, args = afterKey(t, at.After)
		where += " AND (" + cond + ")"
	}
	return where, args
}

// read reads up to size rows from the cursor on.
func (p *route) read(ctx context.Context, from *database.Server, at cursor, size int) (*chunk, error) {
	began := time.Now()
	where, args := p.where(at)
	rows, err := from.DB.QueryContext(ctx, p.head+where+p.order+strconv.Itoa(size), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	c := &chunk{table: p.table, size: size, next: at, text: p.text}
	p.text = nil // it is the chunk's now
	written := len(p.table.Written())
	values := make([]sql.RawBytes, p.columns)
	scan := make([]any, p.columns)
	for i := range values {
		scan[i] = &values[i]
	}
	more := false
	for !more && rows.Next() {
		if err := rows.Scan(scan...); err != nil {
			return nil, err
		}
		for i, v := range values[:written] {
			if i != 0 {
				c.text = append(c.text, fieldEnd)
			}
			c.text = appendField(c.text, v)
		}
		c.text = append(c.text, rowEnd)
		c.rows++
		if more = c.rows == size || len(c.text) >= chunkBytes; more {
			if err := p.moveTo(&c.next, values); err != nil {
				return nil, err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	c.next.Rows += int64(c.rows)
	if !more {
		p.endSegment(&c.next)
	}
	c.read = time.Since(began)
	return c, nil
}

// moveTo sets the cursor after a row.
func (p *route) moveTo(at *cursor, values []sql.RawBytes) error {
	at.After = nil
	for _, i := range p.keyAt {
		at.After = append(at.After, append([]byte{}, values[i]...))
	}
	if !p.ordered {
		return nil
	}
	text := values[p.bucketAt]
	bucket, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil {
		return fmt.Errorf("the bucket %q of a row: %w", text, err)
	}
	i, found := slices.BinarySearch(p.buckets, bucketmap.BucketID(bucket))
	if !found {
		return fmt.Errorf("a row of bucket %d, which is not moved, was read", bucket)
	}
	at.Segment = i
	return nil
}

// endSegment sets the cursor to the beginning of what follows.
func (p *route) endSegment(at *cursor) {
	at.After = nil
	at.Segment++
	if p.ordered || at.Segment >= p.passes() {
		at.Segment, at.Table = 0, at.Table+1
	}
}

// afterKey is the condition for keys after one, spelt out because servers find
// no index range in a comparison of rows: a > ? OR (a = ? AND b > ?).
func afterKey(t *database.Table, after [][]byte) (cond string, args []any) {
	var ors []string
	for i := range t.Primary {
		var ands []string
		for j := 0; j <= i; j++ {
			c := t.Columns[t.Primary[j]]
			op := " = "
			if j == i {
				op = " > "
			}
			ands = append(ands, fence.Quote(c.Name)+op+c.Param())
			args = append(args, after[j])
		}
		ors = append(ors, "("+strings.Join(ands, " AND ")+")")
	}
	return strings.Join(ors, " OR "), args
}

func bucketList(buckets []bucketmap.BucketID) string {
	words := make([]string, len(buckets))
	for i, b := range buckets {
		words[i] = strconv.FormatUint(uint64(b), 10)
	}
	return strings.Join(words, ",")
}
