package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
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
	write(t, filepath.Join(dir, "app-password"), "third\n")
	c, err := Load(filepath.Join(dir, "migrator.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(); c.Map.MaxChange != want.Map.MaxChange || c.Move != want.Move || c.Log != want.Log {
		t.Errorf("the example's move and log are %+v %+v, the defaults %+v %+v", c.Move, c.Log, want.Move, want.Log)
	}
	if c.Account.Password != "secret" || c.Replication.Password != "other" || c.Application.Password != "third" {
		t.Errorf("passwords %q, %q and %q, want secret, other and third", c.Account.Password, c.Replication.Password, c.Application.Password)
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
	for text, words := range map[string]string{
		"":                                "it is empty",
		"- 1":                             "line 1: want ranges",
		"0-9: 200\n5: 1":                  "line 2: bucket 5 stands further up",
		"0-9: 200\n9-5: 1":                "line 2: \"9-5\"",
		"0-9: 200\n\n[1]: 1":              "line 3: \"\": want buckets",
		"0-9: many":                       "line 1: 0-9 has \"many\" users",
		"0-9: -1":                         "\"-1\" users",
		"0-9: [1]":                        "want a number",
		"0-9: 1\n---\n10: 1":              "more than one document",
		strings.Repeat("#", 32<<20) + "#": "longer than",
	} {
		write(t, path, text)
		if _, err := LoadWeights(path); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%.20q: %v; want an error with %q", text, err, words)
		}
	}
}

// The readers of YAML that make a map take minutes for a million buckets: what a
// key costs them grows with the keys.
func TestABucketOfManyWeightsCostsNoMoreThanOneOfFew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.yaml")
	cost := func(buckets int) uint64 {
		var text strings.Builder
		for b := range buckets {
			fmt.Fprintf(&text, "\"%d\": %d\n", b, b%977)
		}
		write(t, path, text.String())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		weight, err := LoadWeights(path)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		if last := buckets - 1; weight(bucketmap.BucketID(last)) != uint64(last%977) {
			t.Errorf("the last bucket has %d users", weight(bucketmap.BucketID(last)))
		}
		return (after.TotalAlloc - before.TotalAlloc) / uint64(buckets)
	}
	if few, many := cost(2_000), cost(64_000); many > 2*few {
		t.Errorf("%d bytes a bucket, and %d with 32 times as many", few, many)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// example is an example's file in a folder of its own.
func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, name))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, name), strings.ReplaceAll(string(text), "/etc/drover/", ""))
	write(t, filepath.Join(dir, "password"), "secret\n")
	return filepath.Join(dir, name)
}

func TestTheExamplesOfOtherStoresLoad(t *testing.T) {
	path := example(t, "migrator.consul.yaml")
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	beside := filepath.Dir(path)
	if c.Map.Store != StoreConsul || c.Map.Consul.TokenFile != filepath.Join(beside, "consul-token") || c.Map.Keys[0] != filepath.Join(beside, "map.pub") ||
		c.Map.Access().TokenFile != filepath.Join(beside, "admin-token") || c.Map.MaxChange != DefaultMaxChange {
		t.Errorf("got %+v", c.Map)
	}
	if c, err = Load(example(t, "migrator.push.yaml")); err != nil {
		t.Fatal(err)
	}
	if c.Map.Store != StorePush || len(c.Map.Push.Proxies) != 2 || c.Map.Access().TLS.CA == "" {
		t.Errorf("got %+v", c.Map)
	}
}

func TestKeysOfAnotherStoreAreProblems(t *testing.T) {
	for text, keys := range map[string][]string{
		"{store: file, dir: m, consul: {prefix: p}, push: {proxies: [a]}, keys: [k], max_change: 2}": {
			"map.consul", "map.push", "map.keys", "map.max_change"},
		"{store: push, consul: {address: x}, push: {tls: {cert: c}}, canary: {tls: {key: k}}, max_change: .nan}": {
			"map.dir", "map.consul", "map.push.proxies", "map.push.tls", "map.canary.tls", "map.max_change"},
		"{store: consul, dir: m, consul: {tls: {key: k}}, push: {token_file: t}, max_change: -0.1}": {
			"map.dir", "map.consul.tls", "map.push", "map.max_change"},
	} {
		path := filepath.Join(t.TempDir(), "bad.yaml")
		write(t, path, "map: "+text+"\nshards: s\naccount: {user: u}\ntables: [{name: a, user_column: u}]\n")
		_, err := Load(path)
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		for _, key := range keys {
			if !strings.Contains(err.Error(), "\n  "+key+": ") {
				t.Errorf("%v: does not name %s", err, key)
			}
		}
		if n := strings.Count(err.Error(), "\n  map."); n != len(keys) {
			t.Errorf("%v: %d problems, want %d", err, n, len(keys))
		}
	}
}

func TestFilesOfTheMapAreReadWithCare(t *testing.T) {
	dir := t.TempDir()
	path := func(name, text string) string {
		write(t, filepath.Join(dir, name), text)
		return filepath.Join(dir, name)
	}
	if token, err := (Access{TokenFile: path("token", " secret \r\nmore\n")}).Token(); err != nil || token != "secret" {
		t.Errorf("token %q, %v", token, err)
	}
	long := path("long", strings.Repeat("x", secretFileMax+1))
	for what, err := range map[string]error{
		"empty token": second(Access{TokenFile: path("empty", "\nsecret\n")}.Token()),
		"long token":  second(Access{TokenFile: long}.Token()),
		"no token":    second(Access{TokenFile: filepath.Join(dir, "none")}.Token()),
		"sign key":    second((&Map{SignKeyFile: long}).SignKey()),
		"wrong key":   second((&Map{SignKeyFile: path("wrong", "hidden-secret")}).SignKey()),
		"public keys": second(LoadPublicKeys([]string{path("wrong.pub", "hidden-secret"), long})),
		"authorities": second(TLS{CA: path("ca", "hidden-secret")}.Config()),
		"certificate": second(TLS{Cert: long, Key: long}.Config()),
	} {
		if err == nil || strings.Contains(err.Error(), "hidden-secret") {
			t.Errorf("%s: error %v, want one that shows nothing of the file", what, err)
		}
	}
	if c, err := (TLS{}).Config(); c != nil || err != nil {
		t.Errorf("no TLS: %v, %v", c, err)
	}
}

func second[T any](_ T, err error) error { return err }
