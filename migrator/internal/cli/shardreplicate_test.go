package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"drover/migrator/internal/replicate"
	"drover/tools/testservers"
)

func TestShardReplicateMakesAReplicaOfAnEmptyServerAndThenAdoptsIt(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	if err := w.from.Exec(t.Context(), "CREATE TABLE app.doc (id INT PRIMARY KEY, bucket INT)", "INSERT INTO app.doc VALUES (1, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := w.to.Exec(t.Context(), "STOP SLAVE", "RESET SLAVE ALL", "DROP DATABASE IF EXISTS app", "RESET MASTER", "SET GLOBAL gtid_slave_pos=''"); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := w.run("shard", "replicate", "alpha", "--to", "legacy"); code != exitRefused {
		t.Errorf("to where it lives: exit %d: %s", code, errOut)
	}
	if code, out, errOut := w.run("shard", "replicate", "alpha", "--to", "cloud", "--dry-run"); code != 0 || !strings.Contains(out, "nothing was changed") {
		t.Errorf("--dry-run: exit %d: %s%s", code, out, errOut)
	}
	for _, adopted := range []bool{false, true} {
		code, out, errOut := w.run("shard", "replicate", "alpha", "--to", "cloud", "-o", "json")
		if code != 0 {
			t.Fatalf("exit %d: %s", code, errOut)
		}
		var r replicate.Result
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.State != replicate.Done || r.Adopted != adopted || r.Compared == 0 {
			t.Errorf("it printed %s: %v", out, err)
		}
		if !strings.Contains(errOut, `"state":"proving"`) {
			t.Errorf("it told nothing of its progress: %s", errOut)
		}
	}
	w.ready() // for the promotion
	db, err := w.to.Open(testservers.AccountRoot, "app")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "SET STATEMENT sql_log_bin=0 FOR DELETE FROM doc"); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := w.run("shard", "replicate", "alpha", "--to", "cloud"); code != exitFailed || !strings.Contains(out, "missing  app.doc  1") {
		t.Errorf("a row that is missing: exit %d: %s", code, out)
	}
}
