package stage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/shardlib/fence"
	"drover/tools/demo/internal/ledger"
	"drover/tools/testservers"
)

// Books reads what every user has at home, by the newest map.
func (s *Stage) Books(ctx context.Context) (map[ledger.User]*ledger.Book, error) {
	snap, err := s.Map(ctx)
	if err != nil {
		return nil, err
	}
	shards := snap.Shards()
	parts := make([]map[ledger.User]*ledger.Book, len(shards))
	all, ctx := errgroup.WithContext(ctx)
	for i, shard := range shards {
		all.Go(func() error {
			var err error
			if parts[i], err = s.booksOf(ctx, snap, shard); err != nil {
				return fmt.Errorf("read what %s has: %w", shard.Name, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	books := map[ledger.User]*ledger.Book{}
	for _, part := range parts {
		for user, book := range part {
			books[user] = book
		}
	}
	return books, nil
}

// reader reads one shard.
type reader struct {
	db    *sql.DB
	snap  *bucketmap.Snapshot
	shard bucketmap.ShardName
	books map[ledger.User]*ledger.Book
}

func (s *Stage) booksOf(ctx context.Context, snap *bucketmap.Snapshot, shard bucketmap.Shard) (_ map[ledger.User]*ledger.Book, err error) {
	db, err := s.server(shard).Open(testservers.AccountRoot, database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r := &reader{db: db, snap: snap, shard: shard.Name, books: map[ledger.User]*ledger.Book{}}
	var id, request, date string
	var sum ledger.Sum
	if err := r.each(ctx, "SELECT user_id, request_id, DATE_FORMAT(day, '%Y-%m-%d'), steps FROM request",
		[]any{&id, &request, &date, &sum.Steps}, &id, func(b *ledger.Book) {
			b.Writes[request] = ledger.Applied{Date: date, Steps: sum.Steps}
		}); err != nil {
		return nil, err
	}
	if err := r.each(ctx, "SELECT user_id, DATE_FORMAT(day, '%Y-%m-%d'), steps, requests FROM steps",
		[]any{&id, &date, &sum.Steps, &sum.Writes}, &id, func(b *ledger.Book) { b.Days[date] = sum }); err != nil {
		return nil, err
	}
	err = r.each(ctx, "SELECT user_id, lifetime_steps, updates FROM profile",
		[]any{&id, &sum.Steps, &sum.Writes}, &id, func(b *ledger.Book) { b.Profile = &ledger.Sum{Writes: sum.Writes, Steps: sum.Steps} })
	return r.books, err
}

// each scans every row of a user whose home the shard is. Rows of others are
// what a move has left behind, or brings.
func (r *reader) each(ctx context.Context, query string, row []any, id *string, take func(*ledger.Book)) error {
	rows, err := r.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			return err
		}
		home, ok := r.snap.Home(bucketmap.Bucket([]byte(*id), r.snap.Buckets()))
		number, err := strconv.Atoi(*id)
		if !ok || home.Name != r.shard || err != nil {
			continue
		}
		book := r.books[ledger.User(number)]
		if book == nil {
			book = &ledger.Book{Writes: map[string]ledger.Applied{}, Days: map[string]ledger.Sum{}}
			r.books[ledger.User(number)] = book
		}
		take(book)
	}
	return rows.Err()
}

// Homes looks at the fences of all four servers and returns what is wrong:
// every bucket must be active on one server, and on that which the map names.
func (s *Stage) Homes(ctx context.Context) ([]string, error) {
	snap, err := s.Map(ctx)
	if err != nil {
		return nil, err
	}
	active := make([][]string, snap.Buckets()) // names of servers, by bucket
	for _, name := range []string{alpha, beta, gamma, delta} {
		if err := s.activeOn(ctx, name, active); err != nil {
			return nil, fmt.Errorf("read the fence of %s: %w", name, err)
		}
	}
	var wrong []string
	for b, names := range active {
		shard, ok := snap.Home(bucketmap.BucketID(b))
		if !ok {
			wrong = append(wrong, fmt.Sprintf("bucket %d has no home", b))
			continue
		}
		if home := s.server(shard).Name(); len(names) != 1 || names[0] != home {
			wrong = append(wrong, fmt.Sprintf("bucket %d lives on %s, and is active on %v", b, home, names))
		}
	}
	return wrong, nil
}

// activeOn enters the server for every bucket that may be written there: the
// bucket's row is active, and so is the shard's, for this very server.
func (s *Stage) activeOn(ctx context.Context, name string, active [][]string) (err error) {
	db, err := s.servers[name].Open(testservers.AccountRoot, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, fmt.Sprintf("SELECT b.bucket FROM %s b JOIN %s s ON s.bucket = ? AND s.state = ? AND s.server_id = @@server_id "+
		"WHERE b.bucket <> s.bucket AND b.state = ?", fence.Table, fence.Table), fence.ShardRow, string(fence.Active), string(fence.Active))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var b int
		if err := rows.Scan(&b); err != nil {
			return err
		}
		if b < len(active) {
			active[b] = append(active[b], name)
		}
	}
	return rows.Err()
}

// Population counts the users of each datacenter by their homes.
func Population(snap *bucketmap.Snapshot, users int) map[bucketmap.Datacenter]int {
	count := map[bucketmap.Datacenter]int{}
	for i := 1; i <= users; i++ {
		if home, ok := snap.Home(bucketmap.Bucket([]byte(ledger.User(i).ID()), snap.Buckets())); ok {
			count[home.Datacenter]++
		}
	}
	return count
}
