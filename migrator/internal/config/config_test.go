package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/shardlib"
)

const examples = "../../../configs"

func TestTheExampleHasEveryKeyAndTheDefaults(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(examples, "migrator.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	local := strings.NewReplacer("/etc/drover/", dir+"/").Replace(string(text))
	write(t, filepath.Join(dir, "migrator.yaml"), local)
	write(t, filepath.Join(dir, "password"), "secret\n")
	write(t, filepath.Join(dir, "replica-password"), "other\r\nmore\n")
	c, err := Load(filepath.Join(dir, "migrator.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(); c.Move != want.Move || c.Log != want.Log {
		t.Errorf("the example's move and log are %+v %+v, the defaults %+v %+v", c.Move, c.Log, want.Move, want.Log)
	}
	if c.Account.Password != "secret" || c.Replication.Password != "other" {
		t.Errorf("passwords %q and %q, want secret and other", c.Account.Password, c.Replication.Password)
	}
	if c.Shards != filepath.Join(dir, "shards.yaml") {
		t.Errorf("shards %s, want it beside the file", c.Shards)
	}
	if len(c.Tables) != 3 {
		t.Errorf("%d tables, want 3", len(c.Tables))
	}
}

func TestTheExampleShardListLoads(t *testing.T) {
	list, err := shardlib.LoadShardList(filepath.Join(examples, "shards.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := list.Address("beta", "cloud"); !ok || a != "10.2.0.12:3306" {
		t.Errorf("beta in cloud is %q", a)
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.yaml")
	write(t, path, "map: {store: postgres}\ntables: [{name: a}, {name: a, user_column: u}]\nmove: {freeze_lock_max: 0s}\n")
	_, err := Load(path)
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{"map.store", "map.dir", "shards", "account.user", "tables[0]", "tables[1].name", "move.freeze_lock_max"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%v: does not name %s", err, key)
		}
	}
}

func TestAnUnknownKeyIsAnErrorWithItsLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.yaml")
	write(t, path, "map: {store: file}\nshard: x\n")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "[2:") {
		t.Errorf("error %v, want one of line 2", err)
	}
}

func TestWeightsAreUsersABucket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.yaml")
	write(t, path, "\"0-9\": 200\n\"12\": 7\n")
	weight, err := LoadWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	for b, want := range map[bucketmap.BucketID]uint64{0: 200, 9: 200, 10: 0, 12: 7} {
		if got := weight(b); got != want {
			t.Errorf("bucket %d: %d users, want %d", b, got, want)
		}
	}
	if weight, err := LoadWeights(""); err != nil || weight != nil {
		t.Errorf("no file: %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
