package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

func TestALostPrimaryIsReplacedOnTheOperatorsWordAlone(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	w.ready()
	if err := w.from.Kill(); err != nil {
		t.Fatal(err)
	}
	lost := []string{"shard", "promote", "alpha", "--to", "cloud", "--lost"}
	_, errOut := w.passes(append(lost, "--dry-run")...) // once the replica has noticed
	if !strings.Contains(errOut, "lost:  every transaction after") || !strings.Contains(errOut, "migrator resume") {
		t.Errorf("it does not say what is lost: %s", errOut)
	}
	for _, args := range [][]string{lost, append(lost, "--yes", "beta")} {
		if code, _, errOut := w.run(args...); code != exitRefused {
			t.Errorf("%v: exit %d: %s", args, code, errOut)
		}
	}
	if w.lives().Datacenter != "legacy" {
		t.Fatalf("the map has %+v", w.lives())
	}
	code, out, errOut := w.run(append(lost, "--yes", "alpha")...)
	if code != 0 || !strings.Contains(out, "migrator shard finish alpha") {
		t.Fatalf("exit %d: %s%s", code, out, errOut)
	}
	if s := w.lives(); s.Datacenter != "cloud" || s.Epoch != 3 {
		t.Errorf("the map has %+v", s)
	}
	if err := w.from.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, out, errOut := w.run("resume"); code != 0 || !strings.Contains(out, "and is done") {
		t.Errorf("resume: exit %d: %s%s", code, out, errOut)
	}
}

// addShard adds a second shard, beta, with a replica, to the world.
func (w *shardWorld) addShard() {
	w.t.Helper()
	ctx := w.t.Context()
	check := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	pair := lender.Take(w.t)
	from, to := pair.A, pair.B
	check(from.Exec(ctx, "CREATE DATABASE app"))
	db, err := from.Open(testservers.AccountDrover, "app")
	check(err)
	defer db.Close()
	check(fence.Create(ctx, db))
	check(journal.Create(ctx, db))
	check(to.ReplicateFrom(ctx, from))
	check(os.WriteFile(filepath.Join(filepath.Dir(w.config), "shards.yaml"), fmt.Appendf(nil,
		"database: app\nshards:\n  alpha: {legacy: %q, cloud: %q}\n  beta: {legacy: %q, cloud: %q}\n",
		w.from.Addr(), w.to.Addr(), from.Addr(), to.Addr()), 0o600))
	_, err = bucketmap.Update(ctx, w.store, bucketmap.Change{Who: "test"}, func(d *bucketmap.Draft) error {
		return d.PutShard(bucketmap.Shard{Name: "beta", Datacenter: "legacy"})
	})
	check(err)
}

func TestEveryShardIsPromotedAndOneThatFailsKeepsNoOtherBack(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	w.addShard()
	all := []string{"shard", "promote", "--all", "--to", "cloud", "--parallel", "2"}
	out, _ := w.passes(append(all, "--dry-run")...)
	if strings.Count(out, "every check passed") != 4 || strings.Count(out, "the commit point") != 2 {
		t.Errorf("it printed %s", out)
	}
	// alpha, the first, is refused: beta is begun only with --keep-going.
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.to.Exec(context.Background(), "STOP SLAVE"))
	code, out, errOut := w.run("shard", "promote", "--all", "--to", "cloud", "-o", "json")
	var lines []promoted
	if err := json.Unmarshal([]byte(out), &lines); err != nil || len(lines) != 2 || code != exitRefused || lines[0].Error == "" || !strings.Contains(lines[1].Error, "not begun") {
		t.Fatalf("exit %d: %s%s: %v", code, out, errOut, err)
	}
	code, out, errOut = w.run("shard", "promote", "--all", "--to", "cloud", "--keep-going")
	if code != exitFailed || !strings.Contains(out, "refused") || !strings.Contains(out, "done") {
		t.Fatalf("exit %d: %s%s", code, out, errOut)
	}
	must(w.to.Exec(context.Background(), "START SLAVE"))
	w.ready()
	if code, out, errOut = w.run(all...); code != 0 || strings.Contains(out, "beta") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	snap, err := w.store.Load(t.Context())
	must(err)
	for _, s := range snap.Shards() {
		if s.Datacenter != "cloud" || s.Epoch != 2 {
			t.Errorf("the map has %+v", s)
		}
	}
}
