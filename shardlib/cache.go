package shardlib

// The cache beside the database, in the memcached of the home datacenter.
//
// Problem: a reader reads a row, a writer changes it and deletes the cached
// value, and then the reader caches what it read. The old value stays until it
// expires, and the writer's own user sees the change undone.
//
// Protocol. Under a key there is nothing, a value, the placeholder of one
// reader, or the marks of one or more writers.
//
//	a reader finds nothing    adds its placeholder, reads the database, and puts
//	                          the value over exactly that placeholder, or nowhere
//	... a placeholder         shares the result if its reader is in this process;
//	                          else reads the database and caches nothing
//	... a mark                reads the database and caches nothing
//	a writer, before COMMIT   puts its mark over whatever there is
//	...       after COMMIT    takes its own mark away; the last one leaves nothing
//	...       outcome unknown leaves it to expire
//
// Invariant: from before a COMMIT until after it, its keys hold its mark. So a
// placeholder that is still there when its reader returns was put there before
// the mark of any writer that the reader may have missed, and has lived through
// no mark: the value is the newest. That also makes sharing right: who finds a
// placeholder after a write was answered knows that the read began later.
//
// The key carries the bucket's and the shard's epoch (cachekey.go): those of
// the map for a reader, who fills only if the fence showed the same; those of
// the fence for a writer, who cannot commit under others.
//
// When memcached does not answer, readers read the database. Writers go on
// (or not: CacheOptions.FailWrites), and a value that is in a memcached which
// only this process cannot reach may then be old until its own expiry. A
// memcached that restarts or that evicts a mark within the milliseconds from
// mark to COMMIT lets a reader cache an old value; the writer deletes it when
// it is done, unless the writer dies first. A mark expires after MarkTTL: a
// COMMIT of unknown outcome that the server carries out later than that is not
// covered either.
//
// Rejected: a mark without nonces, which the first of two writers at once takes
// away from the second; and deleting alone, without a mark, which leaves the
// time between COMMIT and the deletion to readers, and the whole of it to
// whoever dies between the two.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"drover/bucketmap"
)

// ttlMax is the longest expiry that memcached takes as a span and not as a
// date.
const ttlMax = 30 * 24 * time.Hour

// cache is the memcached servers of one datacenter.
type cache struct {
	options CacheOptions
	servers []string
	// Readers give up soon, for they have the database. Writers are patient: a
	// mark that is not placed can leave an old value.
	reads, writes *wire

	mu struct {
		sync.Mutex
		fills map[nonce]*fill // those of this process that are under way
	}
}

// fill is one reader's turn, and the others of this process who wait for it.
type fill struct {
	done  chan struct{}
	value loaded // valid after done, if ok
	ok    bool
}

// loaded is what was read of a key: a value, or that there is none.
type loaded struct {
	value []byte
	none  bool
}

// result is what Cached returns.
func (v loaded) result() ([]byte, error) {
	if v.none {
		return nil, errNoValue
	}
	return v.value, nil
}

// errNoValue is ErrNoValue to some, and sql.ErrNoRows to others.
var errNoValue = fmt.Errorf("%w: %w", ErrNoValue, sql.ErrNoRows)

func newCache(options CacheOptions, servers []string, timeout time.Duration) (*cache, error) {
	var list memcache.ServerList
	if err := list.SetServers(servers...); err != nil {
		return nil, err
	}
	c := &cache{options: options, servers: servers, reads: newWire(&list, timeout, options.Idle),
		writes: newWire(&list, max(timeout, options.Write), options.Idle)}
	c.mu.fills = map[nonce]*fill{}
	return c, nil
}

func (c *cache) close() error { return errors.Join(c.reads.close(), c.writes.close()) }

// Cached returns the value of key for the user, from the cache of the user's
// home datacenter or else from load, which reads it from the database in a
// View. What load returns is cached for ttl, at most 30 days, in whole seconds,
// and up to a tenth shorter, by chance. nil is a value too, and comes back
// empty. That there is no value is cached too, for CacheOptions.NegativeTTL at
// most: load says so by ErrNoValue or sql.ErrNoRows, and Cached returns an error
// that is both. The caller must not change the bytes. Other errors are those of
// View and load's own.
//
// Calls of one process at once for one key share one read of the database, none
// of which began before the call.
//
// A value is never older than the last Update that invalidated the key and that
// ended before Cached was called, in whatever process, as long as this process
// knows the map by which that Update ran (AtLeast) and memcached answers.
func (l *Library) Cached(ctx context.Context, user bucketmap.UserID, key string, ttl time.Duration,
	load func(context.Context, *Tx) ([]byte, error)) ([]byte, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("shardlib: cache key %q: ttl %v: want more than 0", key, ttl)
	}
	home, err := l.Home(user)
	if err != nil {
		return nil, err
	}
	r := reader{library: l, cache: l.cachesNow()[home.Datacenter], user: user, key: key, ttl: ttl, load: load, home: home,
		id: cacheKey(l.config.Cache.Namespace, home.ShardEpoch, home.Epoch, user, key)}
	var value loaded
	var result cacheOutcome
	if r.cache == nil {
		value, result, err = r.fromDatabase(ctx, cacheNone)
	} else {
		value, result, err = r.read(ctx)
	}
	l.metrics.cacheRead(result)
	if err != nil {
		return nil, err
	}
	return value.result()
}

// load reads the database, and returns the transaction for its home and epochs.
func (l *Library) load(ctx context.Context, user bucketmap.UserID,
	load func(context.Context, *Tx) ([]byte, error)) (value loaded, at *Tx, err error) {
	err = l.View(ctx, user, func(ctx context.Context, tx *Tx) (err error) {
		at, value = tx, loaded{}
		value.value, err = load(ctx, tx)
		if errors.Is(err, ErrNoValue) || errors.Is(err, sql.ErrNoRows) {
			value, err = loaded{none: true}, nil
		}
		return err
	})
	if err != nil {
		return loaded{}, nil, err
	}
	return value, at, nil
}

// reader is one call of Cached.
type reader struct {
	library *Library
	cache   *cache
	user    bucketmap.UserID
	key     string
	ttl     time.Duration
	load    func(context.Context, *Tx) ([]byte, error)
	home    Home
	id      string // the key in memcached
}

// lookTries is how often a reader looks at the key: once, and once more when
// another put something there between its look and its placeholder.
const lookTries = 2

func (r *reader) read(ctx context.Context) (loaded, cacheOutcome, error) {
	c := r.cache
	for range lookTries {
		item, err := c.reads.get(r.id)
		if err != nil {
			return r.fromDatabase(ctx, cacheError)
		}
		if item == nil {
			n := newNonce()
			f := c.begin(n)
			placed, err := c.reads.add(r.id, fillingEntry(n), c.options.FillTTL)
			if err == nil && placed {
				return r.fill(ctx, n, f)
			}
			c.end(n, f)
			if err != nil {
				return r.fromDatabase(ctx, cacheError)
			}
			continue
		}
		if value, ok := parseValue(item.Value, r.user, r.key); ok {
			return loaded{value: value}, cacheHit, nil
		}
		if parseNone(item.Value, r.user, r.key) {
			return loaded{none: true}, cacheHitNone, nil
		}
		if n, ok := parseFilling(item.Value); ok {
			if value, ok := c.join(ctx, n); ok {
				return value, cacheJoined, nil
			}
			return r.fromDatabase(ctx, cacheBusy)
		}
		if isMarked(item.Value) {
			return r.fromDatabase(ctx, cacheMarked)
		}
		return r.fromDatabase(ctx, cacheMismatch)
	}
	return r.fromDatabase(ctx, cacheBusy)
}

// fromDatabase reads the database, together with other calls of this process
// that want the same.
func (r *reader) fromDatabase(ctx context.Context, why cacheOutcome) (loaded, cacheOutcome, error) {
	own := func() (loaded, error) {
		value, _, err := r.library.load(ctx, r.user, r.load)
		return value, err
	}
	value, mine, err := r.library.flights.do(ctx, r.id, own)
	switch {
	case err == nil && !mine:
		r.library.metrics.shared.Inc()
	case err != nil && !mine:
		value, err = own() // another call's failure, or the end of its context, is not this one's
	}
	return value, why, err
}

// fill reads the database and puts the value over the reader's placeholder.
func (r *reader) fill(ctx context.Context, n nonce, f *fill) (value loaded, result cacheOutcome, err error) {
	c := r.cache
	defer func() { // also if load panics
		c.end(n, f)
		if result != cacheFilled {
			// So that the next reader need not wait for its expiry.
			_, _ = c.replaceFilling(r.id, n, nil, expired)
		}
	}()
	value, at, err := r.library.load(ctx, r.user, r.load)
	if err != nil {
		return loaded{}, cacheLost, err
	}
	f.value, f.ok = value, true
	if at.home.Datacenter != r.home.Datacenter || at.seen.Epoch != r.home.Epoch || at.seen.ShardEpoch != r.home.ShardEpoch ||
		len(value.value) > c.options.ValueBytesMax || value.none && c.options.NegativeTTL < 0 {
		return value, cacheLost, nil
	}
	room, ttl := make([]byte, 0, 16+len(r.user)+len(r.key)+len(value.value)), jittered(r.ttl)
	entry := appendValue(room, r.user, r.key, value.value)
	if value.none {
		entry, ttl = appendNone(room[:0], r.user, r.key), min(ttl, c.options.NegativeTTL)
	}
	switch swapped, err := c.replaceFilling(r.id, n, entry, ttl); {
	case err != nil:
		return value, cacheError, nil
	case !swapped:
		return value, cacheLost, nil
	}
	return value, cacheFilled, nil
}

// jitterShare is by how much an expiry may be shorter than asked for, so that
// what was cached together does not expire together.
const jitterShare = 0.1

func jittered(ttl time.Duration) time.Duration {
	return ttl - time.Duration(rand.Float64()*jitterShare*float64(ttl))
}

// replaceFilling puts an entry over the placeholder with this nonce. It returns
// false if that is not there any more.
func (c *cache) replaceFilling(id string, n nonce, entry []byte, ttl time.Duration) (bool, error) {
	item, err := c.reads.get(id)
	if err != nil || item == nil {
		return false, err
	}
	if there, ok := parseFilling(item.Value); !ok || there != n {
		return false, nil
	}
	return c.reads.swap(item, entry, ttl)
}

// mark is one writer's mark, on the keys in memcached where it was put.
type mark struct {
	cache *cache
	nonce nonce
	ids   []string
}

// mark puts the transaction's mark on its keys. It fails only when that is
// wanted (CacheOptions.FailWrites), and then leaves no mark.
func (l *Library) mark(tx *Tx) (mark, error) {
	c := l.cachesNow()[tx.home.Datacenter]
	if len(tx.invalidated) > invalidatedMax {
		return mark{}, fmt.Errorf("shardlib: %d keys invalidated: want at most %d in a transaction", len(tx.invalidated), invalidatedMax)
	}
	if c == nil || len(tx.invalidated) == 0 {
		return mark{}, nil
	}
	m := mark{cache: c, nonce: newNonce(), ids: make([]string, len(tx.invalidated))}
	for i, key := range tx.invalidated {
		m.ids[i] = cacheKey(c.options.Namespace, tx.seen.ShardEpoch, tx.seen.Epoch, tx.user, key)
	}
	err := l.eachMark(m, (*cache).mark)
	if err != nil && c.options.FailWrites {
		l.unmark(m)
		return mark{}, fmt.Errorf("%w: %w", ErrCache, err)
	}
	return m, nil
}

// unmark takes the marks away; those it cannot reach expire.
func (l *Library) unmark(m mark) { _ = l.eachMark(m, (*cache).unmark) }

// eachMark does one thing to all keys, side by side: each is exchanges with
// what may be a distant memcached.
func (l *Library) eachMark(m mark, do func(c *cache, id string, n nonce) error) error {
	failures := make([]error, len(m.ids))
	each := func(i int) {
		failures[i] = do(m.cache, m.ids[i], m.nonce)
		l.metrics.cacheWrite(failures[i] == nil)
	}
	switch len(m.ids) {
	case 0:
		return nil
	case 1:
		each(0)
		return failures[0]
	}
	var all sync.WaitGroup
	for i := range m.ids {
		all.Go(func() { each(i) })
	}
	all.Wait()
	return errors.Join(failures...)
}
