package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/doctor"
	"drover/migrator/internal/move"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// examine runs the doctor, and checks that its exit code goes with what it says.
func (d *desktop) examine(args ...string) *doctor.Report {
	d.t.Helper()
	before, version := d.positions(), d.version()
	r := d.run(append([]string{"doctor", "--rows", "--again", "1ms", "-o", "json"}, args...)...)
	if after := d.positions(); !slices.Equal(before, after) || d.version() != version {
		d.t.Fatalf("the doctor changed something: %v then %v", before, after)
	}
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		d.t.Fatalf("%v in %s%s", err, r.out, r.err)
	}
	want := 0
	switch {
	case len(report.Unseen) != 0:
		want = exitPartial
	case len(report.Findings) != 0:
		want = exitFailed
	}
	if r.code != want {
		d.t.Fatalf("exit code %d, want %d: %s%s", r.code, want, r.out, r.err)
	}
	return &report
}

// healthy wants nothing found.
func (d *desktop) healthy() {
	d.t.Helper()
	if r := d.examine(); !r.Healthy() {
		text, _ := json.MarshalIndent(r, "", "  ")
		d.t.Fatalf("not healthy: %s", text)
	}
}

// mend does what a finding says: its commands, or its statements as a person
// would execute them. Of what says to choose, what is not for alpha.
func (d *desktop) mend(f *doctor.Finding) {
	d.t.Helper()
	for _, command := range f.Mend {
		args := strings.Fields(command)[1:]
		for i, arg := range args {
			if strings.HasSuffix(arg, ".yaml") {
				args[i] = d.path(arg)
			}
		}
		if r := d.run(args...); r.code != 0 && args[0] != "doctor" {
			d.t.Fatalf("%s: exit code %d: %s%s", command, r.code, r.out, r.err)
		}
	}
	if len(f.Mend) != 0 {
		return
	}
	if f.Decide == "" {
		d.t.Fatalf("%s says neither what mends it nor what to decide", f.Kind)
	}
	for _, s := range f.SQL {
		server := d.gamma
		if strings.HasPrefix(s.Server, "alpha") {
			server = d.alpha
		}
		if f.Kind == doctor.TwoHomes && server == d.alpha {
			continue
		}
		// The migrator's account: the fence refuses everybody else's DELETE.
		_, err := d.open(server, testservers.AccountDrover).ExecContext(d.t.Context(), s.Statement)
		must(d.t, err)
	}
}

// wanted is one finding.
type wanted struct {
	kind     doctor.Kind
	severity doctor.Severity
	words    string // in what it says
}

// finds wants all of these findings, each with everything that a person needs,
// and mends what is found until all is well.
func (d *desktop) finds(all ...wanted) {
	d.t.Helper()
	report := d.examine()
	for _, w := range all {
		i := slices.IndexFunc(report.Findings, func(f *doctor.Finding) bool {
			return f.Kind == w.kind && f.Severity == w.severity && strings.Contains(f.Says, w.words)
		})
		if i < 0 {
			text, _ := json.MarshalIndent(report, "", "  ")
			d.t.Fatalf("no %s, %s, %q in %s", w.kind, w.severity, w.words, text)
		}
		if f := report.Findings[i]; f.Cause == "" || len(f.Mend) == 0 && f.Decide == "" {
			d.t.Fatalf("%+v: want a cause and what to do", f)
		}
	}
	const rounds = 4 // a frozen row is a finding until it is said to be moved
	for range rounds {
		done := map[string]bool{}
		for _, f := range report.Findings {
			if how := strings.Join(f.Mend, ";"); how == "" || !done[how] {
				done[how] = true
				d.mend(f)
			}
		}
		if report = d.examine(); report.Healthy() {
			return
		}
	}
	text, _ := json.MarshalIndent(report, "", "  ")
	d.t.Fatalf("it cannot be mended: %s", text)
}

// fenced is a desktop with triggers and bucket 6 on gamma, as after a move that
// is over.
func fenced(t *testing.T) *desktop {
	t.Helper()
	d := ready(t)
	d.want(0, []string{"fence", "install"})
	d.exec(d.alpha, "UPDATE drover_fence SET state = 'moved' WHERE bucket = 6")
	d.exec(d.gamma, "INSERT INTO drover_fence (bucket, state, epoch) VALUES (6, 'active', 2)")
	d.publishes(func(m *bucketmap.Draft) error {
		m.Epochs = map[bucketmap.BucketID]bucketmap.Epoch{6: 2}
		return m.SetHome(6, 6, "gamma")
	})
	return d
}

// publishes changes the map as no command would.
func (d *desktop) publishes(edit func(*bucketmap.Draft) error) {
	d.t.Helper()
	_, err := bucketmap.Update(d.t.Context(), d.fileProxy(), bucketmap.Change{Who: "test"}, edit)
	must(d.t, err)
}

func TestTheDoctorFindsWhatDisagreesInTheFencesAndSaysWhatMendsIt(t *testing.T) {
	d := fenced(t)
	d.healthy()
	d.exec(d.gamma, "INSERT INTO drover_fence (bucket, state, epoch, move_id) VALUES "+
		"(7, 'active', 2, ''), (11, 'incoming', 2, 'm-lost/1'), (16, 'odd', 1, ''), (17, 'frozen', 2, '')")
	d.exec(d.alpha, "UPDATE drover_fence SET state = 'moved' WHERE bucket IN (8, 9)",
		"UPDATE drover_fence SET state = 'frozen', move_id = 'm-lost/3' WHERE bucket = 10",
		"UPDATE drover_fence SET state = 'frozen' WHERE bucket = 18",
		"UPDATE drover_fence SET move_id = 'm-lost/1' WHERE bucket IN (12, 13)",
		"UPDATE drover_fence SET move_id = 'it''s by hand' WHERE bucket = 19",
		"DELETE FROM drover_fence WHERE bucket IN (14, 15)",
		"INSERT INTO drover_fence (bucket, state, epoch) VALUES (64, 'active', 1)")
	d.finds(
		wanted{doctor.TwoHomes, doctor.Danger, "bucket 7 ACTIVE ON MORE THAN ONE SHARD"},
		wanted{doctor.RowIncoming, doctor.Untidy, "bucket 11 incoming"},
		wanted{doctor.RowUnknown, doctor.Refusing, `"odd"`},
		wanted{doctor.RowUnknown, doctor.Refusing, "bucket 64"},
		wanted{doctor.RowFrozen, doctor.Untidy, "bucket 17 frozen"},
		wanted{doctor.NoHome, doctor.Refusing, "2 buckets (8-9) active on no shard"},
		wanted{doctor.RowFrozen, doctor.Refusing, "bucket 10 frozen"},
		wanted{doctor.RowFrozen, doctor.Refusing, "with no move's token"},
		wanted{doctor.TokenUnknown, doctor.Untidy, "2 buckets (12-13) active"},
		wanted{doctor.TokenUnknown, doctor.Untidy, "it's by hand"},
		wanted{doctor.RowMissing, doctor.Refusing, "2 buckets (14-15) have no row"},
	)
	d.exec(d.alpha, "UPDATE drover_fence SET epoch = 9 WHERE bucket = 6",
		"DROP TRIGGER drover_fence_profile_insert", "INSERT INTO profile VALUES ('"+userOf(6)+"', 'left')")
	report := d.examine()
	if len(report.Findings) != 3 || report.Findings[0].Kind != doctor.EpochBehind || report.Findings[0].Severity != doctor.Danger {
		t.Fatalf("found %+v, want %s first", report.Findings, doctor.EpochBehind)
	}
	d.exec(d.alpha, "UPDATE drover_fence SET epoch = 1 WHERE bucket = 6")
	d.finds(wanted{doctor.RowsOrphaned, doctor.Untidy, "bucket 6 "}, wanted{doctor.FenceTriggers, doctor.Danger, "table profile has 2 of 3"})
	if n := d.scan(d.alpha, "SELECT COUNT(*) FROM profile"); n != "0" {
		t.Errorf("%s rows are left", n)
	}
}

func TestTheDoctorFindsWhereTheMapDoesNotFollowTheDatabases(t *testing.T) {
	d := fenced(t)
	d.exec(d.gamma, "UPDATE drover_fence SET epoch = 4 WHERE bucket = -1")
	d.publishes(func(m *bucketmap.Draft) error {
		m.Epochs[20] = 3
		m.Holds = append(m.Holds, bucketmap.Hold{First: 3, Last: 4, Move: "m-lost", Until: time.Now().Add(time.Hour).Truncate(time.Millisecond)})
		return m.SetHome(6, 6, "alpha")
	})
	d.finds(wanted{doctor.MapHome, doctor.Refusing, "bucket 6 active on gamma"},
		wanted{doctor.MapEpoch, doctor.Untidy, "bucket 20 active on alpha"},
		wanted{doctor.HoldLeft, doctor.Untidy, "in no journal: the hold will end by itself"},
		wanted{doctor.ShardEpoch, doctor.Untidy, "epoch 4"})
	if home, _ := d.load().Home(6); home.Name != "gamma" || len(d.load().Holds()) != 0 {
		t.Errorf("bucket 6 is on %s, holds %v", home.Name, d.load().Holds())
	}
}

func TestTheDoctorFindsShardsThatRefuseEveryWrite(t *testing.T) {
	d := fenced(t)
	d.exec(d.gamma, "UPDATE drover_fence SET server_id = server_id + 1000 WHERE bucket = -1", "ALTER TABLE drover_fence COMMENT = 'something'")
	d.exec(d.alpha, "UPDATE drover_fence SET state = 'frozen', move_id = 'p-lost/1' WHERE bucket = -1")
	d.finds(wanted{doctor.ShardRow, doctor.Refusing, "server_id"}, wanted{doctor.ShardRow, doctor.Refusing, "p-lost/1"},
		wanted{doctor.FenceSchema, doctor.Untidy, "something"})
	d.exec(d.alpha, "DELETE FROM drover_fence WHERE bucket = -1", "ALTER TABLE drover_fence COMMENT = 'drover fence, schema 99'")
	report := d.examine()
	if n := len(report.Findings); n != 2 || report.Findings[0].Kind != doctor.ShardRow || report.Findings[1].Kind != doctor.FenceSchema {
		t.Errorf("found %+v, want no row of the shard and a newer schema", report.Findings)
	}
}

// userOf is a user of one of 64 buckets.
func userOf(bucket bucketmap.BucketID) string {
	for i := 0; ; i++ {
		if user := fmt.Sprintf("user-%d", i); bucketmap.Bucket([]byte(user), 64) == bucket {
			return user
		}
	}
}

func TestTheDoctorFindsMovesThatNobodyGoesOnWith(t *testing.T) {
	d := fenced(t)
	a := &app{env: Environment{Who: "tester"}, configPath: d.path("migrator.yaml")}
	must(t, a.open())
	t.Cleanup(func() { must(t, a.close()) })
	started, err := a.engine(nil).Start(t.Context(), move.Plan{Buckets: move.Buckets{20, 21}, Target: "gamma", Who: "tester"})
	must(t, err)
	d.finds(wanted{doctor.MoveStalled, doctor.Untidy, "is planned"}) // and soaking, when it is resumed, is none for an hour
	id := string(started.Record.Move)
	r := d.want(1, []string{"doctor", "--soak", "1ns", "--again", "1ms"}, "soak-without-tail", "mend    migrator bucket finish "+id, "1 findings")
	if !strings.Contains(r.out, "UNTIDY") {
		t.Error(r.out)
	}
	d.exec(d.alpha, "UPDATE drover_move SET state = 'done' WHERE id = '"+id+"'")
	d.finds(wanted{doctor.PurgeUnfinished, doctor.Untidy, id})
	d.want(0, []string{"move", "show", id}, "over")
	d.exec(d.alpha, "INSERT INTO drover_tail VALUES ('"+id+"', 1, '"+id+"/1', '', '{}')")
	d.finds(wanted{doctor.TailLeft, doctor.Untidy, id + ", which is done and over"})

	d.want(0, []string{"bucket", "move", "30", "--to", "gamma"})
	second := d.open1()
	d.exec(d.gamma, "UPDATE drover_fence SET move_id = '"+second+"/7' WHERE bucket = 30")
	report := d.examine()
	if len(report.Findings) != 1 || report.Findings[0].Kind != doctor.TokenAhead || report.Findings[0].Severity != doctor.Danger {
		t.Fatalf("found %+v, want %s", report.Findings, doctor.TokenAhead)
	}
	d.exec(d.gamma, "UPDATE drover_fence SET move_id = '' WHERE bucket = 30")
	if report = d.examine(); len(report.Findings) != 1 || report.Findings[0].Kind != doctor.MoveLostRows {
		t.Fatalf("found %+v, want %s", report.Findings, doctor.MoveLostRows)
	}
	d.exec(d.gamma, "UPDATE drover_fence SET move_id = '"+second+"/1' WHERE bucket = 30")
	d.healthy()
	d.exec(d.alpha, "UPDATE drover_move SET state = 'dancing' WHERE id = '"+second+"'")
	if report = d.examine(); !slices.ContainsFunc(report.Findings, func(f *doctor.Finding) bool { return f.Kind == doctor.MoveUnreadable }) {
		t.Fatalf("found %+v, want %s", report.Findings, doctor.MoveUnreadable)
	}
}

// open1 is the id of the one open move.
func (d *desktop) open1() string {
	d.t.Helper()
	var list struct{ Moves []moveLine }
	d.reads(&list, "move", "list")
	if len(list.Moves) != 1 {
		d.t.Fatalf("open: %+v", list.Moves)
	}
	return string(list.Moves[0].Move)
}

func TestTheDoctorSaysWhereItCouldNotLook(t *testing.T) {
	d := ready(t)
	d.exec(d.alpha, "UPDATE drover_fence SET move_id = 'm-elsewhere/1' WHERE bucket = 3") // perhaps in the journal of gamma
	d.write("shards.yaml", "database: "+d.database+"\nshards:\n  alpha: {legacy: \""+d.alpha.Addr()+"\"}\n  gamma: {cloud: \"127.0.0.1:1\"}\n")
	report := d.examine()
	if len(report.Unseen) != 1 || report.Unseen[0].Shard != "gamma" || len(report.Findings) != 0 {
		t.Fatalf("unseen %+v, findings %+v", report.Unseen, report.Findings)
	}
	d.want(2, []string{"doctor", "--again", "1ms"}, "NOT SEEN: gamma")
	d.write("shards.yaml", "database: "+d.database+"\nshards:\n  alpha: {legacy: \""+d.alpha.Addr()+"\"}\n  gamma: {other: \"127.0.0.1:1\"}\n")
	if report = d.examine(); len(report.Findings) == 0 || report.Findings[0].Kind != doctor.ServerUnlisted {
		t.Fatalf("found %+v, want %s", report.Findings, doctor.ServerUnlisted)
	}
}

func TestTheDoctorsPageListsEveryKind(t *testing.T) {
	page, err := os.ReadFile("../../../docs/doctor.md")
	must(t, err)
	for _, kind := range doctor.Kinds() {
		if !strings.Contains(string(page), "| `"+string(kind)+"` |") {
			t.Errorf("docs/doctor.md does not list %s", kind)
		}
	}
	if n := strings.Count(string(page), "\n| `"); n != len(doctor.Kinds()) {
		t.Errorf("docs/doctor.md lists %d kinds, and there are %d", n, len(doctor.Kinds()))
	}
}

func TestALiveMoveIsNoFinding(t *testing.T) {
	d := fenced(t)
	app := d.open(d.alpha, testservers.AccountApp)
	tx, err := app.BeginTx(t.Context(), nil) // the move waits for it, and steps back
	must(t, err)
	_, err = tx.ExecContext(t.Context(), "SELECT * FROM "+fence.Table+" WHERE bucket = 33 LOCK IN SHARE MODE")
	must(t, err)
	moved := make(chan ran, 1)
	go func() { moved <- d.run("bucket", "move", "33", "--to", "gamma") }()
	running := func() bool {
		var list struct{ Moves []moveLine }
		d.reads(&list, "move", "list")
		return len(list.Moves) == 1 && list.Moves[0].Running
	}
	for end := time.Now().Add(20 * time.Second); !running(); {
		if time.Now().After(end) {
			t.Fatal("the move never ran")
		}
	}
	for range 3 {
		if r := d.run("doctor", "--again", "1ms"); r.code != 0 || !strings.Contains(r.out, "under way: m-") {
			t.Errorf("exit code %d: %s%s", r.code, r.out, r.err)
		}
	}
	var s shown
	d.reads(&s, "move", "show", "33")
	if s.Holder == nil || s.Holder.PID == "" || !s.Running {
		t.Errorf("shown %+v", s)
	}
	d.want(1, []string{"move", "resume", string(s.Move)}, "another migrator is running this move", "pid "+s.Holder.PID, "since ")
	must(t, tx.Rollback())
	if r := <-moved; r.code != 0 {
		t.Fatalf("%s%s", r.out, r.err)
	}
	d.healthy()
}

func TestTheDoctorComparesTheServersOfAShard(t *testing.T) {
	w := newShardWorld(t)
	w.ready()
	kinds := func() string {
		t.Helper()
		code, out, errOut := w.run("doctor", "--again", "1ms", "-o", "json")
		var report doctor.Report
		if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitFailed {
			t.Fatalf("exit code %d, %v: %s%s", code, err, out, errOut)
		}
		var found []string
		for _, f := range report.Findings {
			found = append(found, string(f.Kind))
		}
		return strings.Join(found, " ")
	}
	for _, c := range []struct {
		from, to string
		want     string
	}{
		{"DO 0", "DO 0", "tables-missing"}, // the world has no drover_tail
		{"SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0", "primary-read-only replica-writable tables-missing"},
		{"SET GLOBAL read_only = 0", "SET GLOBAL read_only = 1", "tables-missing"},
		{"DO 0", "UPDATE app.drover_fence SET server_id = @@server_id WHERE bucket = -1", "two-primaries replica-errant tables-missing"},
		{"UPDATE app.drover_fence SET state = 'moved' WHERE bucket = -1", "UPDATE app.drover_fence SET state = 'active', epoch = 2 WHERE bucket = -1", "shard-home replica-errant tables-missing"},
	} {
		if strings.HasPrefix(c.to, "UPDATE") { // a replica that replicates no more
			must(t, w.to.Exec(t.Context(), "STOP SLAVE", "RESET SLAVE ALL"))
		}
		must(t, w.from.Exec(t.Context(), c.from))
		must(t, w.to.Exec(t.Context(), c.to))
		if got := kinds(); got != c.want {
			t.Errorf("after %s and %s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
	mended := filepath.Join(t.TempDir(), "mended.yaml")
	w.run("doctor", "--again", "1ms", "--write-map", mended)
	if code, _, errOut := w.run("map", "push", mended, "--allow-change", "1"); code != 0 {
		t.Fatal(errOut)
	}
	if s := w.lives(); s.Datacenter != "cloud" || s.Epoch != 2 {
		t.Errorf("the map has %+v, want it in cloud with epoch 2", s)
	}
}
