package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"drover/bench/internal/events"
	"drover/bench/internal/times"
	"drover/tools/sources"
	"drover/tools/testservers"
)

const (
	buckets = 1000
	moved   = 100 // buckets of one move
	perUser = 10  // rows

	ratioMax = 0.7    // of the dump's time, for --gate
	applyMin = 40_000 // rows/s, for --gate
)

const table = `CREATE TABLE steps (
  bucket INT UNSIGNED NOT NULL, user_id VARBINARY(256) NOT NULL, day DATE NOT NULL,
  steps BIGINT NOT NULL, note VARCHAR(100) CHARACTER SET utf8mb4 NOT NULL, updated DATETIME(3) NOT NULL,
  PRIMARY KEY (user_id, day), KEY (bucket)) ENGINE=InnoDB`

// bench is one run.
type bench struct {
	rows, rounds, changes int
	gate                  bool
	migrator, profile     string

	dir            string
	config         string
	source, target *testservers.MariaDB
	there          *sql.DB // the target, as the application
	here           *sql.DB

	move, dump, load, apply times.Times
	// What programs took of the processors: the migrator for a whole move,
	// verification and publication with it; the dump and its client together.
	moveCPU, dumpCPU times.Times
	spent            time.Duration // of the processors, by the migrator's last command
}

func (b *bench) run(ctx context.Context, out io.Writer) (err error) {
	if b.dir, err = os.MkdirTemp("", "drover-bench-move-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	fleet, err := testservers.New(ctx, testservers.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	if err := b.prepare(ctx, fleet); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.here.Close(), b.there.Close()) }()
	for round := range b.rounds {
		if err := b.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		last := func(f times.Times) time.Duration { return f[len(f)-1].Round(time.Millisecond) }
		fmt.Fprintf(out, "round %d: move %s, dump %s, load %s, %d changes in %s\n", round+1, last(b.move), last(b.dump), last(b.load),
			b.changes, last(b.apply))
	}
	return b.print(out)
}

// print prints the medians and, with --gate, the verdict.
func (b *bench) print(out io.Writer) error {
	ratio := b.move.Median().Seconds() / b.dump.Median().Seconds()
	rate := float64(b.changes) / b.apply.Median().Seconds()
	rows := b.rows * moved / buckets
	fmt.Fprintf(out, "\n%d of %d rows, %d of %d buckets, medians of %d rounds (least, most)\n", rows, b.rows, moved, buckets, b.rounds)
	for _, line := range []struct {
		name string
		f    times.Times
	}{{"migrator: copy and tail", b.move}, {"mariadb-dump | mariadb", b.dump}, {"LOAD DATA of a file", b.load}} {
		fmt.Fprintf(out, "  %-24s %s  %.0f rows/s\n", line.name, line.f.Spread(), float64(rows)/line.f.Median().Seconds())
	}
	fmt.Fprintf(out, "  %-24s %s  %.0f row changes/s\n", "tail: the backlog", b.apply.Spread(), rate)
	fmt.Fprintf(out, "  of the processors, without the servers: the migrator's whole move %s, the dump and its client %s\n", b.moveCPU.Spread(), b.dumpCPU.Spread())
	fmt.Fprintf(out, "  move / dump: %.2f\n", ratio)
	if !b.gate {
		return nil
	}
	var missed []error
	if ratio > ratioMax {
		missed = append(missed, fmt.Errorf("the move takes %.2f of the dump's time: want at most %.1f", ratio, ratioMax))
	}
	if rate < applyMin {
		missed = append(missed, fmt.Errorf("the tail applies %.0f row changes/s: want %d", rate, applyMin))
	}
	return errors.Join(missed...)
}

// prepare starts the servers, fills the source and publishes the first map.
func (b *bench) prepare(ctx context.Context, fleet *testservers.Fleet) error {
	if b.migrator == "" {
		var err error
		if b.migrator, err = sources.Program(ctx, b.dir, "migrator"); err != nil {
			return err
		}
	}
	// Memory for the rows: what is measured is not the disk.
	options := testservers.MariaDBOptions{Config: map[string]string{"innodb_buffer_pool_size": "512M", "innodb_log_file_size": "256M"}}
	var err error
	if b.source, err = fleet.MariaDB(ctx, "alpha", options); err != nil {
		return err
	}
	if b.target, err = fleet.MariaDB(ctx, "gamma", options); err != nil {
		return err
	}
	if err := b.source.Exec(ctx, "CREATE DATABASE app", "USE app", table, "SET sql_log_bin = 0", fmt.Sprintf(
		"INSERT INTO steps SELECT CRC32(u) %% %d, u, d, s, CONCAT('note ', s, ' of ', u), '2026-01-01 00:00:00.123' FROM ("+
			"SELECT CONCAT('user-', (seq - 1) DIV %d) AS u, '2026-01-01' + INTERVAL (seq - 1) %% %d DAY AS d, seq AS s FROM seq_1_to_%d) AS r",
		buckets, perUser, perUser, b.rows), "ANALYZE TABLE steps"); err != nil {
		return err
	}
	if err := b.target.Exec(ctx, "CREATE DATABASE app", "USE app", table, "CREATE DATABASE rival", "USE rival", table); err != nil {
		return err
	}
	if b.here, err = b.source.Open(testservers.AccountDrover, "app"); err != nil {
		return err
	}
	if b.there, err = b.target.Open(testservers.AccountDrover, "app"); err != nil {
		return err
	}
	return b.firstMap(ctx)
}

func (b *bench) firstMap(ctx context.Context) error {
	shards := filepath.Join(b.dir, "shards.yaml")
	text := fmt.Sprintf("database: app\nshards:\n  alpha: {legacy: %q}\n  gamma: {cloud: %q}\n", b.source.Addr(), b.target.Addr())
	if err := os.WriteFile(shards, []byte(text), 0o600); err != nil {
		return err
	}
	b.config = filepath.Join(b.dir, "migrator.yaml")
	text = fmt.Sprintf("map: {store: file, dir: %q}\nshards: %q\naccount: {user: %s, password: %s}\n"+
		"tables:\n  - {name: steps, bucket_column: bucket}\n", filepath.Join(b.dir, "map"), shards, testservers.AccountDrover, testservers.Password)
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		return err
	}
	_, err := b.command(ctx, "init", "--buckets", fmt.Sprint(buckets), "--shard", "alpha=legacy", "--shard", "gamma=cloud",
		"--home", fmt.Sprintf("alpha=0-%d", buckets-1), "--source", "legacy", "--target", "cloud")
	return err
}

// command runs the migrator and returns its events.
func (b *bench) command(ctx context.Context, args ...string) ([]events.Event, error) {
	command := exec.CommandContext(ctx, b.migrator, append([]string{"--config", b.config, "--output", "json"}, args...)...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("migrator %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	b.spent = spentBy(command)
	if b.profile != "" {
		name := filepath.Join(b.profile, fmt.Sprintf("%d-%s.json", time.Now().UnixMilli(), args[len(args)-2]))
		if err := os.WriteFile(name, stderr.Bytes(), 0o600); err != nil {
			return nil, err
		}
	}
	return events.Parse(stderr.Bytes()), nil
}

// spentBy is what a program that has ended took of the processors.
func spentBy(command *exec.Cmd) time.Duration {
	return command.ProcessState.UserTime() + command.ProcessState.SystemTime()
}
