package shardlib

import (
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
)

// pools has one pool of connections for each server that was ever needed. The
// shard list bounds them. A server whose address changes, or that leaves the
// list, gives up its pool at once: transactions under way end on it, new ones
// take the next, and the last one to end closes it.
type pools struct {
	config Config

	mu struct {
		sync.RWMutex
		closed   bool
		list     ShardList
		byServer map[server]*pool
		retired  map[*pool]bool // still in use
	}
}

// server is a shard's server in a datacenter.
type server struct {
	shard      bucketmap.ShardName
	datacenter bucketmap.Datacenter
}

// pool is the connections to one server.
type pool struct {
	db      *sql.DB
	local   bool
	address string // with the database's name

	mu struct {
		sync.Mutex
		users   int
		retired bool
	}
}

// take counts a user, unless the pool is retired.
func (p *pool) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.retired {
		return false
	}
	p.mu.users++
	return true
}

// leave says whether the caller was the last user of a retired pool.
func (p *pool) leave() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.users--
	return p.mu.retired && p.mu.users == 0
}

// retire says whether nobody uses the pool.
func (p *pool) retire() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.retired = true
	return p.mu.users == 0
}

func newPools(config Config) *pools {
	p := &pools{config: config}
	p.mu.list = config.Shards
	p.mu.byServer, p.mu.retired = map[server]*pool{}, map[*pool]bool{}
	return p
}

var errClosed = errors.New("the library is closed")

// get returns the pool of a home, which the caller releases.
func (p *pools) get(home Home) (*pool, error) {
	key := server{home.Shard, home.Datacenter}
	p.mu.RLock()
	there, closed := p.mu.byServer[key], p.mu.closed
	p.mu.RUnlock()
	if closed {
		return nil, errClosed
	}
	if there != nil && there.take() {
		return there, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return nil, errClosed
	}
	if there := p.mu.byServer[key]; there != nil && there.take() {
		return there, nil
	}
	opened, err := p.open(key)
	if err != nil {
		return nil, err
	}
	opened.take()
	p.mu.byServer[key] = opened
	return opened, nil
}

func (p *pools) release(used *pool) {
	if !used.leave() {
		return
	}
	p.mu.Lock()
	delete(p.mu.retired, used)
	p.mu.Unlock()
	_ = used.db.Close() // idle connections to a server that is not in the list
}

// use takes another shard list into force, and retires the pools of servers
// that are not as they were.
func (p *pools) use(list ShardList) {
	p.mu.Lock()
	var idle []*pool
	p.mu.list = list
	for key, there := range p.mu.byServer {
		if address, ok := list.Address(key.shard, key.datacenter); ok && there.address == address+"/"+list.Database {
			continue
		}
		delete(p.mu.byServer, key)
		if there.retire() {
			idle = append(idle, there)
		} else {
			p.mu.retired[there] = true
		}
	}
	p.mu.Unlock()
	for _, there := range idle {
		_ = there.db.Close()
	}
}

func (p *pools) open(key server) (*pool, error) {
	address, ok := p.mu.list.Address(key.shard, key.datacenter)
	if !ok {
		return nil, fmt.Errorf("%w of shard %s in %s", ErrNoServer, key.shard, key.datacenter)
	}
	c := mysql.NewConfig()
	c.User, c.Passwd = p.config.Account.User, p.config.Account.Password
	c.Timeout, c.ReadTimeout, c.WriteTimeout = p.config.Timeouts.Dial, p.config.Timeouts.IO, p.config.Timeouts.IO
	c.InterpolateParams = true    // one round trip a statement, not three
	c.Logger = &mysql.NopLogger{} // its errors are all returned as well
	if p.config.Driver != nil {
		p.config.Driver(c)
	}
	c.Net, c.Addr, c.DBName = "tcp", address, p.mu.list.Database
	c.MultiStatements = false // a second statement could be COMMIT
	c.RejectReadOnly = false  // it would hide error 1290 behind a retry
	c.CheckConnLiveness = true
	inner, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("shard %s in %s: %w", key.shard, key.datacenter, err)
	}
	opened := &pool{local: key.datacenter == p.config.Datacenter, address: address + "/" + p.mu.list.Database}
	limits := p.config.Remote
	if opened.local {
		limits = p.config.Local
	}
	opened.db = sql.OpenDB(connector{inner, p.config.Replicas.Enabled})
	opened.db.SetMaxOpenConns(limits.Open)
	opened.db.SetMaxIdleConns(limits.Idle)
	opened.db.SetConnMaxLifetime(limits.Lifetime)
	opened.db.SetConnMaxIdleTime(limits.IdleTime)
	return opened, nil
}

// connections adds up the pools' figures, own datacenter and others apart.
func (p *pools) connections() map[string]sql.DBStats {
	p.mu.RLock()
	defer p.mu.RUnlock()
	sums := map[string]sql.DBStats{"local": {}, "remote": {}}
	for _, there := range p.mu.byServer {
		place := "remote"
		if there.local {
			place = "local"
		}
		sum, s := sums[place], there.db.Stats()
		sum.InUse, sum.Idle = sum.InUse+s.InUse, sum.Idle+s.Idle
		sums[place] = sum
	}
	return sums
}

func (p *pools) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.closed = true
	var err error
	for key, there := range p.mu.byServer {
		err = errors.Join(err, there.db.Close())
		delete(p.mu.byServer, key)
	}
	for there := range p.mu.retired {
		err = errors.Join(err, there.db.Close())
		delete(p.mu.retired, there)
	}
	return err
}
