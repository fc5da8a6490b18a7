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
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"

	"drover/bench/internal/events"
	"drover/internal/pause"
	"drover/tools/testservers"
)

type bench struct {
	size, writers, rate int
	calm                time.Duration
	migrator            string
	megabytes           int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "replicate:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var b bench
	c := &cobra.Command{
		Use: "replicate", Short: "Measure how long making a replica takes, and what writers feel of it", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	c.Flags().IntVar(&b.size, "size", 16, "megabytes of the shard")
	c.Flags().IntVar(&b.writers, "writers", 4, "connections that write")
	c.Flags().IntVar(&b.rate, "rate", 200, "writes in a second, all together")
	c.Flags().IntVar(&b.megabytes, "megabytes-per-second", 32, "of the copy; 0 for no bound")
	c.Flags().DurationVar(&b.calm, "calm", 5*time.Second, "how long the writers go on without a copy")
	c.Flags().StringVar(&b.migrator, "migrator", "", "its `binary`; default: ./migrator is built")
	return c
}

const tables = 4

func (b bench) run(ctx context.Context, out io.Writer) (err error) {
	if b.size < 1 || b.writers < 1 || b.rate < b.writers {
		return errors.New("want --size and --writers of 1 or more, and --rate of --writers or more")
	}
	dir, err := os.MkdirTemp("", "drover-bench-replicate-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if b.migrator == "" {
		b.migrator = filepath.Join(dir, "migrator")
		if said, err := exec.CommandContext(ctx, "go", "build", "-o", b.migrator, "./migrator").CombinedOutput(); err != nil {
			return fmt.Errorf("build ./migrator, from the repository's root: %w\n%s", err, said)
		}
	}
	fleet, err := testservers.New(ctx, testservers.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	both, err := fleet.MariaDBs(ctx, "primary", "replica")
	if err != nil {
		return err
	}
	if err := b.fill(ctx, both[0]); err != nil {
		return err
	}
	if err := b.configure(ctx, dir, both[0], both[1]); err != nil {
		return err
	}
	w := &load{bench: b, primary: both[0]}
	if err := w.start(ctx); err != nil {
		return err
	}
	_ = pause.For(ctx, b.calm) // the command sees the end
	calm := w.take()
	began := time.Now()
	said, runErr := b.command(ctx, dir, "shard", "replicate", "alpha", "--to", "cloud", fmt.Sprintf("--megabytes-per-second=%d", b.megabytes))
	took := time.Since(began)
	busy := w.take()
	if err := errors.Join(runErr, w.stop()); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d MB, %d writers, %d writes/s: the replica is made and proven in %s (%.1f MB/s)\n", b.size, b.writers, b.rate, took.Round(time.Millisecond), float64(b.size)/took.Seconds())
	var last events.Event
	for _, e := range events.Parse(said) {
		if e.Entered {
			if last.State != "" {
				fmt.Fprintf(out, "  %-10s %s\n", last.State, e.At.Sub(last.At).Round(time.Millisecond))
			}
			last = e
		}
	}
	fmt.Fprintf(out, "  writes without   %s\n  writes meanwhile %s\n", words(calm), words(busy))
	return nil
}

// fill makes the tables, with rows of about a kilobyte.
func (b bench) fill(ctx context.Context, m *testservers.MariaDB) error {
	statements := []string{"CREATE DATABASE app", "USE app"}
	rows := b.size * 1024 / tables
	for n := range tables {
		statements = append(statements, fmt.Sprintf("CREATE TABLE t%d (id BIGINT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL DEFAULT 0, body VARBINARY(1000), KEY (n))", n))
		const step = 10_000
		for first := 1; first <= rows; first += step {
			statements = append(statements, fmt.Sprintf("INSERT INTO t%d (n, body) SELECT seq %% 1000, REPEAT(MD5(seq), 30) FROM seq_%d_to_%d", n, first, min(first+step-1, rows)))
		}
	}
	return m.Exec(ctx, statements...)
}

// configure writes the operator's files and makes the first map.
func (b bench) configure(ctx context.Context, dir string, primary, replica *testservers.MariaDB) error {
	account := fmt.Sprintf("{user: %s, password: %s}", testservers.AccountDrover, testservers.Password)
	for name, text := range map[string]string{
		"shards.yaml": fmt.Sprintf("database: app\nshards:\n  alpha: {legacy: %q, cloud: %q}\n", primary.Addr(), replica.Addr()),
		"migrator.yaml": fmt.Sprintf("map: {store: file, dir: map}\nshards: shards.yaml\naccount: %s\nreplication: {user: %s, password: %s}\ntables: [{name: t0, user_column: id}]\n",
			account, testservers.AccountReplica, testservers.Password),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	_, err := b.command(ctx, dir, "init", "--buckets", "64", "--shard", "alpha=legacy", "--home", "alpha=0-63", "--source", "legacy", "--target", "cloud")
	return err
}

// command runs the migrator, and returns what it said of its progress.
func (b bench) command(ctx context.Context, dir string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, b.migrator, append([]string{"--config", filepath.Join(dir, "migrator.yaml"), "--output", "json"}, args...)...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("migrator %v: %w\n%s%s", args, err, stdout.Bytes(), stderr.Bytes())
	}
	return stderr.Bytes(), nil
}

// load is the writers.
type load struct {
	bench
	primary *testservers.MariaDB
	db      *sql.DB
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu   sync.Mutex
	hist *hdrhistogram.Histogram
	err  error
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}

func (w *load) start(ctx context.Context) error {
	db, err := w.primary.Open(testservers.AccountApp, "app")
	if err != nil {
		return err
	}
	db.SetMaxIdleConns(w.writers)
	ctx, w.cancel = context.WithCancel(ctx)
	w.db = db
	w.hist = newHistogram()
	for n := range w.writers {
		w.done.Go(func() {
			ticker := time.NewTicker(time.Duration(w.writers) * time.Second / time.Duration(w.rate))
			defer ticker.Stop()
			for i := 0; ; i++ {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
				began := time.Now()
				_, err := db.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("UPDATE t%d SET n = n + 1 WHERE id = ?", i%tables), 1+(i*7919+n*104_729)%(w.size*1024/tables))
				w.note(time.Since(began), err)
			}
		})
	}
	return nil
}

// note records a write; the first error alone is kept.
func (w *load) note(took time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err = errors.Join(err, w.hist.RecordValue(max(1, took.Microseconds()))); w.err == nil {
		w.err = err
	}
}

// take returns the figures since the last time.
func (w *load) take() *hdrhistogram.Histogram {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hist
	w.hist = newHistogram()
	return h
}

func (w *load) stop() error {
	w.cancel()
	w.done.Wait()
	return errors.Join(w.err, w.db.Close())
}

func words(h *hdrhistogram.Histogram) string {
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) * time.Microsecond }
	return fmt.Sprintf("p50 %s, p99 %s, max %s (%d)", at(50), at(99), time.Duration(h.Max())*time.Microsecond, h.TotalCount())
}
