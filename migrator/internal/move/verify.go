package move

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

const (
	// verifyRounds bounds how often rows that differ are looked at again once
	// the tail has caught up with them.
	verifyRounds = 5
	// differShown bounds the keys that an error names.
	differShown = 5
	// differMax bounds the rows of one bucket that are compared one by one.
	differMax = 1_000_000
)

// verifying compares checksums computed by the servers while writes go on.
//
// A row that differs may just be on its way. The tail remembers every key that
// it applies from here on: those are compared once more under the freeze. A key
// that differs, is not among them, and still differs when the tail has caught
// up, is an error that no waiting mends.
func (r *run) verifying(ctx context.Context) (State, error) {
	if err := r.startTail(ctx); err != nil {
		return "", err
	}
	// After a step back, the keys touched since are known still, and enough.
	if _, all := r.tail.touchedKeys(); all && r.verified == r.tail {
		return Holding, nil
	}
	r.tail.forgetTouched()
	for _, t := range r.tables {
		if err := r.verifyTable(ctx, t); err != nil {
			return "", err
		}
		r.report(Event{Move: r.move.Record.Move, State: Verifying, Note: t.Name})
	}
	r.verified = r.tail
	return Holding, nil
}

// sum is the checksum of one bucket in one table.
type sum struct {
	rows int64
	hash uint64
}

func (r *run) verifyTable(ctx context.Context, t *database.Table) error {
	var here, there map[bucketmap.BucketID]sum
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { here, err = bucketSums(groupCtx, r.from, t, r.move.Buckets); return err })
	group.Go(func() (err error) { there, err = bucketSums(groupCtx, r.to, t, r.move.Buckets); return err })
	if err := group.Wait(); err != nil {
		return err
	}
	for _, b := range r.move.Buckets {
		if here[b] == there[b] {
			continue
		}
		if err := r.verifyBucket(ctx, t, b); err != nil {
			return err
		}
	}
	return nil
}

// rowHash is the SQL expression of 64 bits of a row. Each value is written
// with its length, so that no two rows read alike.
func rowHash(t *database.Table) string {
	words := make([]string, 0, len(t.Columns))
	for _, i := range t.Written() {
		c := t.Columns[i].Read()
		words = append(words, "COALESCE(CONCAT(LENGTH("+c+"),':',"+c+"),'N')")
	}
	return "CAST(CONV(LEFT(MD5(CONCAT_WS('#'," + strings.Join(words, ",") + ")),16),16,10) AS UNSIGNED)"
}

func bucketSums(ctx context.Context, server *database.Server, t *database.Table, buckets Buckets) (map[bucketmap.BucketID]sum, error) {
	bucket := t.Expr("", t.Buckets)
	rows, err := server.DB.QueryContext(ctx, "SELECT "+bucket+", COUNT(*), BIT_XOR("+rowHash(t)+") FROM "+fence.Quote(t.Name)+
		" WHERE "+bucket+" IN ("+bucketList(buckets)+") GROUP BY 1")
	if err != nil {
		return nil, fmt.Errorf("checksums of %s on %s: %w", t.Name, server.Name(), err)
	}
	defer rows.Close()
	sums := map[bucketmap.BucketID]sum{}
	for rows.Next() {
		var b bucketmap.BucketID
		var s sum
		if err := rows.Scan(&b, &s.rows, &s.hash); err != nil {
			return nil, fmt.Errorf("checksums of %s on %s: %w", t.Name, server.Name(), err)
		}
		sums[b] = s
	}
	return sums, rows.Err()
}

// keyHash is a row's key and checksum.
type keyHash struct {
	key  binlog.Row
	hash uint64
}

// verifyBucket finds the rows that differ and looks at them again.
func (r *run) verifyBucket(ctx context.Context, t *database.Table, b bucketmap.BucketID) error {
	where := t.Expr("", t.Buckets) + fmt.Sprintf(" = %d", b)
	differ, err := r.compare(ctx, t, where, nil)
	if err != nil {
		return err
	}
	for range verifyRounds {
		if len(differ) == 0 {
			return nil
		}
		// Everything up to here is visible at the source and applied at the
		// target; what comes later is among the touched keys.
		end, err := r.barrier(ctx)
		if err != nil {
			return err
		}
		if err := r.tailReach(ctx, end); err != nil {
			return err
		}
		touched, all := r.tail.touchedKeys()
		if !all {
			return nil // too many changes to tell: the freeze will refuse, and this step is done again
		}
		differ = without(differ, touched[t])
		if differ, err = r.compareKeys(ctx, t, differ); err != nil {
			return err
		}
	}
	return differError(t, differ)
}

// without removes the keys that will be compared under the freeze anyway.
func without(keys []binlog.Row, touched []binlog.Row) []binlog.Row {
	skip := make(map[string]bool, len(touched))
	for _, k := range touched {
		skip[keyText(k)] = true
	}
	return slices.DeleteFunc(keys, func(k binlog.Row) bool { return skip[keyText(k)] })
}

func differError(t *database.Table, keys []binlog.Row) error {
	if len(keys) == 0 {
		return nil
	}
	var shown []string
	for _, k := range keys[:min(len(keys), differShown)] {
		words := make([]string, len(k))
		for i, v := range k {
			if text, ok := v.([]byte); ok {
				v = string(text)
			}
			words[i] = fmt.Sprintf("%s=%q", t.Columns[t.Primary[i]].Name, fmt.Sprint(v))
		}
		shown = append(shown, strings.Join(words, " "))
	}
	return fmt.Errorf("%w: table %s, %d row(s), such as %s", ErrDiffers, t.Name, len(keys), strings.Join(shown, "; "))
}

// compareKeys returns those of the keys whose rows differ.
func (r *run) compareKeys(ctx context.Context, t *database.Table, keys []binlog.Row) ([]binlog.Row, error) {
	var differ []binlog.Row
	for len(keys) != 0 {
		n := min(len(keys), deleteRows)
		where, args := whereKeys(t, keys[:n])
		d, err := r.compare(ctx, t, where, args)
		if err != nil {
			return nil, err
		}
		differ = append(differ, d...)
		keys = keys[n:]
	}
	return differ, nil
}

// compare returns the keys of the rows that differ between the two ends, among
// those that the condition chooses.
func (r *run) compare(ctx context.Context, t *database.Table, where string, args []any) ([]binlog.Row, error) {
	var here, there map[string]keyHash
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { here, err = keyHashes(groupCtx, r.from, t, where, args); return err })
	group.Go(func() (err error) { there, err = keyHashes(groupCtx, r.to, t, where, args); return err })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	differ := map[string]binlog.Row{}
	for k, h := range here {
		if o, ok := there[k]; !ok || o.hash != h.hash {
			differ[k] = h.key
		}
	}
	for k, h := range there {
		if _, ok := here[k]; !ok {
			differ[k] = h.key
		}
	}
	return slices.Collect(maps.Values(differ)), nil
}

// errTooMany bounds what is compared in memory.
var errTooMany = errors.New("more rows than are compared one by one")

func keyHashes(ctx context.Context, server *database.Server, t *database.Table, where string, args []any) (map[string]keyHash, error) {
	names := make([]string, 0, len(t.Primary)+1)
	for _, c := range t.Primary {
		names = append(names, t.Columns[c].Read())
	}
	names = append(names, rowHash(t))
	rows, err := server.DB.QueryContext(ctx, "SELECT "+strings.Join(names, ",")+" FROM "+fence.Quote(t.Name)+" WHERE "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("row checksums of %s on %s: %w", t.Name, server.Name(), err)
	}
	defer rows.Close()
	hashes := map[string]keyHash{}
	values := make([]sql.RawBytes, len(t.Primary))
	scan := make([]any, 0, len(names))
	for i := range values {
		scan = append(scan, &values[i])
	}
	var hash uint64
	scan = append(scan, &hash)
	for rows.Next() {
		if err := rows.Scan(scan...); err != nil {
			return nil, fmt.Errorf("row checksums of %s on %s: %w", t.Name, server.Name(), err)
		}
		key := make(binlog.Row, len(values))
		for i, v := range values {
			key[i] = bytes.Clone(v)
		}
		hashes[keyText(key)] = keyHash{key: key, hash: hash}
		if len(hashes) > differMax {
			return nil, fmt.Errorf("row checksums of %s on %s: %w: %d", t.Name, server.Name(), errTooMany, differMax)
		}
	}
	return hashes, rows.Err()
}

// verifyTouched compares, under the freeze, every row that changed since the
// verification.
func (r *run) verifyTouched(ctx context.Context) (ok bool, err error) {
	touched, all := r.tail.touchedKeys()
	if !all {
		return false, nil
	}
	for t, keys := range touched {
		differ, err := r.compareKeys(ctx, t, keys)
		if err != nil {
			return false, err
		}
		if err := differError(t, differ); err != nil {
			return false, err
		}
	}
	return true, nil
}
