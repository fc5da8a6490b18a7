// Package config is the migrator's configuration file.
//
// Load (1) sets every default, (2) decodes the file strictly, (3) resolves
// paths against the file's folder and (4) validates, reporting every problem
// at once. It connects to nothing.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"drover/internal/config"
	"drover/migrator/internal/database"
	"drover/migrator/internal/move"
	"drover/migrator/internal/slo"
	"drover/shardlib/fence"
)

// Config is the migrator's configuration.
type Config struct {
	// Map says where the map is published.
	Map Map `yaml:"map"`
	// Shards is the path of the shard list that the applications use too.
	Shards string `yaml:"shards"`
	// Account is the migrator's own database account on every server. It alone
	// passes the trigger fence.
	Account Account `yaml:"account"`
	// Application is the account of the applications, as which fence verify tries
	// the fence. Nothing else uses it.
	Application Account `yaml:"application"`
	// Replication is the account by which a replica connects to a primary.
	Replication Account `yaml:"replication"`
	// Tables are the sharded tables.
	Tables []fence.Sharded `yaml:"tables"`
	// Weights is the path of a file with the users per bucket, as ranges:
	// {"0-99": 200, "100": 150}. Empty: every bucket counts as one.
	Weights string `yaml:"weights"`
	// Promotion is what promotions of whole shards have beside Move's limits.
	Promotion Promotion `yaml:"promotion"`
	Move      Limits    `yaml:"move"`
	Log       Log       `yaml:"log"`
	// MetricsListen is where commands that move buckets serve Prometheus metrics
	// while they run, host:port; without a host on loopback. Empty: nowhere.
	MetricsListen string `yaml:"metrics_listen"`
	// Tracers are the synthetic users of migrator trace.
	Tracers Tracers `yaml:"tracers"`
	// SLO are the objectives that campaigns are judged by; see docs/slo.md.
	SLO slo.Config `yaml:"slo"`
}

// Account is a database account.
type Account struct {
	// User is the account's name.
	User string `yaml:"user"`
	// Password is its password, unless there is a password_file.
	Password string `yaml:"password"`
	// PasswordFile is the path of a file whose first line is the password.
	PasswordFile string `yaml:"password_file"`
}

// Limits are move.Limits by their keys.
type Limits struct {
	FreezeLock  time.Duration `yaml:"freeze_lock_max"`
	Freeze      time.Duration `yaml:"freeze_max"`
	FreezeTries int           `yaml:"freeze_tries"`
	GateAge     time.Duration `yaml:"gate_age"`
	GateKnock   time.Duration `yaml:"gate_knock"`
	GateWait    time.Duration `yaml:"gate_wait_max"`
	Backoff     time.Duration `yaml:"backoff"`
	BackoffMax  time.Duration `yaml:"backoff_max"`
	CatchUp     time.Duration `yaml:"catch_up"`
	ChunkTime   time.Duration `yaml:"chunk_time"`
	Parallel    int           `yaml:"copy_parallel"` // how many chunks of the copy are written at once
	Hold        time.Duration `yaml:"hold_max"`      // how long the proxies may hold the requests of the buckets
	Ack         time.Duration `yaml:"ack_max"`       // how long the proxies may take to acknowledge a hold
	Throttle    Throttle      `yaml:"throttle"`

	TransactionMax config.Bytes `yaml:"transaction_max"`
}

// Log is how the migrator logs, to standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// Default returns the configuration with every default.
func Default() Config {
	l := move.DefaultLimits()
	return Config{
		Map: Map{Store: StoreFile, MaxChange: DefaultMaxChange}, Promotion: defaultPromotion(),
		Move: Limits{FreezeLock: l.FreezeLock, Freeze: l.Freeze, FreezeTries: l.FreezeTries,
			GateAge: l.GateAge, GateKnock: l.GateKnock, GateWait: l.GateWait,
			Backoff: l.Backoff, BackoffMax: l.BackoffMax, CatchUp: l.CatchUp, ChunkTime: l.ChunkTime, Parallel: l.CopyParallel,
			Hold: l.Hold.Until, Ack: l.Hold.Ack, Throttle: defaultThrottle(l.Throttle), TransactionMax: config.Bytes(l.TransactionMax)},
		Log:     Log{Level: "info", Format: "text"},
		Tracers: defaultTracers(),
		SLO:     slo.Default(),
	}
}

// Load reads a file. Relative paths in it are relative to its folder.
func Load(path string) (*Config, error) {
	c := Default()
	if err := config.Load(path, &c); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	paths := append(c.Map.paths(), &c.Shards, &c.Weights, &c.Account.PasswordFile, &c.Application.PasswordFile, &c.Replication.PasswordFile)
	for _, p := range append(paths, c.Tracers.paths()...) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	c.Promotion.resolve(dir, c.Move.Freeze)
	c.SLO.Resolve(dir)
	for _, a := range []*Account{&c.Account, &c.Application, &c.Replication} {
		if err := a.readPassword(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &c, nil
}

func (a *Account) readPassword() error {
	if a.PasswordFile == "" {
		return nil
	}
	text, err := os.ReadFile(a.PasswordFile)
	if err != nil {
		return fmt.Errorf("password_file: %w", err)
	}
	a.Password, _, _ = strings.Cut(string(text), "\n")
	a.Password = strings.TrimSuffix(a.Password, "\r")
	return nil
}

// Validate reports every problem at once.
func (c *Config) Validate() error {
	var p config.Problems
	c.Map.validate(&p)
	p.Want(c.Shards != "", "shards", c.Shards, "the path of the shard list")
	p.Want(c.Account.User != "", "account.user", c.Account.User, "the migrator's own database account")
	p.Want(len(c.Tables) != 0, "tables", len(c.Tables), "one sharded table or more")
	seen := map[string]bool{}
	for i, t := range c.Tables {
		key := fmt.Sprintf("tables[%d]", i)
		p.Want(t.Name != "" && !seen[t.Name], key+".name", t.Name, "a table, each once")
		p.Want((t.BucketColumn == "") != (t.UserColumn == ""), key, t.Name, "bucket_column or user_column, one of the two")
		seen[t.Name] = true
	}
	m := c.Move
	p.Lasting("move.freeze_lock_max", m.FreezeLock, time.Millisecond, 10*time.Second)
	p.Lasting("move.freeze_max", m.Freeze, 10*time.Millisecond, time.Minute)
	p.Between("move.freeze_tries", int64(m.FreezeTries), 1, 1_000_000)
	// The server tells the age of a transaction in whole seconds.
	p.Lasting("move.gate_age", m.GateAge, time.Second, time.Hour)
	p.Lasting("move.gate_knock", m.GateKnock, time.Second, time.Hour)
	p.Lasting("move.gate_wait_max", m.GateWait, 0, 7*24*time.Hour)
	p.Lasting("move.backoff", m.Backoff, time.Millisecond, time.Minute)
	p.Lasting("move.backoff_max", m.BackoffMax, m.Backoff, time.Hour)
	p.Lasting("move.catch_up", m.CatchUp, time.Millisecond, time.Minute)
	p.Lasting("move.chunk_time", m.ChunkTime, time.Millisecond, time.Minute)
	p.Between("move.copy_parallel", int64(m.Parallel), 1, move.CopyParallelMax)
	p.Lasting("move.hold_max", m.Hold, 10*time.Millisecond, time.Minute)
	p.Lasting("move.ack_max", m.Ack, 10*time.Millisecond, time.Minute)
	p.Sized("move.transaction_max", m.TransactionMax, config.MiB, 64*config.GiB)
	if c.MetricsListen != "" {
		p.Address("metrics_listen", c.MetricsListen)
	}
	m.Throttle.validate(&p)
	c.Tracers.validate(&p, m.Hold)
	c.Promotion.validate(&p, m.Freeze)
	c.SLO.Check(&p, "slo.")
	return p.Err()
}

// MoveLimits gives the limits as the engine takes them.
func (c *Config) MoveLimits() move.Limits {
	l := move.DefaultLimits()
	m := c.Move
	l.FreezeLock, l.Freeze, l.FreezeTries = m.FreezeLock, m.Freeze, m.FreezeTries
	l.GateAge, l.GateKnock, l.GateWait = m.GateAge, m.GateKnock, m.GateWait
	l.Backoff, l.BackoffMax, l.CatchUp = m.Backoff, m.BackoffMax, m.CatchUp
	l.ChunkTime, l.CopyParallel = m.ChunkTime, m.Parallel
	l.Hold.Until, l.Hold.Ack = m.Hold, m.Ack
	l.TransactionMax = int(m.TransactionMax)
	l.Throttle = m.Throttle.limits()
	return l
}

// Database gives the account as the database package takes it.
func (a Account) Database() database.Account {
	return database.Account{User: a.User, Password: a.Password}
}
