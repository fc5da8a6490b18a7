package cli

import (
	"errors"
	"strings"
	"testing"

	"drover/migrator/internal/preflight"
)

func wantRefused(t *testing.T, err error, also ...error) {
	t.Helper()
	for _, want := range append(also, errRefused) {
		if !errors.Is(err, want) {
			t.Fatalf("got %v, want %v in it", err, want)
		}
	}
}

func TestCheckSaysByItsExitCodeWhetherAnythingRefuses(t *testing.T) {
	d := ready(t)
	d.unchanged(0, []string{"check"}, "binlog-format", "durable-commits", "warning", "ok")
	d.unchanged(0, []string{"check", "--move", "5,7-9", "--to", "gamma"}, "target-rows")
	d.want(2, []string{"check", "--move", "5"})
	d.want(2, []string{"check", "--move", "x", "--to", "gamma"})
	d.want(3, []string{"check", "--move", "5", "--to", "alpha"})
	d.exec(d.gamma, "INSERT INTO steps (user_id, day) VALUES ('u1', '2026-11-21')", "ALTER TABLE profile ADD UNIQUE KEY (name)")
	d.unchanged(3, []string{"check"}, "unique-keys", "checks refuse")
	d.unchanged(3, []string{"check", "--move", "0-63", "--to", "gamma"}, "target-rows", "same-schema")
	r := d.want(3, []string{"check", "-o", "json"})
	if !strings.Contains(r.out, `"verdict": "error"`) || !strings.Contains(r.err, `"error"`) {
		t.Fatal(r)
	}
}

func TestCheckNamesAServerThatDoesNotAnswer(t *testing.T) {
	d := ready(t)
	d.write("shards.yaml", "database: "+d.database+"\nshards:\n  alpha: {legacy: \""+d.alpha.Addr()+"\"}\n  gamma: {cloud: \"127.0.0.1:1\"}\n")
	d.want(3, []string{"check"}, preflight.ServerReachable, "connection refused")
}

func TestAMoveThatAPreflightRefusesLeavesNothingBehind(t *testing.T) {
	d := ready(t)
	d.exec(d.gamma, "ALTER TABLE steps ADD COLUMN extra INT")
	d.unchanged(3, []string{"bucket", "move", "5", "--to", "gamma"}, "same-schema on gamma", "ALTER the table", "warning: durable-commits")
	d.unchanged(3, []string{"bucket", "move", "5", "--to", "gamma", "--dry-run"}, "same-schema on gamma")
	d.exec(d.gamma, "ALTER TABLE steps DROP COLUMN extra")
	d.unchanged(0, []string{"bucket", "move", "5", "--to", "gamma", "--dry-run"}, "would move buckets 5")
}

func TestAfterAMoveTheMapFollowsTheDatabases(t *testing.T) {
	d := ready(t)
	d.want(0, []string{"fence", "install"})
	must(t, d.applicationMayWrite(d.alpha, "u1"))
	d.want(0, []string{"bucket", "move", "0-63", "--to", "gamma"}, "soaking")
	must(t, d.applicationMayWrite(d.gamma, "u1"))
	d.want(0, []string{"check"})
	d.unchanged(3, []string{"map", "rollback", "1"}, "home-active on alpha")
	d.unchanged(3, []string{"check", "--move", "5", "--to", "alpha"}, "buckets-free", "bucket finish")
	d.unchanged(3, initArgs, "it differs")
}
