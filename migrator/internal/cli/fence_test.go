package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

func TestFenceIsInstalledEverywhereAndRemoved(t *testing.T) {
	d := ready(t)
	must(t, d.applicationMayWrite(d.gamma, "u1"))
	d.unchanged(0, []string{"fence", "install", "--dry-run"}, "CREATE OR REPLACE TRIGGER `drover_fence_steps_insert`", "on gamma@cloud")
	d.want(0, []string{"fence", "status"}, "not fenced")
	d.want(0, []string{"fence", "install"}, "fenced")
	var results []fenceResult
	d.reads(&results, "fence", "install") // again is no harm
	if len(results) != 4 {
		t.Fatalf("got %+v", results)
	}
	for _, r := range results {
		if r.Triggers != 3 || r.Error != "" {
			t.Errorf("got %+v", r)
		}
	}
	must(t, d.applicationMayWrite(d.alpha, "u1"))
	bucket := bucketmap.Bucket([]byte("u1"), 64)
	if err := fence.Refused(bucket, d.applicationMayWrite(d.gamma, "u1")); !errors.Is(err, fence.ErrRefused) {
		t.Fatalf("gamma let a bucket be written that lives on alpha: %v", err)
	}
	d.unchanged(0, []string{"fence", "remove", "--table", "steps", "--dry-run"}, "DROP TRIGGER IF EXISTS `drover_fence_steps_delete`")
	d.want(0, []string{"fence", "remove", "--table", "steps", "--confirm", "unfence"}, "not fenced")
	must(t, d.applicationMayWrite(d.gamma, "u1"))
	results = nil
	d.reads(&results, "fence", "status")
	for _, r := range results {
		if want := map[string]int{"steps": 0, "profile": 3}[r.Table]; r.Triggers != want {
			t.Errorf("got %+v, want %d triggers", r, want)
		}
	}
	d.want(2, []string{"fence", "install", "--table", "other"}, "no such table")
	d.want(2, []string{"fence", "install", "--patience", "0s"})
}

func TestFenceIsNotInstalledWhereItWouldRefuseEveryWrite(t *testing.T) {
	for _, c := range []struct {
		server func(*desktop) *testservers.MariaDB
		change string
	}{
		{func(d *desktop) *testservers.MariaDB { return d.alpha }, "DELETE FROM drover_fence WHERE bucket = 7"},
		{func(d *desktop) *testservers.MariaDB { return d.gamma }, "DELETE FROM drover_fence WHERE bucket = -1"},
	} {
		d := ready(t)
		d.exec(c.server(d), c.change)
		d.unchanged(3, []string{"fence", "install"}, "run migrator init")
	}
}

func TestFenceInstallGivesUpOnABusyTableAndGoesOnPastIt(t *testing.T) {
	d := ready(t)
	tx, err := d.open(d.alpha, testservers.AccountApp).BeginTx(t.Context(), nil)
	must(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	_, err = tx.ExecContext(t.Context(), "INSERT INTO steps (user_id, day) VALUES ('u1', '2026-11-21')")
	must(t, err)
	d.want(1, []string{"fence", "install", "--patience", "300ms"}, "transactions have the table", "failed")
	d.want(0, []string{"fence", "status"}, "not fenced")
	if n := d.scan(d.gamma, "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()"); n != "6" {
		t.Fatalf("%s triggers on gamma, want all 6: its tables are not busy", n)
	}
	must(t, tx.Rollback())
	d.want(0, []string{"fence", "install"}, "fenced")
}

func TestUsersDoNotWaitBehindAFenceThatWaits(t *testing.T) {
	d := ready(t)
	app := d.open(d.alpha, testservers.AccountApp)
	tx, err := app.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = tx.ExecContext(t.Context(), "INSERT INTO steps (user_id, day) VALUES ('long', '2026-11-21')")
	must(t, err)

	installed := make(chan ran, 1)
	go func() { installed <- d.run("fence", "install", "--patience", "1m") }()
	waiting := fmt.Sprintf("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '%s' AND STATE LIKE '%%metadata lock%%' AND INFO LIKE 'CREATE%%'", d.database)
	deadline := time.Now().Add(20 * time.Second)
	for tries := 0; tries < 3; { // three times seen waiting
		if time.Now().After(deadline) {
			t.Fatal("the installation never waited")
		}
		if d.scan(d.alpha, waiting) == "0" {
			continue
		}
		tries++
		// The write comes in behind the installation, and must get past it
		// while the long transaction is still open.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := app.ExecContext(ctx, "REPLACE INTO steps (user_id, day) VALUES ('short', '2026-11-21')")
		cancel()
		must(t, err)
	}
	must(t, tx.Commit())
	if r := <-installed; r.code != 0 {
		t.Fatalf("the installation failed: %s%s", r.out, r.err)
	}
}

func TestFenceRemoveNeedsItsWordAndNothingUnderWay(t *testing.T) {
	d := ready(t)
	d.want(0, []string{"fence", "install"}, "fenced")
	d.unchanged(3, []string{"fence", "remove", "--confirm", "yes"}, `the word is "unfence"`)
	d.unchanged(3, []string{"fence", "remove", "--confirm", "Unfence"})
	var out, errOut bytes.Buffer
	code := Run(t.Context(), Environment{Args: []string{"fence", "remove"}, In: strings.NewReader("no\n"), Out: &out, Err: &errOut, Config: d.path("migrator.yaml")})
	if code != 3 || !strings.Contains(errOut.String(), "Write") {
		t.Fatalf("got %d, %s", code, errOut.String())
	}
	d.exec(d.alpha, "INSERT INTO drover_move (id, kind, state, open, run, detail, who, why, created, updated) "+
		"VALUES ('m1', 'move', 'soaking', 1, 1, '{}', 'w', '', NOW(), NOW())")
	d.unchanged(3, []string{"fence", "remove", "--confirm", "unfence"}, "m1 is soaking")
	d.exec(d.alpha, "DELETE FROM drover_move")
	code = Run(t.Context(), Environment{Args: []string{"fence", "remove"}, In: strings.NewReader("unfence\n"), Out: &out, Err: &errOut, Config: d.path("migrator.yaml")})
	if code != 0 {
		t.Fatalf("got %d, %s", code, errOut.String())
	}
	d.want(0, []string{"fence", "status"}, "not fenced")
}

func TestFenceVerifyProvesTheFenceAndFindsItsHoles(t *testing.T) {
	d := ready(t)
	d.exec(d.gamma, "SET GLOBAL local_infile = 1")
	d.exec(d.alpha, "SET GLOBAL local_infile = 1")
	d.want(2, []string{"fence", "verify"}, "--as")
	d.want(2, []string{"fence", "verify", "--as", testservers.AccountDrover}, "the migrator's own account")
	word := d.write("word", testservers.Password+"\n")
	verify := []string{"fence", "verify", "--as", testservers.AccountApp, "--password-file", word}
	d.unchanged(3, verify, "NOT PROVED", "[P]")
	d.want(0, []string{"fence", "install"}, "fenced")
	d.unchanged(0, verify, "proved", "app can get around the fence", "drover_fence")
	var results []proofResult
	d.reads(&results, verify...)
	if len(results) != 8 {
		t.Fatalf("%d results", len(results))
	}
	for _, r := range results {
		if r.Tried < 80 || len(r.Wrong) != 0 || r.Error != "" {
			t.Errorf("got %s %s %s: %d tried, %+v, %s", r.Shard, r.Account, r.Table, r.Tried, r.Wrong, r.Error)
		}
	}
	d.exec(d.gamma, "DROP TRIGGER drover_fence_profile_delete")
	d.unchanged(3, verify, "NOT PROVED", "delete join", "1 of 8")
	d.unchanged(3, []string{"fence", "verify", "--as", "nobody", "--password-file", word}, "Access denied")
}

func TestFenceOfTheOlderSchemaIsBroughtToThisOne(t *testing.T) {
	d := ready(t)
	d.want(0, []string{"fence", "install"}, "fenced")
	d.exec(d.alpha, "ALTER TABLE drover_fence COMMENT = 'drover fence, schema 1'",
		"CREATE OR REPLACE TRIGGER drover_fence_steps_insert BEFORE INSERT ON steps FOR EACH ROW BEGIN END")
	d.want(0, []string{"fence", "status"}, "fenced by schema 1")
	d.want(0, []string{"fence", "install"}, "fenced")
	if got := d.scan(d.alpha, "SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'drover_fence'"); got != fmt.Sprintf("drover fence, schema %d", fence.SchemaVersion) {
		t.Fatalf("got %q", got)
	}
	d.exec(d.alpha, "ALTER TABLE drover_fence COMMENT = 'drover fence, schema 9'")
	d.unchanged(3, []string{"fence", "install"}, "newer version of Drover")
}
