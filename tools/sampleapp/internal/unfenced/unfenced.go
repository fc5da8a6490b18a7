// Package unfenced is the sample application without shardlib's fence.
//
// It stands for two things. With triggers on the tables, it is an application
// in any language that was not changed: the server refuses what must not be
// written. Without them it is SABOTAGE, for demonstrations of what the fence is
// for: it writes to the server that its map names, whether or not the bucket's
// home is still there, and loses writes during a move. It reads without a look
// at the fence either way, and has no cache.
//
// It never takes a refusal for a success. Its methods may be called
// concurrently.
package unfenced

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
	"drover/shardlib"
	"drover/shardlib/fence"
	"drover/tools/sampleapp/internal/fitness"
)

// Store is the application over plain connections.
type Store struct {
	library *shardlib.Library // for the map alone
	shards  shardlib.ShardList
	account shardlib.Account

	mu struct {
		sync.Mutex
		pools map[string]*sql.DB // by address
	}
}

// New returns a store that asks the library for homes. The caller closes it.
func New(library *shardlib.Library, shards shardlib.ShardList, account shardlib.Account) *Store {
	s := &Store{library: library, shards: shards, account: account}
	s.mu.pools = map[string]*sql.DB{}
	return s
}

// Close closes all connections.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, db := range s.mu.pools {
		err = errors.Join(err, db.Close())
	}
	return err
}

// connectionsMax bounds the connections to one server.
const connectionsMax = 32

func (s *Store) pool(user bucketmap.UserID) (*sql.DB, shardlib.Home, error) {
	home, err := s.library.Home(user)
	if err != nil {
		return nil, home, err
	}
	address, ok := s.shards.Address(home.Shard, home.Datacenter)
	if !ok {
		return nil, home, fmt.Errorf("%w of shard %s in %s", shardlib.ErrNoServer, home.Shard, home.Datacenter)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if db := s.mu.pools[address]; db != nil {
		return db, home, nil
	}
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = s.account.User, s.account.Password, "tcp", address, s.shards.Database
	c.InterpolateParams, c.Logger = true, &mysql.NopLogger{}
	c.Timeout, c.ReadTimeout, c.WriteTimeout = 2*time.Second, 10*time.Second, 10*time.Second
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, home, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connectionsMax)
	db.SetMaxIdleConns(connectionsMax)
	s.mu.pools[address] = db
	return db, home, nil
}

// Add applies a request, or finds what it was answered the first time.
func (s *Store) Add(ctx context.Context, user bucketmap.UserID, r fitness.Request) (fitness.Added, error) {
	db, home, err := s.pool(user)
	if err != nil {
		return fitness.Added{}, err
	}
	a := fitness.Added{Place: fitness.Place{Shard: home.Shard}}
	a.Total, err = s.add(ctx, db, user, home.Bucket, r)
	if errors.Is(err, fitness.ErrDuplicate) {
		a.Duplicate = true
		a.Total, err = fitness.TotalOf(ctx, db, user, r.ID)
	}
	return a, refusal(home, err)
}

func (s *Store) add(ctx context.Context, db *sql.DB, user bucketmap.UserID, bucket bucketmap.BucketID, r fitness.Request) (int64, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // after Commit it does nothing
	total, err := fitness.Add(ctx, tx, user, bucket, r)
	if err != nil {
		return 0, err
	}
	if err := tx.Commit(); err != nil {
		var server *mysql.MySQLError
		if errors.As(err, &server) {
			return 0, err
		}
		return 0, fmt.Errorf("%w: %w", shardlib.ErrOutcomeUnknown, err)
	}
	return total, nil
}

// numberReadOnly is the server's error for a write where read_only is set.
const numberReadOnly = 1290

// refusal turns what the triggers and a read-only server say into ErrNotHome.
func refusal(home shardlib.Home, err error) error {
	var server *mysql.MySQLError
	if errors.As(err, &server) && (server.Number == fence.RefusedNumber || server.Number == numberReadOnly) {
		return &shardlib.NotHomeError{Bucket: home.Bucket, Shard: home.Shard, Datacenter: home.Datacenter,
			MapVersion: home.MapVersion, Err: err}
	}
	return err
}

// Day reads a day from the database.
func (s *Store) Day(ctx context.Context, user bucketmap.UserID, day string) (fitness.Day, error) {
	db, _, err := s.pool(user)
	if err != nil {
		return fitness.Day{}, err
	}
	return fitness.ReadDay(ctx, db, user, day)
}

// Profile reads a profile from the database, as JSON.
func (s *Store) Profile(ctx context.Context, user bucketmap.UserID) (json.RawMessage, error) {
	db, _, err := s.pool(user)
	if err != nil {
		return nil, err
	}
	p, err := fitness.ReadProfile(ctx, db, user)
	if err != nil {
		return nil, err
	}
	return json.Marshal(p)
}
