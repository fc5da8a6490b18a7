package move

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// tricky is a table whose values differ in ways that comparisons overlook.
const tricky = `CREATE TABLE tricky (bucket INT UNSIGNED NOT NULL, id INT NOT NULL, part VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL,
	text VARCHAR(50) COLLATE utf8mb4_general_ci, note VARCHAR(50), bits BIT(9), doc JSON, d DOUBLE, f FLOAT, e ENUM('a','','c'), bin VARBINARY(8),
	t DATETIME(6), n DECIMAL(30,10), latin VARCHAR(20) CHARACTER SET latin1, wide VARCHAR(20) CHARACTER SET ucs2, place POINT, u UUID,
	PRIMARY KEY (id, part), KEY (bucket))`

// soakingWorld is a world with the table tricky, and buckets 7 and 8 moved to
// gamma and soaking. Rows 1 to n are in bucket 7, one in bucket 8.
func soakingWorld(t *testing.T, n int) (*world, *Move) {
	t.Helper()
	w := newWorld(t)
	for _, m := range []*testservers.MariaDB{w.alpha, w.gamma} {
		w.exec(m, tricky)
	}
	w.tables = append(slices.Clone(worldTables), fence.Sharded{Name: "tricky", BucketColumn: "bucket"})
	w.exec(w.alpha, fmt.Sprintf(`INSERT INTO tricky SELECT IF(seq = %d, 8, 7), seq, CONCAT('Part', seq), 'Text', '', b'101', '{"a": 1}', 0, 0.5, 'a', X'00FF',
		'2024-02-29 00:00:00', 1.5, 'é', '€', POINT(1, 2), '123e4567-e89b-12d3-a456-426655440000' FROM seq_1_to_%d`, n+1, n+1))
	l := w.newLedger(userIn(7, 1), userIn(8, 2))
	for i, user := range l.users {
		must(t, l.write(t.Context(), user, uint64(i), 0))
	}
	e := w.engine(nil)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7, 8}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(t.Context(), m))
	return w, m
}

func TestVerifyFindsEveryKindOfDifference(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 3000)
	e := w.engine(nil)
	c, err := e.Verify(t.Context(), m, nil)
	must(t, err)
	if c.Outcome != Equal || c.Rows != 3001+6 || c.Home != "gamma" || c.Other != "alpha" {
		t.Fatalf("before anything was spoilt: %+v", c)
	}
	// On the old home, which the reverse tail keeps up to date.
	spoil := map[string]string{
		"missing":  "DELETE FROM tricky WHERE id = 100",
		"extra":    "INSERT INTO tricky (bucket, id, part) VALUES (7, 99999, 'Last')",
		"first":    "INSERT INTO tricky (bucket, id, part) VALUES (7, -1, 'First')",
		"case":     "UPDATE tricky SET text = 'tEXT' WHERE id = 101",
		"blank":    "UPDATE tricky SET text = 'Text ' WHERE id = 102",
		"null":     "UPDATE tricky SET note = NULL WHERE id = 103",
		"bit":      "UPDATE tricky SET bits = b'100000101' WHERE id = 104",
		"json":     `UPDATE tricky SET doc = '{"a":1}' WHERE id = 105`,
		"bucket":   "UPDATE tricky SET bucket = 8 WHERE id = 106",
		"away":     "UPDATE tricky SET bucket = 20 WHERE id = 107",
		"key case": "UPDATE tricky SET part = 'pART108' WHERE id = 108",
		"enum":     "UPDATE IGNORE tricky SET e = '' WHERE id = 109",
		"binary":   "UPDATE tricky SET bin = X'00FF00' WHERE id = 110",
		"micro":    "UPDATE tricky SET t = '2024-02-29 00:00:00.000001' WHERE id = 111",
		"decimal":  "UPDATE tricky SET n = 1.5000000001 WHERE id = 112",
		"float":    "UPDATE tricky SET f = 0.50000006 WHERE id = 113",
		"latin":    "UPDATE tricky SET latin = 'è' WHERE id = 114",
		"wide":     "UPDATE tricky SET wide = 'E' WHERE id = 115",
		"place":    "UPDATE tricky SET place = POINT(2, 1) WHERE id = 116",
		"uuid":     "UPDATE tricky SET u = '123e4567-e89b-12d3-a456-426655440001' WHERE id = 117",
		// Two rows changed alike: what one XOR alone is blind to.
		"pair": "UPDATE tricky SET d = 1 WHERE id IN (118, 119)",
		"swap": "UPDATE tricky SET d = 120 - id WHERE id IN (120, 121)",
	}
	for _, statement := range spoil {
		w.exec(w.alpha, statement)
	}
	c, err = e.Verify(t.Context(), m, nil)
	must(t, err)
	found := map[string]Kind{}
	for _, d := range c.Differ {
		if d.Table != "tricky" {
			t.Errorf("a row of %s differs: %s", d.Table, d.Key)
		}
		found[d.Key] = d.Kind
	}
	want := map[string]Kind{`id="100" part="Part100"`: Missing, `id="99999" part="Last"`: Extra, `id="-1" part="First"`: Extra,
		`id="107" part="Part107"`: Missing, `id="108" part="Part108"`: Missing, `id="108" part="pART108"`: Extra}
	for id := 101; id <= 121; id++ {
		if id != 107 && id != 108 && id != 120 { // 120 - 120 is what it was
			want[fmt.Sprintf(`id="%d" part="Part%d"`, id, id)] = Different
		}
	}
	for key, kind := range want {
		if found[key] != kind {
			t.Errorf("%s: found as %q, want %q", key, found[key], kind)
		}
		delete(found, key)
	}
	if len(found) != 0 || c.Outcome != Differs {
		t.Errorf("outcome %s; differing though nobody touched them: %v", c.Outcome, found)
	}
}

func TestRepairMakesTheOldHomeLikeTheHomeAndNothingElse(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 300)
	for _, statement := range []string{
		"DELETE FROM tricky WHERE id IN (1, 2, 300)",
		"INSERT INTO tricky (bucket, id, part) VALUES (7, 99999, 'Last')",
		"UPDATE tricky SET text = 'spoilt' WHERE id BETWEEN 50 AND 290",
		"UPDATE tricky SET part = 'pART10' WHERE id = 10",
		"INSERT INTO tricky (bucket, id, part) VALUES (20, 20000, 'of another bucket')",
		"UPDATE profile SET name = NULL",
	} {
		w.exec(w.alpha, statement)
	}
	e := w.engine(nil)
	refused := errors.New("no")
	if _, err := e.Repair(t.Context(), m, "test", "why", func(*Comparison) error { return refused }); !errors.Is(err, refused) {
		t.Fatalf("error %v, want the refusal", err)
	}
	c, err := e.Verify(t.Context(), m, nil)
	must(t, err)
	if c.Outcome != Differs {
		t.Fatalf("a repair that nobody agreed to left %s", c.Outcome)
	}
	// Writes at the home go on while rows are repaired.
	l := w.newLedger(userIn(7, 11), userIn(8, 12))
	stop := l.run(2)
	defer stop()
	before := w.text(w.gamma, tableText)
	c, err = e.Repair(t.Context(), m, "test", "spoilt by hand", func(found *Comparison) error {
		if found.Other != "alpha" || len(found.Differ) < 240 {
			t.Errorf("asked to agree to %d rows on %s", len(found.Differ), found.Other)
		}
		return nil
	})
	must(t, err)
	stop()
	if c.Outcome != Equal {
		t.Fatalf("after the repair: %+v", c)
	}
	if after := w.text(w.gamma, tableText); after != before {
		t.Error("the repair changed the home")
	}
	if n := w.count(w.alpha, "SELECT COUNT(*) FROM tricky WHERE bucket = 20"); n != 1 {
		t.Errorf("%d rows of bucket 20, which is not the move's; want 1", n)
	}
	l.check()
	entries := w.notes(m)
	if !strings.Contains(entries, "rows on alpha by test: spoilt by hand") || !strings.Contains(entries, "repaired: 0 rows differ now") {
		t.Errorf("the journal has\n%s", entries)
	}
	must(t, e.Return(t.Context(), m))
	if here := w.text(w.alpha, tableText+" AND bucket IN (7, 8)"); here != before {
		t.Error("what came back is not what was there")
	}
}

const tableText = "SELECT MD5(GROUP_CONCAT(HEX(CONCAT_WS('|', bucket, id, part, COALESCE(text, 'NULL'))) ORDER BY id, part)) FROM tricky WHERE bucket <> 20"

// notes are the notes of a move's journal.
func (w *world) notes(m *Move) string {
	w.t.Helper()
	server, err := w.shards.Primary(w.t.Context(), m.Record.Home)
	must(w.t, err)
	entries, err := journal.Open(server).Entries(w.t.Context(), m.Record.Move)
	must(w.t, err)
	var notes []string
	for _, e := range entries {
		notes = append(notes, e.State+": "+e.Note)
	}
	return strings.Join(notes, "\n")
}

func TestRepairNeverTakesARowOfABucketThatLivesThere(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 5)
	// The same key in bucket 20, which is active on alpha.
	w.exec(w.alpha, "UPDATE tricky SET bucket = 20, text = 'somebody''s' WHERE id = 3")
	_, err := w.engine(nil).Repair(t.Context(), m, "test", "", func(*Comparison) error { return nil })
	if !errors.Is(err, ErrInTheWay) {
		t.Fatalf("error %v, want ErrInTheWay", err)
	}
	if n := w.count(w.alpha, "SELECT COUNT(*) FROM tricky WHERE bucket = 20 AND text = 'somebody''s'"); n != 1 {
		t.Error("the row of bucket 20 is gone")
	}
}

func TestVerifyBesideALiveMigratorWatchesItsTail(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 50)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	copied := *m
	record := *m.Record
	copied.Record = &record
	go func() { ended <- w.engine(nil).Soak(ctx, &copied) }()
	w.waitEvent(func(e Event) bool { return e.State == Soaking && e.Note == "" && !e.Entered })
	l := w.newLedger(userIn(7, 11), userIn(8, 12))
	stop := l.run(2)
	c, err := w.engine(nil).Verify(t.Context(), m, nil)
	must(t, err)
	if c.Outcome == Differs {
		t.Errorf("under writes: %+v", c)
	}
	stop()
	w.exec(w.alpha, "UPDATE tricky SET text = 'spoilt' WHERE id = 3")
	c, err = w.engine(nil).Verify(t.Context(), m, Buckets{7})
	must(t, err)
	if c.Outcome != Differs || len(c.Differ) != 1 {
		t.Errorf("a spoilt row: %+v", c)
	}
	if _, err := w.engine(nil).Repair(t.Context(), m, "test", "", func(*Comparison) error { return nil }); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("a repair beside a live migrator: %v, want ErrLocked", err)
	}
	cancel()
	must(t, <-ended)
}

func TestVerifySaysWhenThereAreNoTwoEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.engine(nil)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	if _, err := e.Verify(t.Context(), m, nil); !errors.Is(err, ErrNothingToCompare) {
		t.Errorf("planned: %v", err)
	}
	if _, err := e.Lag(t.Context(), m); !errors.Is(err, ErrNothingToCompare) {
		t.Errorf("lag of a planned move: %v", err)
	}
}

func TestRowsThatGoToAnotherBucketDuringTheMoveDoNotStopIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, m := range []*testservers.MariaDB{w.alpha, w.gamma} {
		w.exec(m, tricky)
	}
	w.tables = append(slices.Clone(worldTables), fence.Sharded{Name: "tricky", BucketColumn: "bucket"})
	w.exec(w.alpha, "INSERT INTO tricky (bucket, id, part) VALUES (7, 1, 'goes'), (20, 2, 'comes'), (7, 3, 'stays')")
	var points crash.Points
	must(t, points.ArmFunc("holding.after_hold", func() {
		w.exec(w.alpha, "UPDATE tricky SET bucket = 27 - bucket WHERE id IN (1, 2)")
	}))
	e := w.engine(&points)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(t.Context(), m))
	if got := w.text(w.gamma, "SELECT GROUP_CONCAT(id ORDER BY id) FROM tricky"); got != "2,3" {
		t.Errorf("rows %s came over, want 2,3", got)
	}
	w.agree()
}

// A verification under writes to every row that it looks at ends, and finds
// nothing that is not so.
func TestVerificationUnderWritesToEveryRowEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users []string
	for n := range 8 {
		users = append(users, userIn(bucketmap.BucketID(7+n%2), n))
	}
	l := w.newLedger(users...)
	l.pause = 0
	stop := l.run(4)
	defer stop()
	waitWrites(t, l, 40)
	e := w.engine(nil)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7, 8}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(t.Context(), m))
	c, err := e.Verify(t.Context(), m, nil)
	must(t, err)
	if c.Outcome == Differs {
		t.Errorf("%+v", c)
	}
	stop()
	l.check()
}
