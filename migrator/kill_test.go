package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/internal/testrun"
	"drover/shardlib"
	"drover/tools/testservers"
)

const killBuckets = 16

// program is the migrator, built once for all tests, without the race detector: it
// is what an operator runs.
var program struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := os.RemoveAll(program.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// built returns the program's path.
func built(t *testing.T) string {
	t.Helper()
	program.Do(func() {
		if program.dir, program.err = os.MkdirTemp("", "drover-migrator-"); program.err != nil {
			return
		}
		// It outlives the test that came first.
		out, err := exec.CommandContext(context.Background(), "go", "build", "-o", filepath.Join(program.dir, "migrator"), ".").CombinedOutput()
		if err != nil {
			program.err = fmt.Errorf("build: %w\n%s", err, out)
		}
	})
	must(t, program.err)
	return filepath.Join(program.dir, "migrator")
}

// writersPause is between two writes of one of the application's writers.
const writersPause = 20 * time.Millisecond

// rig is the program with two shards, and an application that writes.
type rig struct {
	t       *testing.T
	dir     string
	program string
	servers []*testservers.MariaDB
	library *shardlib.Library
	store   *file.Store

	mu    sync.Mutex
	acked map[bucketmap.UserID]int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), program: built(t), acked: map[bucketmap.UserID]int{}}
	var err error
	r.servers, err = testservers.Start(t).MariaDBs(t.Context(), "alpha", "gamma")
	must(t, err)
	for _, s := range r.servers {
		must(t, s.Exec(t.Context(), "CREATE DATABASE app", "CREATE TABLE app.step (user_id VARBINARY(256) NOT NULL, n INT NOT NULL, PRIMARY KEY (user_id, n))"))
	}
	r.write("shards.yaml", fmt.Sprintf("database: app\nshards:\n  alpha: {legacy: %q}\n  gamma: {cloud: %q}\n",
		r.servers[0].Addr(), r.servers[1].Addr()))
	r.write("migrator.yaml", fmt.Sprintf(`map: {store: file, dir: map}
shards: shards.yaml
account: {user: %s, password: %q}
tables:
  - {name: step, user_column: user_id}
move: {freeze_max: 5s}
`, testservers.AccountDrover, testservers.Password))
	r.migrator("init", "--buckets", fmt.Sprint(killBuckets), "--shard", "alpha=legacy", "--shard", "gamma=cloud",
		"--even", "alpha", "--source", "legacy", "--target", "cloud")
	r.migrator("fence", "install")
	r.migrator("check")
	r.store, err = file.Open(filepath.Join(r.dir, "map"), file.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, r.store.Close()) })
	list, err := shardlib.LoadShardList(filepath.Join(r.dir, "shards.yaml"))
	must(t, err)
	r.library, err = shardlib.Open(t.Context(), shardlib.Config{Source: r.store, Shards: list, Datacenter: "legacy",
		Account: shardlib.Account{User: testservers.AccountApp, Password: testservers.Password}})
	must(t, err)
	t.Cleanup(func() { must(t, r.library.Close()) })
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	must(r.t, os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600))
}

// command is the program as an operator runs it.
func (r *rig) command(args ...string) *exec.Cmd {
	return exec.CommandContext(r.t.Context(), r.program, append([]string{"--config", filepath.Join(r.dir, "migrator.yaml")}, args...)...)
}

func (r *rig) migrator(args ...string) string {
	r.t.Helper()
	cmd := r.command(args...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.t.Fatalf("migrator %v: %v\n%s%s", args, err, out, exit.Stderr)
	}
	must(r.t, err)
	return string(out)
}

// update writes one step of a user and remembers that it was acknowledged.
func (r *rig) update(ctx context.Context, user bucketmap.UserID, n int) error {
	for {
		err := r.library.Update(context.WithoutCancel(ctx), user, func(ctx context.Context, tx *shardlib.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO step (user_id, n) VALUES (?, ?)", []byte(user), n)
			return err
		})
		if err == nil {
			r.mu.Lock()
			r.acked[user]++
			r.mu.Unlock()
			return nil
		}
		if !errors.Is(err, shardlib.ErrNotHome) || ctx.Err() != nil {
			return err
		}
	}
}

// load writes until stop is called.
func (r *rig) load() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			pace := testrun.NewPace(writersPause)
			defer pace.Stop()
			for n := 0; pace.Wait(ctx); n++ {
				user := bucketmap.UserID(fmt.Sprintf("user-%d", (n*4+i)%40))
				if err := r.update(ctx, user, n*4+i); err != nil && ctx.Err() == nil {
					r.t.Errorf("update: %v", err)
					return
				}
			}
		})
	}
	return func() { cancel(); group.Wait() }
}

// check compares what was acknowledged with what is at each user's home.
func (r *rig) check() (writes int) {
	r.t.Helper()
	for user, want := range r.acked {
		writes += want
		var have int
		must(r.t, r.library.View(r.t.Context(), user, func(ctx context.Context, tx *shardlib.Tx) error {
			return tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM step WHERE user_id = ?", []byte(user)).Scan(&have)
		}))
		if have != want {
			r.t.Errorf("%s: %d acknowledged, %d in the database", user, want, have)
		}
	}
	return writes
}

// openMoves asks the program what is under way.
func (r *rig) openMoves() []string {
	r.t.Helper()
	var status struct {
		Open []struct{ Move, State string }
	}
	must(r.t, json.Unmarshal([]byte(r.migrator("status", "-o", "json")), &status))
	var states []string
	for _, o := range status.Open {
		states = append(states, o.State)
	}
	return states
}

// version is the map's.
func (r *rig) version() bucketmap.Version {
	r.t.Helper()
	snap, err := r.store.Load(r.t.Context())
	must(r.t, err)
	return snap.Version()
}

func TestMigratorKilledAtFiveStatesIsResumedFromTheCommandLine(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stop := r.load()
	defer stop()
	for bucket, at := range []string{"copying.after_chunk", "verifying.after_journal", "freezing.after_freeze", "freezing.after_commit", "switching.after_activate"} {
		cmd := r.command("bucket", "move", fmt.Sprint(bucket), "--to", "gamma")
		cmd.Env = append(os.Environ(), "DROVER_CRASH_AT="+at)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("not killed at %s: %v\n%s", at, err, out)
		}
		before := r.openMoves()
		r.migrator("resume")
		after := r.openMoves()
		t.Logf("killed at %-24s left %s, resumed to %s", at, before[len(before)-1], after[len(after)-1])
		if after[len(after)-1] != "soaking" {
			t.Errorf("killed at %s and resumed: %s, want soaking", at, after[len(after)-1])
		}
	}
	version := r.version()
	r.migrator("bucket", "return", "2", "--dry-run")
	r.migrator("bucket", "finish", "3", "--dry-run")
	r.migrator("bucket", "move", "9", "--to", "gamma", "--dry-run")
	if now := r.version(); now != version || len(r.openMoves()) != 5 {
		t.Errorf("dry runs took the map from version %d to %d, and left %d moves open", version, now, len(r.openMoves()))
	}
	r.migrator("bucket", "return", "2")
	r.migrator("bucket", "finish", "3")
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	snap, err := r.store.Load(ctx)
	must(t, err)
	must(t, r.library.AtLeast(ctx, snap.Version()))
	t.Logf("%d writes acknowledged, all there once", r.check())
}
