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
// shard list bounds them.
type pools struct {
	config Config

	mu struct {
		sync.RWMutex
		closed   bool
		byServer map[server]*sql.DB
	}
}

// server is a shard's server in a datacenter.
type server struct {
	shard      bucketmap.ShardName
	datacenter bucketmap.Datacenter
}

func newPools(config Config) *pools {
	p := &pools{config: config}
	p.mu.byServer = map[server]*sql.DB{}
	return p
}

var errClosed = errors.New("the library is closed")

func (p *pools) get(home Home) (*sql.DB, error) {
	key := server{home.Shard, home.Datacenter}
	p.mu.RLock()
	db, closed := p.mu.byServer[key], p.mu.closed
	p.mu.RUnlock()
	if closed {
		return nil, errClosed
	}
	if db != nil {
		return db, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return nil, errClosed
	}
	if db := p.mu.byServer[key]; db != nil {
		return db, nil
	}
	db, err := p.open(key)
	if err != nil {
		return nil, err
	}
	p.mu.byServer[key] = db
	return db, nil
}

func (p *pools) open(key server) (*sql.DB, error) {
	address, ok := p.config.Shards.Address(key.shard, key.datacenter)
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
	c.Net, c.Addr, c.DBName = "tcp", address, p.config.Shards.Database
	c.MultiStatements = false // a second statement could be COMMIT
	c.RejectReadOnly = false  // it would hide error 1290 behind a retry
	c.CheckConnLiveness = true
	inner, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("shard %s in %s: %w", key.shard, key.datacenter, err)
	}
	limits := p.config.Remote
	if key.datacenter == p.config.Datacenter {
		limits = p.config.Local
	}
	db := sql.OpenDB(connector{inner})
	db.SetMaxOpenConns(limits.Open)
	db.SetMaxIdleConns(limits.Idle)
	db.SetConnMaxLifetime(limits.Lifetime)
	db.SetConnMaxIdleTime(limits.IdleTime)
	return db, nil
}

func (p *pools) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.closed = true
	var err error
	for key, db := range p.mu.byServer {
		err = errors.Join(err, db.Close())
		delete(p.mu.byServer, key)
	}
	return err
}
