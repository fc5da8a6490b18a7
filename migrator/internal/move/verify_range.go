package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// A section is what a table is gone through by: a run of buckets in the order of
// the index (bucket, primary key), or the whole table in the order of its
// primary key where no index finds a bucket.
type section struct {
	table   *database.Table
	buckets Buckets
}

// sectionBuckets bounds the buckets that one statement names: 1,000 × 8 bytes of
// text.
const sectionBuckets = 1000

func sectionsOf(t *database.Table, buckets Buckets) []section {
	if !t.Indexed {
		return []section{{t, buckets}}
	}
	var parts []section
	for chunk := range slices.Chunk(buckets, sectionBuckets) {
		parts = append(parts, section{t, chunk})
	}
	return parts
}

// place is a row's place in the order of a section.
type place struct {
	bucket bucketmap.BucketID // where the bucket is first in the order
	key    [][]byte
}

// condition chooses the rows of the section after one place, up to and with
// another; nil is no bound. With all, rows of other buckets too, where the order
// is that of the whole table.
func (p section) condition(after, upto *place, all bool) (where string, args []any) {
	t := p.table
	var terms []string
	if !t.Indexed {
		if !all {
			terms = append(terms, t.Expr("", t.Buckets)+" IN ("+bucketList(p.buckets)+")")
		}
		for _, b := range []struct {
			at    *place
			upper bool
		}{{after, false}, {upto, true}} {
			if b.at != nil {
				cond, more := besideKey(t, b.at.key, b.upper)
				terms, args = append(terms, cond), append(args, more...)
			}
		}
		if len(terms) == 0 {
			return "TRUE", nil
		}
		return strings.Join(terms, " AND "), args
	}
	column := fence.Quote(t.BucketColumn)
	between := slices.DeleteFunc(slices.Clone(p.buckets), func(b bucketmap.BucketID) bool {
		return after != nil && b <= after.bucket || upto != nil && b >= upto.bucket
	})
	if len(between) != 0 {
		terms = append(terms, column+" IN ("+bucketList(between)+")")
	}
	within := func(b bucketmap.BucketID, conds ...string) {
		terms = append(terms, "("+column+" = "+strconv.FormatUint(uint64(b), 10)+" AND "+strings.Join(conds, " AND ")+")")
	}
	switch {
	case after != nil && upto != nil && after.bucket == upto.bucket:
		lower, a := besideKey(t, after.key, false)
		upper, b := besideKey(t, upto.key, true)
		within(after.bucket, lower, upper)
		args = append(a, b...)
	default:
		if after != nil {
			cond, more := besideKey(t, after.key, false)
			within(after.bucket, cond)
			args = append(args, more...)
		}
		if upto != nil {
			cond, more := besideKey(t, upto.key, true)
			within(upto.bucket, cond)
			args = append(args, more...)
		}
	}
	if len(terms) == 0 {
		return "FALSE", nil
	}
	return "(" + strings.Join(terms, " OR ") + ")", args
}

// besideKey is the condition for keys after one, or up to it, spelt out because
// servers find no index range in a comparison of rows: a > ? OR (a = ? AND b > ?).
func besideKey(t *database.Table, key [][]byte, upto bool) (cond string, args []any) {
	op := " > "
	if upto {
		op = " < "
	}
	var ors []string
	for i := range t.Primary {
		var ands []string
		for j := 0; j <= i; j++ {
			c := t.Columns[t.Primary[j]]
			compare := " = "
			switch {
			case j == i && upto && i == len(t.Primary)-1:
				compare = " <= "
			case j == i:
				compare = op
			}
			ands = append(ands, fence.Quote(c.Name)+compare+c.Param())
			args = append(args, key[j])
		}
		ors = append(ors, "("+strings.Join(ands, " AND ")+")")
	}
	return "(" + strings.Join(ors, " OR ") + ")", args
}

// nth finds the place of the n-th row of a server after a place, at most up to
// another; nil when there are fewer. It reads n rows of the index at most: where
// no index finds a bucket, rows of other buckets count.
func (p section) nth(ctx context.Context, server *database.Server, after, upto *place, n int) (*place, error) {
	t := p.table
	order := make([]string, len(t.Primary))
	names := make([]string, 0, len(t.Primary)+1)
	for i, c := range t.Primary {
		order[i] = fence.Quote(t.Columns[c].Name)
		names = append(names, t.Columns[c].Read())
	}
	from := fence.Quote(t.Name)
	if t.Indexed {
		order = append([]string{fence.Quote(t.BucketColumn)}, order...)
		names = append(names, fence.Quote(t.BucketColumn))
	} else {
		from += " FORCE INDEX (PRIMARY)"
		names = append(names, "0")
	}
	where, args := p.condition(after, upto, true)
	values := make([][]byte, len(t.Primary))
	scan := make([]any, 0, len(names))
	for i := range values {
		scan = append(scan, &values[i])
	}
	at := &place{key: values}
	scan = append(scan, &at.bucket)
	err := server.DB.QueryRowContext(ctx, verifyBound()+"SELECT "+strings.Join(names, ",")+" FROM "+from+" WHERE "+where+
		" ORDER BY "+strings.Join(order, ",")+" LIMIT 1 OFFSET "+strconv.Itoa(n-1), args...).Scan(scan...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find a chunk of %s on %s: %w", t.Name, server.Name(), err)
	}
	return at, nil
}

// chunkEnd finds where a chunk ends that has at most n rows at either end; nil
// is the end of the section. One server's n-th row alone would not do: there may be
// any number of rows between two of its rows on the other.
func (p section) chunkEnd(ctx context.Context, one, other *database.Server, after *place, n int) (*place, error) {
	end, err := p.nth(ctx, one, after, nil, n)
	if err != nil {
		return nil, err
	}
	nearer, err := p.nth(ctx, other, after, end, n)
	if err != nil {
		return nil, err
	}
	if nearer != nil {
		return nearer, nil
	}
	return end, nil
}

// atKeys is a condition that is true for the rows with these keys.
func atKeys(t *database.Table, keys []binlog.Row) (where string, args []any) {
	if len(t.Primary) == 1 {
		c := t.Columns[t.Primary[0]]
		for _, key := range keys {
			args = append(args, plainValue(key[0]))
		}
		return fence.Quote(c.Name) + " IN (" + strings.TrimSuffix(strings.Repeat(c.Param()+",", len(keys)), ",") + ")", args
	}
	words := make([]string, len(t.Primary))
	for i, column := range t.Primary {
		words[i] = fence.Quote(t.Columns[column].Name) + " = " + t.Columns[column].Param()
	}
	one := "(" + strings.Join(words, " AND ") + ")"
	for _, key := range keys {
		for _, v := range key {
			args = append(args, plainValue(v))
		}
	}
	return "(" + strings.TrimSuffix(strings.Repeat(one+" OR ", len(keys)), " OR ") + ")", args
}

// resize halves or doubles a number of rows when a chunk took much more or less
// than wanted.
func resize(rows int, took, want time.Duration, least, most int) int {
	switch {
	case took > want*3/2:
		return max(least, rows/2)
	case took < want*2/3:
		return min(most, rows*2)
	default:
		return rows
	}
}
