package cli

import (
	"strings"
	"testing"

	"drover/migrator/internal/move"
)

func TestVerifySaysEqualDiffersOrThatItCannotTellAndRepairsOnTheOperatorsWord(t *testing.T) {
	d := ready(t)
	d.exec(d.alpha, "INSERT INTO profile (user_id, name) SELECT CONCAT('u', seq), 'somebody' FROM seq_1_to_500")
	var moved moveResult
	d.reads(&moved, "bucket", "move", "0-9", "--to", "gamma")
	id := string(moved.Move)
	d.want(0, []string{"verify", id}, "equal", "gamma, their home")
	d.want(0, []string{"verify", "--bucket", "3-5"}, "equal")
	d.want(2, []string{"verify", "--bucket", "40"}, "could not tell")
	d.want(2, []string{"verify"}, "give a MOVE")
	d.exec(d.alpha, "UPDATE profile SET name = 'Somebody' WHERE CRC32(user_id) % 64 = 4 LIMIT 1")
	var c move.Comparison
	r := d.run("verify", id, "-o", "json")
	if r.code != 1 || !strings.Contains(r.out, `"kind": "different"`) || !strings.Contains(r.out, `"outcome": "differs"`) {
		t.Fatalf("exit code %d, want 1:\n%s%s", r.code, r.out, r.err)
	}
	d.want(1, []string{"verify", id}, "profile", "different", "--repair")
	d.want(0, []string{"verify", "--bucket", "5"}, "equal")
	d.want(3, []string{"verify", id, "--repair", "--yes", "m-other"}, "is not the move's id")
	d.want(3, []string{"verify", id, "--repair", "-o", "json"}, "--yes")
	d.want(1, []string{"verify", id})
	d.want(0, []string{"verify", id, "--repair", "--yes", id, "--why", "spoilt"}, "would write 1 row(s) on alpha", "compared again", "equal")
	d.reads(&c, "verify", id)
	if c.Outcome != move.Equal || len(c.Differ) != 0 {
		t.Errorf("after the repair: %+v", c)
	}
	d.want(0, []string{"bucket", "finish", id})
	d.want(2, []string{"verify", id}, "could not tell")
}

func TestFinishIsRefusedForReadersAndForcedWithAReason(t *testing.T) {
	d := ready(t)
	d.exec(d.alpha, "INSERT INTO profile (user_id, name) SELECT CONCAT('u', seq), 'somebody' FROM seq_1_to_100")
	var moved moveResult
	d.reads(&moved, "bucket", "move", "0-9", "--to", "gamma")
	reader, err := d.open(d.alpha, "app").BeginTx(t.Context(), nil)
	must(t, err)
	defer func() { _ = reader.Rollback() }()
	var n int
	must(t, reader.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM profile").Scan(&n))
	d.want(3, []string{"bucket", "finish", string(moved.Move)}, "KILL", "--force")
	d.want(0, []string{"bucket", "finish", string(moved.Move), "--force", "a report that may end as it likes"}, "done")
	if left := d.scan(d.alpha, "SELECT COUNT(*) FROM profile WHERE CRC32(user_id) % 64 < 10"); left != "0" {
		t.Errorf("%s rows are left", left)
	}
}
