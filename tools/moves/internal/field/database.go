package field

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
	"drover/tools/internal/book"
	"drover/tools/testservers"
)

// tables are the sharded ones: two with a bucket column, one with a user alone.
// Each write adds an entry, swaps the register and counts in the tally, so that
// a write which is applied twice shows even where a key hides it.
//
// Their names end with the database's: fields share servers, and a mover may
// well stop at a statement that names its table in somebody else's database.
func (f *Field) tables() []string {
	return []string{
		"CREATE TABLE " + f.entry + ` (bucket INT UNSIGNED NOT NULL, user_id VARBINARY(64) NOT NULL, id BIGINT UNSIGNED NOT NULL,
			PRIMARY KEY (user_id, id), KEY (bucket)) ENGINE=InnoDB`,
		"CREATE TABLE " + f.register + ` (bucket INT UNSIGNED NOT NULL, user_id VARBINARY(64) NOT NULL PRIMARY KEY, value BIGINT UNSIGNED NOT NULL,
			writes BIGINT NOT NULL, KEY (bucket)) ENGINE=InnoDB`,
		"CREATE TABLE " + f.tally + ` (user_id VARBINARY(64) NOT NULL PRIMARY KEY, writes BIGINT NOT NULL) ENGINE=InnoDB`,
	}
}

// Bounds of the applications' connections: a server that is gone must not keep
// a client longer than a case may take.
const (
	dialMax  = 2 * time.Second
	replyMax = 10 * time.Second
	poolMax  = 64
)

func openDB(account, password, addr, database string) (*sql.DB, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr, config.DBName = account, password, "tcp", addr, database
	config.Timeout, config.ReadTimeout, config.WriteTimeout = dialMax, replyMax, replyMax
	config.InterpolateParams = true
	config.Logger = &mysql.NopLogger{} // these servers are killed on purpose
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(poolMax)
	db.SetMaxIdleConns(poolMax)
	return db, nil
}

// seed gives every user an empty register and tally at its first home.
func (f *Field) seed(ctx context.Context) error {
	var registers, tallies []string
	for bucket, users := range f.users {
		for _, user := range users {
			registers = append(registers, fmt.Sprintf("(%d, '%s', 0, 0)", bucket, user))
			tallies = append(tallies, fmt.Sprintf("('%s', 0)", user))
		}
	}
	// As the migrator's account: the fence passes no other's.
	db, err := openDB(testservers.AccountDrover, testservers.Password, f.Alpha.Server.Addr(), f.Database)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "INSERT INTO "+f.register+" VALUES "+strings.Join(registers, ", ")); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "INSERT INTO "+f.tally+" VALUES "+strings.Join(tallies, ", "))
	return err
}

// rows reads all rows of an end.
func (f *Field) rows(ctx context.Context, e *End) (*book.Rows, error) {
	r := &book.Rows{Entries: map[string][]book.ID{}, Last: map[string]book.ID{}, Writes: map[string]int{}, Tally: map[string]int{}}
	for _, q := range []struct {
		query string
		note  func(user string, a, b uint64)
	}{
		{"SELECT user_id, id, 0 FROM " + f.entry, func(user string, id, _ uint64) { r.Entries[user] = append(r.Entries[user], book.ID(id)) }},
		{"SELECT user_id, value, writes FROM " + f.register, func(user string, value, writes uint64) {
			r.Last[user], r.Writes[user] = book.ID(value), int(writes)
		}},
		{"SELECT user_id, writes, 0 FROM " + f.tally, func(user string, writes, _ uint64) { r.Tally[user] = int(writes) }},
	} {
		if err := book.Each(ctx, e.root, q.query, q.note); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", e.Shard, q.query, err)
		}
	}
	return r, nil
}

// Judge compares the book with the rows of both servers. The clients must have
// been stopped.
func (f *Field) Judge(ctx context.Context) (*book.Verdict, error) {
	snap, err := f.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	rows := map[bucketmap.ShardName]*book.Rows{}
	for _, e := range f.Ends() {
		if rows[e.Shard], err = f.rows(ctx, e); err != nil {
			return nil, err
		}
	}
	soaks, err := f.soaking(ctx)
	if err != nil {
		return nil, err
	}
	home := func(user string) bucketmap.ShardName {
		shard, _ := snap.Home(bucketmap.Bucket([]byte(user), f.Buckets))
		return shard.Name
	}
	kept := func(user string) bool { return soaks[bucketmap.Bucket([]byte(user), f.Buckets)] }
	return f.Book.Audit(rows, home, kept), nil
}
