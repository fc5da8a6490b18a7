package fence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drover/bucketmap"
)

// ErrLostRow is returned when rows are not in the state, or not with the
// token, that a change starts from: another run has the move now, or it was
// changed by hand.
var ErrLostRow = errors.New("fence rows are not as the move left them")

// ErrUnfinished is returned when a change was not made of rows that are as it
// starts from. MariaDB 10.11 answers an UPDATE or DELETE of one table that it ends
// while it plans it, because its time is up or by KILL QUERY, with success and no
// rows. Nothing is to be committed; to try again is right.
var ErrUnfinished = errors.New("the server has ended the change before its end")

// Change is one compare-and-swap on rows of the fence.
type Change struct {
	Buckets   []bucketmap.BucketID // empty: the row of the whole shard
	From      State
	FromToken Token
	To        State
	ToToken   Token
	// EpochUp is added to the epoch.
	EpochUp bucketmap.Epoch
	// ServerID, when not 0, becomes the primary in the shard's row.
	ServerID uint32
}

// Transition changes all rows or none, in one statement: run it in a
// transaction, and roll that back on an error. It is ErrLostRow when a row is
// not as the change starts from, or else ErrUnfinished.
func Transition(ctx context.Context, q Querier, c Change) error {
	return TransitionWithin(ctx, q, "", c)
}

// TransitionWithin is Transition with words of the server's dialect before the
// statement that bound how long it may wait for locks. When that time is over it
// fails with the server's error, or with ErrUnfinished.
func TransitionWithin(ctx context.Context, q Querier, bound string, c Change) error {
	set := "state = ?, move_id = ?, epoch = epoch + ?"
	args := []any{string(c.To), c.ToToken.String(), uint64(c.EpochUp)}
	if c.ServerID != 0 {
		set += ", server_id = ?"
		args = append(args, c.ServerID)
	}
	in, want := inList(c.Buckets)
	res, err := q.ExecContext(ctx, bound+"UPDATE "+Table+byKey+" SET "+set+
		" WHERE bucket IN ("+in+") AND state = ? AND move_id = ?",
		append(args, string(c.From), c.FromToken.String())...)
	if err != nil {
		return fmt.Errorf("fence: %s → %s: %w", c.From, c.To, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("fence: %s → %s: %w", c.From, c.To, err)
	}
	if n == int64(want) {
		return nil
	}
	return c.Unmade(ctx, q, n)
}

// Unmade returns why a change was made of n rows only: ErrLostRow, or
// ErrUnfinished where none was changed and all are as the change starts from.
func (c *Change) Unmade(ctx context.Context, q Querier, n int64) error {
	_, want := inList(c.Buckets)
	rows, err := Rows(ctx, q, c.Buckets)
	if err != nil {
		return fmt.Errorf("fence: %s → %s: %d of %d rows were changed: %w", c.From, c.To, n, want, err)
	}
	other := slices.IndexFunc(rows, func(r Row) bool {
		changed := n > 0 && r.State == c.To && r.Token == c.ToToken
		return !changed && (r.State != c.From || r.Token != c.FromToken)
	})
	switch {
	case other >= 0:
		return fmt.Errorf("fence: %s → %s: bucket %d is %s with move_id %q, not %s with %q: %w; run migrator status",
			c.From, c.To, rows[other].Bucket, rows[other].State, rows[other].Token, c.From, c.FromToken, ErrLostRow)
	case len(rows) < want:
		return fmt.Errorf("fence: %s → %s: %d of %d buckets have a row: %w; run migrator init", c.From, c.To, len(rows), want, ErrLostRow)
	case n == 0:
		return fmt.Errorf("fence: %s → %s: %w: none of %d rows was changed", c.From, c.To, ErrUnfinished, want)
	default:
		return fmt.Errorf("fence: %s → %s: %d of %d rows were changed: %w; run migrator status", c.From, c.To, n, want, ErrLostRow)
	}
}

// TakeOver gives the rows of a move to a newer run of it, whatever their state.
// Rows that a newer run has already stay with it: that is ErrLostRow, and a row that
// an older run has still is ErrUnfinished. It returns the rows that the move has now.
func TakeOver(ctx context.Context, q Querier, buckets []bucketmap.BucketID, token Token) ([]Row, error) {
	in, _ := inList(buckets)
	_, err := q.ExecContext(ctx, "UPDATE "+Table+byKey+" SET move_id = ? WHERE bucket IN ("+in+
		") AND SUBSTRING_INDEX(move_id, '/', 1) = ? AND CAST(SUBSTRING_INDEX(move_id, '/', -1) AS UNSIGNED) < ?",
		token.String(), string(token.Move), token.Run)
	if err != nil {
		return nil, fmt.Errorf("fence: take over %s: %w", token, err)
	}
	rows, err := Rows(ctx, q, buckets)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		switch {
		case r.Token.Move == token.Move && r.Token.Run < token.Run:
			return nil, fmt.Errorf("fence: take over %s: %w: bucket %d is with %s still", token, ErrUnfinished, r.Bucket, r.Token)
		case r.Token.Move == token.Move && r.Token.Run > token.Run:
			return nil, fmt.Errorf("fence: take over %s: bucket %d is with %s: %w; another migrator runs this move",
				token, r.Bucket, r.Token, ErrLostRow)
		}
	}
	return rows, nil
}

// WantShardFree locks the shard's row until the transaction ends, shared, and
// checks that the shard is active on this server and in no promotion. A move
// that takes buckets, or brings them, must do so in such a transaction: a
// promotion takes the row for itself before it looks for moves.
func WantShardFree(ctx context.Context, q Querier) error {
	rows, err := q.QueryContext(ctx, "SELECT state, move_id, server_id = @@server_id FROM "+Table+" FORCE INDEX (PRIMARY) WHERE bucket = ? LOCK IN SHARE MODE", ShardRow)
	if err != nil {
		return fmt.Errorf("fence: read the row of the shard: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return fmt.Errorf("fence: read the row of the shard: %w", err)
		}
		return fmt.Errorf("fence: the shard has no row: %w; run migrator init", ErrLostRow)
	}
	var state State
	var token string
	var primary bool
	if err := rows.Scan(&state, &token, &primary); err != nil {
		return fmt.Errorf("fence: read the row of the shard: %w", err)
	}
	switch {
	case !primary:
		return fmt.Errorf("fence: this server is not the shard's primary: %w", ErrLostRow)
	case state != Active || token != "":
		return fmt.Errorf("fence: the shard is %s, with move_id %q: %w; a promotion has it: wait for it, or see migrator status", state, token, ErrLostRow)
	}
	return rows.Err()
}

// Rows returns the rows of these buckets, or of the shard when there are none,
// in order. Buckets without a row are left out.
func Rows(ctx context.Context, q Querier, buckets []bucketmap.BucketID) ([]Row, error) {
	in, _ := inList(buckets)
	return query(ctx, q, " WHERE bucket IN ("+in+")")
}

// AllRows returns every row, the shard's first.
func AllRows(ctx context.Context, q Querier) ([]Row, error) { return query(ctx, q, "") }

func query(ctx context.Context, q Querier, where string) ([]Row, error) {
	rows, err := q.QueryContext(ctx,
		"SELECT bucket, state, epoch, move_id, server_id FROM "+Table+where+" ORDER BY bucket")
	if err != nil {
		return nil, fmt.Errorf("fence: read rows: %w", err)
	}
	defer rows.Close()
	var all []Row
	for rows.Next() {
		var r Row
		var token string
		if err := rows.Scan(&r.Bucket, &r.State, &r.Epoch, &token, &r.ServerID); err != nil {
			return nil, fmt.Errorf("fence: read rows: %w", err)
		}
		if r.Token, err = ParseToken(token); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("fence: read rows: %w", err)
	}
	return all, nil
}

// byKey makes the server find rows by the primary key. Left to itself it scans
// a small table, or one of which it wants a good part, and locks every row that
// it passes: other buckets' writers would wait, and one of them could make the
// statement wait.
const byKey = " FORCE INDEX (PRIMARY)"

// inList writes the buckets for IN (…), each once, and returns how many they
// are. Numbers need no quoting, and a batch may have more of them than a
// statement may have parameters.
func inList(buckets []bucketmap.BucketID) (list string, n int) {
	if len(buckets) == 0 {
		return fmt.Sprint(ShardRow), 1
	}
	buckets = slices.Compact(slices.Sorted(slices.Values(buckets)))
	var b strings.Builder
	for i, bucket := range buckets {
		if i != 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, uint32(bucket))
	}
	return b.String(), len(buckets)
}
