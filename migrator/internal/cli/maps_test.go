package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/bucketmap/yaml"
)

// edited is the map in force in a file, with texts replaced.
func (d *desktop) edited(name string, replace ...string) string {
	d.t.Helper()
	text := d.want(0, []string{"map", "show"}).out
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			d.t.Fatalf("%q is not in\n%s", replace[i], text)
		}
	}
	return d.write(name, strings.NewReplacer(replace...).Replace(text))
}

func TestMapIsShownComparedAndPushed(t *testing.T) {
	d := ready(t)
	next := d.edited("next.yaml", "version: 1\n", "version: 2\nwhitelist: {cloud: [emp-1]}\n")
	d.want(0, []string{"map", "diff", next}, "+ whitelist emp-1: cloud")
	d.unchanged(0, []string{"map", "push", next, "--dry-run"}, "nothing was changed", "+ whitelist emp-1")
	d.want(0, []string{"map", "push", next, "--why", "for emp-1"}, "map version 2 is published")
	d.want(0, []string{"map", "diff"}, "from version 1 to 2", "+ whitelist emp-1")
	d.want(0, []string{"map", "diff", "2", "1"}, "- whitelist emp-1")
	d.want(0, []string{"map", "diff", "1"}, "from version 1 to 2")
	d.want(0, []string{"map", "diff", "2", next}, "no difference")
	d.want(0, []string{"map", "history", "--limit", "1"}, "for emp-1", "1 older")
	d.want(2, []string{"map", "show", "--version", "9"}, "map history")
	if text := d.want(0, []string{"map", "show", "--version", "1"}).out; strings.Contains(text, "emp-1") {
		t.Fatal(text)
	}
	snap, err := yaml.Decode([]byte(d.want(0, []string{"map", "show", "-o", "json"}).out))
	must(t, err)
	if snap.Version() != 2 || snap.WhitelistLen() != 1 {
		t.Fatal(snap.Version())
	}
	var history []historyLine
	d.reads(&history, "map", "history")
	if len(history) != 2 || history[0].Who != "tester" || history[0].Why != "for emp-1" {
		t.Fatalf("got %+v", history)
	}
	d.unchanged(0, []string{"map", "push", d.edited("same.yaml", "version: 2", "version: 3")}, "no difference")
}

func TestPushNeverOverwritesAVersionNotSeen(t *testing.T) {
	d := ready(t)
	mine := d.edited("mine.yaml", "version: 1\n", "version: 2\nwhitelist: {cloud: [mine]}\n")
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "theirs"})
	d.unchanged(3, []string{"map", "push", mine}, "must be 3, and is 2")
	d.unchanged(3, []string{"map", "push", d.edited("stale.yaml")}, "must be 3")
	d.unchanged(3, []string{"map", "push", d.edited("other.yaml", "version: 2", "version: 3", "buckets: 64", "buckets: 65")}, "never changes")
	d.unchanged(2, []string{"map", "push", d.write("broken.yaml", "version: 3\n")}, "buckets")
	d.unchanged(2, []string{"map", "push", d.path("none.yaml")})
}

func TestPushRefusesAHomeThatTheFenceDoesNotKnow(t *testing.T) {
	d := ready(t)
	next := d.edited("next.yaml", "version: 1", "version: 2", `alpha: ["0-63"]`, "alpha: [\"0-62\"]\n  gamma: [\"63\"]")
	d.unchanged(3, []string{"map", "push", next}, "home-active on gamma", "--force")
	d.unchanged(3, []string{"map", "push", next, "--dry-run"}, "home-active on gamma")
	d.want(0, []string{"map", "push", next, "--force"}, "--force-homes: the map does not follow", "map version 2")
	// Back to where the fence is.
	d.want(0, []string{"map", "rollback", "1"}, "~ home 63: gamma -> alpha", "map version 3")
	d.want(0, []string{"check"})
}

func TestRollbackPublishesOldContentAsANewVersion(t *testing.T) {
	d := ready(t)
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "emp-1"})
	d.unchanged(0, []string{"map", "rollback", "1", "--dry-run"}, "- whitelist emp-1")
	d.want(0, []string{"map", "rollback", "1"}, "map version 3 is published")
	d.want(0, []string{"map", "history"}, "go back to version 1")
	d.want(2, []string{"map", "rollback", "7"})
	d.want(2, []string{"map", "rollback", "x"})
}

func TestRollbackNeverLowersEpochsAndKeepsHolds(t *testing.T) {
	d := ready(t)
	d.exec(d.alpha, "UPDATE drover_fence SET epoch = 3 WHERE bucket = 7")
	next := d.edited("next.yaml", "version: 1", "version: 2\nepochs: {\"7\": 3}\nwhitelist: {cloud: [emp-1]}\n"+
		"holds:\n  - {buckets: \"8\", move: m-1, until: 2126-11-21T10:00:00.000Z}")
	d.want(0, []string{"map", "push", next}, "map version 2")
	d.want(0, []string{"map", "rollback", "1"}, "- whitelist emp-1", "map version 3")
	d.want(0, []string{"map", "show"}, `epochs: {"7": 3}`, "move: m-1")
	d.unchanged(3, []string{"map", "push", d.edited("lower.yaml", "version: 3", "version: 4", "epochs: {\"7\": 3}\n", "")}, "home-epoch on alpha")
}

func TestPushRefusesAnEpochThatTheFenceDoesNotHave(t *testing.T) {
	d := ready(t)
	d.unchanged(3, []string{"map", "push", d.edited("next.yaml", "version: 1", "version: 2\nepochs: {\"7\": 3}")}, "home-epoch on alpha")
}

func TestAMapPublishedMeanwhileIsAConflict(t *testing.T) {
	d := ready(t)
	store, err := file.Open(d.path("map"), file.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	a := &app{env: Environment{Who: "tester"}, out: os.Stdout, errOut: os.Stderr, output: "text", configPath: d.path("migrator.yaml")}
	must(t, a.open())
	t.Cleanup(func() { must(t, a.close()) })
	current, err := a.store.Load(t.Context())
	must(t, err)
	draft := current.Edit()
	draft.Whitelist["mine"] = "cloud"
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "theirs"})
	err = a.publishMap(t.Context(), current, draft, pushFlags{}, "test")
	wantRefused(t, err, bucketmap.ErrConflict)
	if _, err := os.Stat(filepath.Join(d.dir, "map", "map.yaml")); err != nil {
		t.Fatal(err)
	}
	d.want(0, []string{"whitelist", "list"}, "theirs")
}
