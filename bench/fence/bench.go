package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jedib0t/go-pretty/v6/table"

	"drover/bench/internal/proc"
	"drover/bucketmap"
	"drover/shardlib"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

type bench struct {
	rounds, transactions, workers int
	durable                       bool
}

// users is how many rows the tables have; workers take turns with them.
const users = 1000

const buckets = 64

// kind is one way to write.
type kind struct {
	name  string
	table string
	write func(ctx context.Context, table string, user bucketmap.UserID) error
}

// cost is CPU time for each transaction.
type cost struct{ server, client time.Duration }

func (c cost) sum() time.Duration { return c.server + c.client }

func (b *bench) run(ctx context.Context, out io.Writer) (err error) {
	if b.rounds < 1 || b.transactions < 1 || b.workers < 1 {
		return errors.New("want 1 or more rounds, transactions and workers")
	}
	fleet, err := testservers.New(ctx, testservers.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	options := testservers.MariaDBOptions{}
	if b.durable {
		options.Config = map[string]string{"innodb_flush_log_at_trx_commit": "1", "sync_binlog": "1"}
	}
	server, err := fleet.MariaDB(ctx, "alpha", options)
	if err != nil {
		return err
	}
	if err := prepare(ctx, server); err != nil {
		return err
	}
	plain, err := openPlain(server, b.workers)
	if err != nil {
		return err
	}
	defer plain.Close()
	library, err := openLibrary(ctx, server, b.workers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, library.Close()) }()
	byPlain := func(ctx context.Context, table string, user bucketmap.UserID) error {
		tx, err := plain.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "UPDATE "+table+" SET n = n + 1 WHERE user_id = ?", []byte(user)); err != nil {
			return err
		}
		return tx.Commit()
	}
	byLibrary := func(ctx context.Context, table string, user bucketmap.UserID) error {
		return library.Update(ctx, user, func(ctx context.Context, tx *shardlib.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE "+table+" SET n = n + 1 WHERE user_id = ?", []byte(user))
			return err
		})
	}
	kinds := []kind{{"none", "plain", byPlain}, {"library", "plain", byLibrary}, {"trigger", "fenced", byPlain}, {"both", "fenced", byLibrary}}
	costs, err := b.measure(ctx, server.PID(), kinds)
	if err != nil {
		return err
	}
	b.print(out, kinds, costs)
	return nil
}

// measure returns each kind's cost in each round.
func (b *bench) measure(ctx context.Context, pid int, kinds []kind) ([][]cost, error) {
	costs := make([][]cost, len(kinds))
	for _, k := range kinds { // connections are made, and pages read, before
		if _, err := b.turn(ctx, pid, k, max(b.transactions/10, b.workers)); err != nil {
			return nil, err
		}
	}
	for round := range b.rounds {
		for i := range kinds {
			at := (i + round) % len(kinds)
			c, err := b.turn(ctx, pid, kinds[at], b.transactions)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kinds[at].name, err)
			}
			costs[at] = append(costs[at], c)
		}
	}
	return costs, nil
}

// turn writes, and returns the CPU time of one transaction.
func (b *bench) turn(ctx context.Context, pid int, k kind, transactions int) (cost, error) {
	before, err := clocks(pid)
	if err != nil {
		return cost{}, err
	}
	failures := make([]error, b.workers)
	var workers sync.WaitGroup
	for w := range b.workers {
		workers.Go(func() {
			for i := w; i < transactions && failures[w] == nil; i += b.workers {
				failures[w] = k.write(ctx, k.table, userID(i%users))
			}
		})
	}
	workers.Wait()
	after, err := clocks(pid)
	if err := errors.Join(append(failures, err)...); err != nil {
		return cost{}, err
	}
	n := time.Duration(transactions)
	return cost{(after.server - before.server) / n, (after.client - before.client) / n}, nil
}

func clocks(pid int) (cost, error) {
	server, err := proc.Clock(pid)
	if err != nil {
		return cost{}, err
	}
	client, err := proc.Clock(os.Getpid())
	return cost{server, client}, err
}

func (b *bench) print(out io.Writer, kinds []kind, costs [][]cost) {
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.AppendHeader(table.Row{"fence", "server CPU", "client CPU", "both", "ratio, server", "ratio, client", "ratio, both"})
	micros := func(d time.Duration) string { return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond)) }
	for i, k := range kinds {
		figure := func(of func(cost) time.Duration) (string, string) {
			var times []time.Duration
			var ratios []float64
			for round, c := range costs[i] {
				times = append(times, of(c))
				ratios = append(ratios, float64(of(c))/float64(max(of(costs[0][round]), 1)))
			}
			return micros(median(times)), fmt.Sprintf("%.2f", median(ratios))
		}
		server, serverRatio := figure(func(c cost) time.Duration { return c.server })
		client, clientRatio := figure(func(c cost) time.Duration { return c.client })
		both, ratio := figure(cost.sum)
		t.AppendRow(table.Row{k.name, server, client, both, serverRatio, clientRatio, ratio})
	}
	t.Render()
	fmt.Fprintf(out, "a transaction of one UPDATE; %d rounds of %d, %d workers; medians\n", b.rounds, b.transactions, b.workers)
}

func median[T time.Duration | float64](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func userID(i int) bucketmap.UserID { return bucketmap.UserID(fmt.Sprint("user", i)) }

// prepare makes the fence with every bucket active, and the tables.
func prepare(ctx context.Context, server *testservers.MariaDB) error {
	const table = "(user_id VARBINARY(256) PRIMARY KEY, n INT NOT NULL)"
	if err := server.Exec(ctx, "CREATE DATABASE app", "CREATE TABLE app.plain "+table, "CREATE TABLE app.fenced "+table); err != nil {
		return err
	}
	db, err := server.Open(testservers.AccountDrover, "app")
	if err != nil {
		return err
	}
	defer db.Close()
	if err := errors.Join(fence.Create(ctx, db), fence.Activate(ctx, db, 0, buckets-1),
		fence.Install(ctx, db, fence.Sharded{Name: "fenced", UserColumn: "user_id"}, buckets, testservers.AccountDrover)); err != nil {
		return err
	}
	for i := range users {
		for _, name := range []string{"plain", "fenced"} {
			if _, err := db.ExecContext(ctx, "INSERT INTO "+name+" VALUES (?, 0)", []byte(userID(i))); err != nil {
				return err
			}
		}
	}
	return nil
}

// openPlain opens a pool with the driver set up as shardlib sets it up.
func openPlain(server *testservers.MariaDB, workers int) (*sql.DB, error) {
	c, err := mysql.ParseDSN(server.DSN(testservers.AccountApp, "app"))
	if err != nil {
		return nil, err
	}
	c.InterpolateParams = true
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(workers)
	db.SetMaxIdleConns(workers)
	return db, nil
}

func openLibrary(ctx context.Context, server *testservers.MariaDB, workers int) (*shardlib.Library, error) {
	draft := bucketmap.NewDraft(buckets)
	draft.Default.Datacenter = "here"
	if err := errors.Join(draft.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "here"}), draft.SetHome(0, buckets-1, "alpha")); err != nil {
		return nil, err
	}
	snapshot, err := draft.Snapshot()
	if err != nil {
		return nil, err
	}
	return shardlib.Open(ctx, shardlib.Config{
		Source:     fixed{snapshot},
		Shards:     shardlib.ShardList{Database: "app", Shards: map[bucketmap.ShardName]map[bucketmap.Datacenter]string{"alpha": {"here": server.Addr()}}},
		Datacenter: "here",
		Account:    shardlib.Account{User: testservers.AccountApp, Password: testservers.Password},
		Local:      shardlib.Pool{Open: workers, Idle: workers},
	})
}

// fixed is a source of one map that never changes.
type fixed struct{ snapshot *bucketmap.Snapshot }

func (f fixed) Load(context.Context) (*bucketmap.Snapshot, error) { return f.snapshot, nil }

func (f fixed) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	changed(f.snapshot, nil)
	<-ctx.Done()
	return ctx.Err()
}

func (f fixed) Ack(context.Context, bucketmap.Ack) error { return nil }
