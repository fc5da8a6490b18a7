package promotions

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/shardlib"
	"drover/shardlib/fence"
	"drover/tools/internal/book"
	"drover/tools/testservers"
)

// tables are the application's. Each fenced write adds an entry, swaps the
// register and counts in the tally, so that a write which is applied twice shows
// even where a key hides it. The table plain has no fence.
var tables = []string{
	`CREATE TABLE entry (bucket INT UNSIGNED NOT NULL, user_id VARBINARY(64) NOT NULL, id BIGINT UNSIGNED NOT NULL,
		PRIMARY KEY (user_id, id), KEY (bucket)) ENGINE=InnoDB`,
	`CREATE TABLE register (bucket INT UNSIGNED NOT NULL, user_id VARBINARY(64) NOT NULL PRIMARY KEY, value BIGINT UNSIGNED NOT NULL,
		writes BIGINT NOT NULL, KEY (bucket)) ENGINE=InnoDB`,
	"CREATE TABLE tally (user_id VARBINARY(64) NOT NULL PRIMARY KEY, writes BIGINT NOT NULL) ENGINE=InnoDB",
	"CREATE TABLE plain (run INT UNSIGNED NOT NULL, id BIGINT UNSIGNED NOT NULL, PRIMARY KEY (run, id)) ENGINE=InnoDB",
	"CREATE TABLE stranger (a INT) ENGINE=InnoDB",
}

const (
	// pace is between two requests of a client, as users have it.
	pace = 10 * time.Millisecond
	// plainEvery is between two writes of the watchers of read_only.
	plainEvery = 15 * time.Millisecond
)

// crowd is the clients of one case, and what they were told.
type crowd struct {
	w     *world
	run   int
	users []string
	book  *book.Book
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu     sync.Mutex
	writes []write           // that were acknowledged
	plain  map[uint64]string // writes of the table without a fence, by what was told
}

// userCount: four of the library's, and one that all watchers of the fence
// share, so that what they see must be the history of one register.
const userCount = 5

// crowd starts the clients.
func (w *world) crowd() *crowd {
	w.t.Helper()
	w.cases++
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{w: w, run: w.cases, book: book.Open(), stop: stop, plain: map[uint64]string{}}
	w.t.Cleanup(func() { stop(); c.done.Wait() })
	db := w.open(w.sides[w.home().Datacenter], testservers.AccountDrover, testservers.Password, "app")
	for n := range userCount {
		user := fmt.Sprintf("run-%d-user-%d", w.cases, n)
		c.users = append(c.users, user)
		_, err := db.ExecContext(ctx, "INSERT INTO register VALUES (?, ?, 0, 0)", bucketOf(user), user)
		must(w.t, err)
		_, err = db.ExecContext(ctx, "INSERT INTO tally VALUES (?, 0)", user)
		must(w.t, err)
	}
	_ = db.Close()
	for _, dc := range datacenters {
		c.client(ctx, pace, func(turn int) { c.byLibrary(dc, c.users[turn%(userCount-1)]) })
		c.client(ctx, pace, func(int) { c.direct(dc, "watcher by check in "+string(dc), true) })
		c.client(ctx, pace, func(int) { c.direct(dc, "watcher by trigger in "+string(dc), false) })
		c.client(ctx, plainEvery, func(int) { c.unfenced(dc) })
	}
	return c
}

// client does one thing again and again. A request is never interrupted: its
// outcome would be unknown.
func (c *crowd) client(ctx context.Context, every time.Duration, do func(turn int)) {
	c.done.Go(func() {
		turns := testrun.NewPace(every)
		defer turns.Stop()
		for turn := 0; turns.Wait(ctx); turn++ {
			do(turn)
		}
	})
}

func bucketOf(user string) bucketmap.BucketID { return bucketmap.Bucket([]byte(user), buckets) }

// execer is what *sql.Tx and *shardlib.Tx have in common.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// look sees the shard's row on the server that a transaction is on.
func (c *crowd) look(ctx context.Context, tx execer, v *write) error {
	var id uint32
	if err := tx.QueryRowContext(ctx, "SELECT epoch, state = 'active' AND server_id = @@server_id, @@server_id FROM drover_fence WHERE bucket = ?",
		fence.ShardRow).Scan(&v.epoch, &v.own, &id); err != nil {
		return err
	}
	for dc, s := range c.w.sides {
		if s.server.ServerID() == id {
			v.server = dc
		}
	}
	return nil
}

// fenced is the statements of one write that the fence protects. The first is
// one that the triggers fence: from there on the shard's row is locked, so the
// epoch is the one that the transaction commits in.
func (c *crowd) fenced(ctx context.Context, tx execer, user string, id book.ID, v *write, seen *book.Seen) error {
	if _, err := tx.ExecContext(ctx, "INSERT INTO entry (bucket, user_id, id) VALUES (?, ?, ?)", bucketOf(user), []byte(user), uint64(id)); err != nil {
		return err
	}
	if err := tx.QueryRowContext(ctx, "SELECT value FROM register WHERE user_id = ? FOR UPDATE", []byte(user)).Scan(&seen.Value); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE register SET value = ?, writes = writes + 1 WHERE user_id = ?", uint64(id), []byte(user)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE tally SET writes = writes + 1 WHERE user_id = ?", []byte(user)); err != nil {
		return err
	}
	if err := c.look(ctx, tx, v); err != nil {
		return err
	}
	seen.Shard, seen.Epoch = bucketmap.ShardName(v.server), v.epoch
	return nil
}

// told enters what a client was told of a write.
func (c *crowd) told(v write, outcome book.Outcome) {
	if outcome != book.Acknowledged {
		return
	}
	v.ended = c.book.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes = append(c.writes, v)
}

// begin notes a fenced write. All of them are of bucket 0 to the book, which
// looks for two owners of one bucket: here the whole shard has one.
func (c *crowd) begin(client, user string) book.ID {
	id, ok := c.book.Begin(book.Write, client, user, 0)
	if !ok {
		c.w.t.Error("the book is full")
		c.stop()
	}
	return id
}

// byLibrary is one write of an application in a datacenter, at the home that its
// map says.
func (c *crowd) byLibrary(dc bucketmap.Datacenter, user string) {
	id := c.begin("library in "+string(dc), user)
	v := write{by: fmt.Sprintf("library in %s, write %d", dc, id), fenced: true, began: c.book.Now()}
	var seen book.Seen
	err := c.w.libraries[dc].Update(context.Background(), bucketmap.UserID(user), func(ctx context.Context, tx *shardlib.Tx) error {
		return c.fenced(ctx, tx, user, id, &v, &seen)
	})
	outcome := book.Acknowledged
	switch {
	case errors.Is(err, shardlib.ErrOutcomeUnknown):
		outcome = book.Unknown
	case err != nil:
		outcome = book.Refused
	}
	c.book.End(id, outcome, seen, err)
	c.told(v, outcome)
}

// direct is one fenced write on a server, whatever it is and the map says.
func (c *crowd) direct(dc bucketmap.Datacenter, client string, checks bool) {
	user := c.users[userCount-1]
	id := c.begin(client, user)
	v := write{by: fmt.Sprintf("%s, write %d", client, id), fenced: true, began: c.book.Now()}
	var seen book.Seen
	outcome, err := inTx(c.w.sides[dc].app, func(ctx context.Context, tx *sql.Tx) error {
		if checks {
			if _, err := fence.CheckWrite(ctx, tx, bucketOf(user)); err != nil {
				return err
			}
		}
		return c.fenced(ctx, tx, user, id, &v, &seen)
	})
	c.book.End(id, outcome, seen, err)
	c.told(v, outcome)
}

// unfenced is one write on a server to the table without a fence.
func (c *crowd) unfenced(dc bucketmap.Datacenter) {
	c.mu.Lock()
	id := uint64(len(c.plain) + 1)
	c.plain[id] = ""
	c.mu.Unlock()
	v := write{by: fmt.Sprintf("watcher of read_only in %s, write %d", dc, id), began: c.book.Now()}
	outcome, _ := inTx(c.w.sides[dc].app, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO plain VALUES (?, ?)", c.run, id); err != nil {
			return err
		}
		return c.look(ctx, tx, &v)
	})
	c.mu.Lock()
	c.plain[id] = string(outcome)
	c.mu.Unlock()
	c.told(v, outcome)
}

// inTx runs a transaction, and says what is known of it then.
func inTx(db *sql.DB, f func(ctx context.Context, tx *sql.Tx) error) (book.Outcome, error) {
	ctx := context.Background()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return book.Refused, err
	}
	if err := f(ctx, tx); err != nil {
		_ = tx.Rollback() // one that does not arrive is rolled back by the server
		return book.Refused, err
	}
	return book.Commit(tx)
}

// more waits until n more fenced writes are acknowledged.
func (c *crowd) more(n int) {
	c.w.t.Helper()
	want := c.book.Writes() + n
	c.w.until(fmt.Sprintf("%d more writes", n), func() error {
		if have := c.book.Writes(); have < want {
			return fmt.Errorf("%d are missing", want-have)
		}
		return nil
	})
}
