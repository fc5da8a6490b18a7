package shardlib

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"drover/bucketmap"
)

// Config is what Open needs. Source, Shards, Datacenter and Account must be
// given; a zero elsewhere means the default.
type Config struct {
	Source bucketmap.Source
	Shards ShardList
	// ShardsFile, in the place of Shards, is the path of the shard list. It is
	// read anew when it changes: see Library.SetShards.
	ShardsFile string
	Datacenter bucketmap.Datacenter // where this process is
	Account    Account

	// Local limits the connections to each server of the own datacenter, Remote
	// those to each server of another. Remote connections are held for longer,
	// and must not use up what the home's own applications need.
	Local, Remote Pool

	Timeouts Timeouts
	Cache    CacheOptions
	Replicas ReplicaOptions // for ViewStale

	// Retries is how many times a function is run again after ErrConflict,
	// after a short pause. Default 0, at most RetriesMax.
	Retries int
	// RefusedWait bounds how long a refused call waits for a newer map before
	// it gives up. A newer map, waited for or known already, is tried once, and
	// only when the caller's function has not run. Default 0: no wait.
	RefusedWait time.Duration

	// Driver, when not nil, may change the driver's configuration before each
	// server's pool is made: TLS, collation, parameters.
	Driver func(*mysql.Config)

	Log        *zap.Logger           // nil: no log
	Registerer prometheus.Registerer // nil: metrics that nobody sees
}

// Account is the application's database account. It must not have the
// privilege to write to a server that is read only.
type Account struct {
	User, Password string
}

// Pool limits the connections to one server.
type Pool struct {
	Open     int           // default 32 local, 16 remote
	Idle     int           // default Open
	Lifetime time.Duration // default 5 minutes
	IdleTime time.Duration // default 1 minute
}

// Timeouts bound what a call may wait for, besides the caller's context.
type Timeouts struct {
	Dial time.Duration // for a connection; default 2 s
	// IO is for one read or write on a connection, so a statement must not
	// take longer. Default 10 s.
	IO time.Duration
	// Transaction is for a whole transaction, the wait for a connection and the
	// caller's function included. Default 30 s.
	Transaction time.Duration
}

// CacheOptions are for Cached and Tx.Invalidate. They must be the same in every
// process, but for the timeouts. Without servers in ShardList.Caches the
// datacenter's users are read from the database.
type CacheOptions struct {
	// Namespace begins every key: 1 to 32 letters, digits, '_', '-' or '.'.
	// Default "drover".
	Namespace string
	// Local and Remote bound one exchange of a reader with a memcached of the
	// own and of another datacenter. Default 100 ms and 500 ms.
	Local, Remote time.Duration
	// Write bounds one exchange of a writer, where it is longer than Local or
	// Remote: a reader has the database, but a writer that gives up can leave an
	// old value. Default 1 s.
	Write time.Duration
	// MarkTTL is when a writer's mark expires that nobody took away. Until then
	// its keys are read from the database. It must be longer than a COMMIT may
	// take: twice Timeouts.IO or more, in whole seconds. Default 30 s.
	MarkTTL time.Duration
	// FillTTL is how long a reader that fills a key keeps others from filling
	// it, in whole seconds. Default 5 s.
	FillTTL time.Duration
	// NegativeTTL bounds how long it is cached that there is no value, in whole
	// seconds. Default 5 s; less than 0: it is not cached.
	NegativeTTL time.Duration
	// ValueBytesMax is the largest value that is cached. Default 512 KiB; a
	// memcached takes 1 MiB by default, with the key and the user id.
	ValueBytesMax int
	// FailWrites gives up an Update whose keys cannot be marked, with ErrCache.
	// Otherwise it goes on, and a value that another reader filled meanwhile
	// may be old until it expires.
	FailWrites bool
	// Idle is how many idle connections are kept to a memcached. Default 32.
	Idle int
}

// RetriesMax bounds Config.Retries: whoever loses that often will lose again.
const RetriesMax = 10

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	defInt := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	defInt(&c.Local.Open, 32)
	defInt(&c.Remote.Open, 16)
	for _, p := range []*Pool{&c.Local, &c.Remote} {
		defInt(&p.Idle, p.Open)
		def(&p.Lifetime, 5*time.Minute)
		def(&p.IdleTime, time.Minute)
	}
	def(&c.Timeouts.Dial, 2*time.Second)
	def(&c.Timeouts.IO, 10*time.Second)
	def(&c.Timeouts.Transaction, 30*time.Second)
	if c.Cache.Namespace == "" {
		c.Cache.Namespace = "drover"
	}
	def(&c.Cache.Local, 100*time.Millisecond)
	def(&c.Cache.Remote, 500*time.Millisecond)
	def(&c.Cache.Write, time.Second)
	def(&c.Cache.MarkTTL, max(30*time.Second, 2*c.Timeouts.IO))
	def(&c.Cache.FillTTL, 5*time.Second)
	def(&c.Cache.NegativeTTL, 5*time.Second)
	defInt(&c.Cache.ValueBytesMax, 512<<10)
	defInt(&c.Cache.Idle, 32)
	def(&c.Replicas.Timeout, 500*time.Millisecond)
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

// validate reports every problem at once.
func (c Config) validate() error {
	var problems []error
	want := func(ok bool, key string, value any, bound string) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s: %v: want %s", key, value, bound))
		}
	}
	want(c.Source != nil, "Source", "nil", "a source of the map")
	want(c.Datacenter != "", "Datacenter", `""`, "the name of the own datacenter")
	want(c.Account.User != "", "Account.User", `""`, "a database account")
	if err := c.Shards.Validate(); err != nil {
		problems = append(problems, err)
	}
	for _, p := range []struct {
		key string
		Pool
	}{{"Local", c.Local}, {"Remote", c.Remote}} {
		want(p.Open >= 1, p.key+".Open", p.Open, "1 or more")
		want(p.Idle >= 1 && p.Idle <= p.Open, p.key+".Idle", p.Idle, "1 to Open")
		want(p.Lifetime > 0, p.key+".Lifetime", p.Lifetime, "more than 0")
		want(p.IdleTime > 0, p.key+".IdleTime", p.IdleTime, "more than 0")
	}
	want(c.Timeouts.Dial > 0, "Timeouts.Dial", c.Timeouts.Dial, "more than 0")
	want(c.Timeouts.IO > 0, "Timeouts.IO", c.Timeouts.IO, "more than 0")
	want(c.Timeouts.Transaction > 0, "Timeouts.Transaction", c.Timeouts.Transaction, "more than 0")
	want(c.Retries >= 0 && c.Retries <= RetriesMax, "Retries", c.Retries, fmt.Sprintf("0 to %d", RetriesMax))
	want(c.RefusedWait >= 0, "RefusedWait", c.RefusedWait, "0 or more")
	k := c.Cache
	want(len(k.Namespace) <= 32 && strings.Trim(k.Namespace, nameCharacters) == "", "Cache.Namespace", k.Namespace,
		"1 to 32 letters, digits, '_', '-' or '.'")
	want(k.Local > 0, "Cache.Local", k.Local, "more than 0")
	want(k.Remote > 0, "Cache.Remote", k.Remote, "more than 0")
	want(k.Write > 0, "Cache.Write", k.Write, "more than 0")
	want(k.MarkTTL >= 2*c.Timeouts.IO && k.MarkTTL >= time.Second && k.MarkTTL <= ttlMax, "Cache.MarkTTL", k.MarkTTL,
		"twice Timeouts.IO or more, 1 s to 30 days")
	want(k.FillTTL >= time.Second && k.FillTTL <= ttlMax, "Cache.FillTTL", k.FillTTL, "1 s to 30 days")
	want(k.ValueBytesMax >= 1, "Cache.ValueBytesMax", k.ValueBytesMax, "1 or more")
	want(k.Idle >= 1, "Cache.Idle", k.Idle, "1 or more")
	want(c.Replicas.Timeout > 0, "Replicas.Timeout", c.Replicas.Timeout, "more than 0")
	if len(problems) != 0 {
		return fmt.Errorf("shardlib: %d problem(s): %w", len(problems), errors.Join(problems...))
	}
	return nil
}

const nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
