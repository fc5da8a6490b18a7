package cli

import (
	"fmt"
	"slices"
	"testing"

	"drover/tools/testservers"
)

func TestInitMakesTheTablesAndTheMapAndMayBeRunAgain(t *testing.T) {
	d := newDesktop(t)
	d.unchanged(0, append(slices.Clone(initArgs), "--dry-run"), "nothing was changed", "version: 1", `alpha: ["0-63"]`, "create tables drover_fence")
	var r initResult
	d.reads(&r, append(slices.Clone(initArgs), "--why", "first")...)
	if !r.Published || r.Version != 1 || len(r.Shards) != 2 || r.Shards[0].Buckets != "0-63" {
		t.Fatalf("got %+v", r)
	}
	if n := d.scan(d.alpha, "SELECT COUNT(*) FROM drover_fence WHERE state = 'active'"); n != "65" {
		t.Fatalf("%s active rows on alpha, want 64 buckets and the shard", n)
	}
	if n := d.scan(d.gamma, "SELECT COUNT(*) FROM drover_fence WHERE state = 'active'"); n != "1" {
		t.Fatalf("%s active rows on gamma, want the shard's", n)
	}
	d.want(0, []string{"map", "history"}, "first", "tester")

	d.exec(d.gamma, "DROP TABLE drover_tail")
	d.want(0, initArgs, "the map was in force already, version 1")
	if n := d.scan(d.gamma, "SELECT COUNT(*) FROM drover_tail"); n != "0" {
		t.Fatal(n)
	}
	d.want(0, []string{"check"})
}

func TestInitRefusesAMapThatDiffers(t *testing.T) {
	d := ready(t)
	other := slices.Clone(initArgs)
	other[slices.Index(other, "alpha=0-63")] = "alpha=0-62"
	d.unchanged(3, other, "it differs", "home 63")
}

func TestInitPublishesNothingBeforeEveryShardIsReady(t *testing.T) {
	d := newDesktop(t)
	d.exec(d.gamma, "DROP DATABASE "+d.database)
	d.want(1, initArgs, d.database)
	if d.version() != 0 {
		t.Fatal("a map was published")
	}
	d.makeDatabase(d.gamma)
	d.want(0, initArgs, "map version 1 is published")
}

func TestInitRefusesWhatIsNotAPrimary(t *testing.T) {
	d := newDesktop(t)
	d.exec(d.gamma, "SET GLOBAL read_only = 1")
	t.Cleanup(func() { d.exec(d.gamma, "SET GLOBAL read_only = 0") })
	d.unchanged(3, initArgs, "read-only")
	d.exec(d.gamma, "SET GLOBAL read_only = 0", "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1")
	t.Cleanup(func() { d.exec(d.gamma, "RESET SLAVE ALL") })
	d.unchanged(3, initArgs, "it is a replica")
}

func TestInitRefusesAFenceThatSaysOtherwise(t *testing.T) {
	for _, change := range []string{
		"UPDATE drover_fence SET state = 'moved' WHERE bucket = 7",
		"UPDATE drover_fence SET epoch = 2 WHERE bucket = 7",
		"UPDATE drover_fence SET move_id = 'm-1/1' WHERE bucket = 7",
		"UPDATE drover_fence SET server_id = 99 WHERE bucket = -1",
		"INSERT INTO drover_fence VALUES (64, 'moved', 1, '', 0)",
	} {
		d := ready(t)
		d.exec(d.alpha, change)
		d.unchanged(3, initArgs, "do not agree with the map")
	}
	d := ready(t)
	d.exec(d.gamma, "INSERT INTO drover_fence VALUES (7, 'active', 1, '', 0)")
	d.unchanged(3, initArgs, "bucket 7 is active here")
}

func TestInitSpreadsEvenly(t *testing.T) {
	d := newDesktop(t)
	d.want(0, []string{"init", "--buckets", "63", "--shard", "alpha=legacy", "--shard", "gamma=cloud", "--even", "gamma,alpha", "--default", "legacy"})
	d.want(0, []string{"map", "show"}, `alpha: ["31-62"]`, `gamma: ["0-30"]`, "mode: pinned")
}

func TestInitTakesAMapFromAFile(t *testing.T) {
	d := newDesktop(t)
	path := d.write("first.yaml", `version: 1
buckets: 64
default: {mode: auto, source: legacy, target: cloud, datacenter: legacy}
datacenters: [cloud, legacy]
shards:
  alpha: {datacenter: legacy, epoch: 1}
  gamma: {datacenter: cloud, epoch: 1}
homes:
  alpha: ["0-9"]
  gamma: ["10-63"]
`)
	d.want(0, []string{"init", "--from", path})
	// More than half of the buckets are in the target.
	d.want(0, []string{"map", "show"}, `gamma: ["10-63"]`, "datacenter: cloud}")
}

func TestInitRefusesWrongFlags(t *testing.T) {
	d := newDesktop(t)
	base := []string{"init", "--buckets", "64", "--shard", "alpha=legacy"}
	with := func(args ...string) []string { return append(slices.Clone(base), args...) }
	second := d.write("second.yaml", "version: 2\nbuckets: 1\ndefault: {mode: pinned, datacenter: legacy}\ndatacenters: [legacy]\n")
	for _, args := range [][]string{
		{"init"}, base,
		{"init", "--from", d.path("none.yaml")}, {"init", "--from", second}, {"init", "--from", second, "--buckets", "3"},
		with("--home", "alpha=0-63"),
		with("--home", "alpha=0-63", "--source", "legacy"),
		with("--home", "alpha=0-63", "--source", "legacy", "--target", "legacy"),
		with("--home", "alpha=0-63", "--source", "legacy", "--target", "cloud", "--default", "legacy"),
		with("--home", "alpha=0-64", "--default", "legacy"),
		with("--home", "alpha=0-9", "--home", "alpha=9", "--default", "legacy"),
		with("--home", "beta=0-9", "--default", "legacy"),
		with("--home", "alpha", "--default", "legacy"),
		with("--home", "alpha=0-9", "--even", "alpha", "--default", "legacy"),
		with("--even", "alpha,alpha", "--default", "legacy"),
		with("--shard", "alpha=cloud", "--even", "alpha", "--default", "legacy"),
		with("--shard", "beta=legacy", "--even", "alpha", "--default", "legacy"), // no such server
		with("--shard", "gamma=legacy", "--even", "alpha", "--default", "legacy"),
		{"init", "--buckets", "1048577", "--shard", "alpha=legacy", "--even", "alpha", "--default", "legacy"},
		with("--even", "alpha", "--default", "legacy", "extra"),
	} {
		d.unchanged(2, args)
	}
}

// applicationMayWrite says whether the application's own account may insert a
// user of a bucket on a server.
func (d *desktop) applicationMayWrite(m *testservers.MariaDB, user string) error {
	_, err := d.open(m, testservers.AccountApp).ExecContext(d.t.Context(),
		fmt.Sprintf("REPLACE INTO steps (user_id, day) VALUES ('%s', '2026-11-21')", user))
	return err
}
