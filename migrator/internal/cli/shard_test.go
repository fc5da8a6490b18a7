package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/internal/testrun"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// shardWorld is one shard with a replica, and a configuration.
type shardWorld struct {
	t        *testing.T
	config   string
	store    *file.Store
	from, to *testservers.MariaDB // in legacy and in cloud
}

func newShardWorld(t *testing.T) *shardWorld {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pair := lender.Take(t)
	w := &shardWorld{t: t, from: pair.A, to: pair.B}
	check(w.from.Exec(ctx, "CREATE DATABASE app"))
	db, err := w.from.Open(testservers.AccountDrover, "app")
	check(err)
	defer db.Close()
	check(fence.Create(ctx, db))
	check(fence.Activate(ctx, db, 0, 7))
	check(journal.Create(ctx, db))
	check(w.to.ReplicateFrom(ctx, w.from))

	dir := t.TempDir()
	w.config = filepath.Join(dir, "migrator.yaml")
	check(os.WriteFile(filepath.Join(dir, "shards.yaml"), fmt.Appendf(nil,
		"database: app\nshards:\n  alpha: {legacy: %q, cloud: %q}\n", w.from.Addr(), w.to.Addr()), 0o600))
	check(os.WriteFile(w.config, fmt.Appendf(nil, "map: {store: file, dir: map}\nshards: shards.yaml\n"+
		"account: {user: %s, password: %s}\nreplication: {user: %s, password: %s}\ntables: [{name: doc, bucket_column: bucket}]\n"+
		"move: {freeze_max: 3s, hold_max: 10s}\n",
		testservers.AccountDrover, testservers.Password, testservers.AccountReplica, testservers.Password), 0o600))
	w.store, err = file.Open(filepath.Join(dir, "map"), file.Options{})
	check(err)
	t.Cleanup(func() { _ = w.store.Close() })
	draft := bucketmap.NewDraft(8)
	draft.Default = bucketmap.Default{Datacenter: "legacy"}
	draft.Datacenters = []bucketmap.Datacenter{"cloud"}
	check(draft.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	check(draft.SetHome(0, 7, "alpha"))
	snap, err := draft.Snapshot()
	check(err)
	check(w.store.Publish(ctx, snap, bucketmap.Change{Who: "test"}))
	return w
}

// run runs a command and returns its exit code and what it printed.
func (w *shardWorld) run(args ...string) (code int, out, errOut string) {
	w.t.Helper()
	var o, e bytes.Buffer
	code = Run(w.t.Context(), Environment{Args: args, Out: &o, Err: &e, Who: "test", Config: w.config})
	return code, o.String(), e.String()
}

// ready waits until the replica passes the preflight: it has just begun to
// apply.
func (w *shardWorld) ready() {
	w.t.Helper()
	w.passes("shard", "promote", "alpha", "--to", "cloud", "--dry-run")
}

// passes waits until a command that changes nothing succeeds: servers notice
// one another's state in their own time.
func (w *shardWorld) passes(args ...string) (out, errOut string) {
	w.t.Helper()
	testrun.Until(w.t, strings.Join(args, " "), func() error {
		var code int
		if code, out, errOut = w.run(args...); code != 0 {
			return errors.New(errOut)
		}
		return nil
	})
	return out, errOut
}

func (w *shardWorld) lives() bucketmap.Shard {
	w.t.Helper()
	snap, err := w.store.Load(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	s, _ := snap.Shard("alpha")
	return s
}

func TestShardPromoteGoesForwardAndBack(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	w.ready()
	for i, to := range []bucketmap.Datacenter{"cloud", "legacy"} {
		code, out, errOut := w.run("shard", "promote", "alpha", "--to", string(to), "-o", "json")
		if code != 0 {
			t.Fatalf("exit %d: %s", code, errOut)
		}
		var r promoted
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.State != "done" || r.To != to || r.Shard != "alpha" || r.Move == "" {
			t.Errorf("it printed %s: %v", out, err)
		}
		if !strings.Contains(errOut, `"state":"switching"`) {
			t.Errorf("no events: %s", errOut)
		}
		if s := w.lives(); s.Datacenter != to || s.Epoch != bucketmap.Epoch(i+2) {
			t.Errorf("the map has %+v", s)
		}
	}
	code, out, _ := w.run("shard", "list")
	if code != 0 || !strings.Contains(out, "primary") || !strings.Contains(out, "replica") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestShardPromoteDryRunChangesNothing(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	w.ready()
	code, out, errOut := w.run("shard", "promote", "alpha", "--to", "cloud", "--dry-run")
	if code != 0 || !strings.Contains(out, "SET GLOBAL read_only = 1") || !strings.Contains(out, "the commit point") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	if s := w.lives(); s.Datacenter != "legacy" {
		t.Errorf("the map has %+v", s)
	}
	if _, out, _ = w.run("status"); !strings.Contains(out, "nothing under way") {
		t.Error(out)
	}
}

func TestShardPromoteRefusesAndSaysWhatToDo(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	w.ready()
	if err := w.to.Exec(t.Context(), "STOP SLAVE"); err != nil {
		t.Fatal(err)
	}
	code, _, errOut := w.run("shard", "promote", "alpha", "--to", "cloud")
	if code != exitRefused || !strings.Contains(errOut, "START SLAVE") {
		t.Errorf("exit %d: %s", code, errOut)
	}
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitRefused, []string{"shard", "promote", "alpha", "--to", "legacy"}},
		{exitRefused, []string{"shard", "promote", "alpha", "--to", "moon"}},
		{exitRefused, []string{"shard", "promote", "omega", "--to", "cloud"}},
		{exitRefused, []string{"shard", "finish", "alpha"}},
		{exitUsage, []string{"shard", "promote", "alpha"}},
		{exitUsage, []string{"shard", "promote", "--to", "cloud"}},
		{exitUsage, []string{"shard", "promote", "alpha", "--all", "--to", "cloud"}},
		{exitUsage, []string{"shard", "promote", "alpha", "--parallel", "2", "--to", "cloud"}},
		{exitUsage, []string{"shard", "promote", "--all", "--parallel", "17", "--to", "cloud"}},
		{exitUsage, []string{"shard", "promote", "--all", "--lost", "--to", "cloud"}},
		{exitUsage, []string{"shard", "promote", "alpha", "--yes", "alpha", "--to", "cloud"}},
		{exitRefused, []string{"shard", "promote", "alpha", "--lost", "--yes", "alpha", "--to", "cloud"}},
	} {
		if code, _, errOut := w.run(c.args...); code != c.code {
			t.Errorf("%v: exit %d, want %d: %s", c.args, code, c.code, errOut)
		}
	}
}

// killed runs the migrator in a process of its own, which dies at a point.
func (w *shardWorld) killed(point string, args ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0], args...)
	command.Env = append(os.Environ(), programVariable+"=1", "DROVER_MIGRATOR_CONFIG="+w.config, "DROVER_CRASH_AT="+point)
	text, err := command.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != -1 || ctx.Err() != nil {
		w.t.Fatalf("%s: it did not die: %v\n%s", point, err, text)
	}
}

func TestAKilledPromotionIsShownAndResumed(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	w.ready()
	at := bucketmap.Datacenter("legacy")
	for _, point := range []string{"freezing.after_read_only", "freezing.after_commit", "switching.after_activate", "publishing.after_map", "reversing.after_follow"} {
		target := bucketmap.Datacenter("cloud")
		if at == target {
			target = "legacy"
		}
		w.killed(point, "shard", "promote", "alpha", "--to", string(target))
		if _, out, _ := w.run("status"); !strings.Contains(out, fmt.Sprintf("shard alpha, %s → %s", at, target)) {
			t.Errorf("%s: status does not show it:\n%s", point, out)
		}
		code, out, errOut := w.run("resume")
		if code != 0 || !strings.Contains(out, "and is done") {
			t.Fatalf("%s: resume: exit %d: %s%s", point, code, out, errOut)
		}
		if at = target; w.lives().Datacenter != at {
			t.Fatalf("%s: the map has %+v", point, w.lives())
		}
	}
}

func TestAKilledPromotionIsAbortedByItsName(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	w.ready()
	w.killed("freezing.before_commit", "shard", "promote", "alpha", "--to", "cloud")
	var s status
	_, out, _ := w.run("status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || len(s.Open) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	code, out, errOut := w.run("abort", string(s.Open[0].Move))
	if code != 0 || !strings.Contains(out, "and is aborted") {
		t.Fatalf("exit %d: %s%s", code, out, errOut)
	}
	if w.lives().Datacenter != "legacy" {
		t.Errorf("the map has %+v", w.lives())
	}
}
