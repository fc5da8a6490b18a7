package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"drover/bucketmap"
	"drover/internal/pause"
	"drover/migrator/internal/database"
)

// ErrReaders says that something may still read the buckets from their old home.
var ErrReaders = errors.New("something may still read from the old home")

const (
	// readersMax bounds the wait for transactions at the old home to end, and
	// readersEvery is how often they are looked at.
	readersMax   = 3 * time.Second
	readersEvery = 150 * time.Millisecond
	// listMax bounds the wait for a list of transactions that is not an old one.
	listMax = 10 * time.Second
)

// wantNoReaders makes sure that nobody reads the buckets from their old home any more,
// or says who may, as ErrReaders:
//
//   - a proxy that runs a map in which a bucket is still there, and sends its
//     requests to the old home; a proxy that refuses the map, or cannot be asked,
//     counts, and a store that cannot say which proxies there are;
//   - a transaction of an application that is open at the old home now. One that
//     began before the switch has read the fence when the bucket was there, and
//     reads on; whatever begins later through shardlib is refused, for shardlib
//     looks at the fence row when it reads.
//
// Who is not seen: an application that is fenced by triggers alone, reads without
// a transaction, and reaches the old home on a path of its own, past the proxies.
// It finds no rows after the purge, where it found old ones before.
func (r *run) wantNoReaders(ctx context.Context) error {
	if err := r.wantProxiesElsewhere(ctx); err != nil {
		return err
	}
	return r.wantReadersGone(ctx)
}

// wantProxiesElsewhere wants every live proxy to run a map in which the buckets
// are at their new home.
func (r *run) wantProxiesElsewhere(ctx context.Context) error {
	snap, err := r.Map.Store.Load(ctx)
	if err != nil {
		return fmt.Errorf("%w: the map cannot be read: %w", ErrReaders, err)
	}
	if b, shard, ok := r.elsewhere(snap); !ok {
		return fmt.Errorf("%w: the map in force, version %d, has bucket %d on %q: migrator map history says who published it",
			ErrReaders, snap.Version(), b, shard)
	}
	late, err := r.lateProxy(ctx, snap)
	if err == nil && late == "" {
		return nil
	}
	if err == nil {
		// It may be about to take the newest map.
		if r.Map.WaitAcks(ctx, snap, r.Limits.Hold.Ack) == nil {
			return nil
		}
		late, err = r.lateProxy(ctx, snap)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: the proxies cannot be asked which map they run: %w; finish with --force REASON if none sends requests to %s",
			ErrReaders, err, r.from.Shard)
	case late != "":
		return fmt.Errorf("%w: proxy %s; end it or mend it, or finish with --force REASON", ErrReaders, late)
	}
	return nil
}

// lateProxy says in words which proxy may send requests to the old home, ""
// when none does.
func (r *run) lateProxy(ctx context.Context, current *bucketmap.Snapshot) (string, error) {
	acks, err := r.Map.Store.Acks(ctx)
	if err != nil {
		return "", err
	}
	maps := map[bucketmap.Version]*bucketmap.Snapshot{current.Version(): current}
	for _, ack := range acks {
		if ack.Version == 0 {
			return fmt.Sprintf("%s runs no map that is known: %s", ack.Proxy, ack.Reason), nil
		}
		snap, known := maps[ack.Version]
		if !known {
			snap, err = r.Map.Store.At(ctx, ack.Version)
			if errors.Is(err, bucketmap.ErrNoMap) {
				return fmt.Sprintf("%s runs version %d, which is not in the history", ack.Proxy, ack.Version), nil
			}
			if err != nil {
				return "", err
			}
			maps[ack.Version] = snap
		}
		if ack.Digest != (bucketmap.Digest{}) && ack.Digest != snap.Digest() {
			return fmt.Sprintf("%s runs another map than version %d is", ack.Proxy, ack.Version), nil
		}
		if b, shard, ok := r.elsewhere(snap); !ok {
			return fmt.Sprintf("%s runs version %d, in which bucket %d is on %q", ack.Proxy, ack.Version, b, shard), nil
		}
	}
	return "", nil
}

// elsewhere says whether all buckets are at their new home in a map; if not, one
// that is not, and where that is.
func (r *run) elsewhere(snap *bucketmap.Snapshot) (bucketmap.BucketID, bucketmap.ShardName, bool) {
	for _, b := range r.move.Buckets {
		if home, ok := snap.Home(b); !ok || home.Name != r.move.To() {
			return b, home.Name, false
		}
	}
	return 0, "", true
}

// transaction is one that is open at the old home.
type transaction struct {
	thread  uint64
	user    string
	started string // to the second, by the server's clock
}

// wantReadersGone waits until every transaction of the applications that is open
// at the old home now has ended. What begins later begins behind the fence.
func (r *run) wantReadersGone(ctx context.Context) error {
	waited, err := r.transactions(ctx)
	if err != nil {
		return fmt.Errorf("%w: %s cannot be asked for its open transactions, for which the account needs PROCESS: %w", ErrReaders, r.from.Name(), err)
	}
	waiting, cancel := context.WithTimeout(ctx, readersMax)
	defer cancel()
	ticker := time.NewTicker(readersEvery)
	defer ticker.Stop()
	for len(waited) != 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-waiting.Done():
			t := waited[0]
			return fmt.Errorf("%w: %d transaction(s) are open on %s since before, such as that of connection %d (user %s, since %s): end it (KILL %d), or wait and finish again, or finish with --force REASON",
				ErrReaders, len(waited), r.from.Name(), t.thread, t.user, t.started, t.thread)
		case <-ticker.C:
		}
		now, err := r.transactions(ctx)
		if err != nil {
			return fmt.Errorf("%w: %s cannot be asked for its open transactions: %w", ErrReaders, r.from.Name(), err)
		}
		waited = slices.DeleteFunc(waited, func(t transaction) bool { return !slices.Contains(now, t) })
	}
	return nil
}

// transactions lists the open transactions of other accounts than the
// migrator's, in this database or in none: a connection that is in another
// database has other tables in mind.
//
// InnoDB gives everybody the same list for as long as somebody read it within
// the last 100 ms, however old it is. So each look is made by a connection of its
// own, in a transaction of its own, and counts only when that is in the list.
func (r *run) transactions(ctx context.Context) ([]transaction, error) {
	looking, cancel := context.WithTimeout(ctx, listMax)
	defer cancel()
	pauses := backoff.NewExponentialBackOff() // at random: two that look in step would spoil it for each other
	pauses.InitialInterval, pauses.MaxInterval = 2*readersEvery, 4*readersEvery
	for {
		all, fresh, err := r.listTransactions(looking)
		switch {
		case fresh:
			return all, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case looking.Err() != nil:
			return nil, fmt.Errorf("for %s the list was an old one: something else reads information_schema.INNODB_TRX all the time", listMax)
		case err != nil:
			return nil, err
		}
		if err := pause.For(ctx, pauses.NextBackOff()); err != nil {
			return nil, err
		}
	}
}

func (r *run) listTransactions(ctx context.Context) (all []transaction, fresh bool, err error) {
	server, err := database.Open(r.from.Shard, r.from.Datacenter, r.from.Addr, r.from.Database, r.from.Account)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	err = database.InTx(ctx, server.DB, func(tx *sql.Tx) error {
		var own uint64
		if err := tx.QueryRowContext(ctx, "SELECT CONNECTION_ID(), (SELECT COUNT(*) FROM drover_tail WHERE move_id = '')").Scan(&own, new(int)); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "SELECT p.ID, p.USER, t.trx_started, "+
			"p.USER NOT IN (SUBSTRING_INDEX(USER(), '@', 1), 'system user') AND (p.DB = DATABASE() OR p.DB IS NULL) FROM information_schema.INNODB_TRX AS t "+
			"JOIN information_schema.PROCESSLIST AS p ON p.ID = t.trx_mysql_thread_id ORDER BY t.trx_started")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var t transaction
			var application bool
			if err := rows.Scan(&t.thread, &t.user, &t.started, &application); err != nil {
				return err
			}
			fresh = fresh || t.thread == own
			if application {
				all = append(all, t)
			}
		}
		return rows.Err()
	})
	return all, fresh && err == nil, err
}
