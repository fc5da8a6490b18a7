package promote

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/preflight"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// refusals runs the preflight and returns the names of the checks that refuse.
func (w *world) refusals(e *Engine) []string {
	w.t.Helper()
	results, err := e.Preflight(w.t.Context(), Plan{Shard: alpha, Target: cloud})
	must(w.t, err)
	var names []string
	for _, r := range preflight.Errors(results) {
		if r.Reason == "" || r.Remedy == "" {
			w.t.Errorf("%s has no reason or no remedy", r)
		}
		names = append(names, r.Name)
	}
	return names
}

func TestPreflightRefusesWhatWouldFail(t *testing.T) {
	w := newWorld(t)
	if got := w.refusals(w.engine()); len(got) != 0 {
		t.Fatalf("a healthy shard is refused: %v", got)
	}
	ctx := t.Context()
	a, b := w.server(legacy).DB, w.server(cloud).DB
	on := func(m *testservers.MariaDB, statements ...string) func() {
		return func() { must(t, m.Exec(ctx, statements...)) }
	}
	wait := func(f func()) func() { return func() { f(); w.caughtUp(legacy, cloud) } }
	for _, c := range []struct {
		what, check string
		do, undo    func()
		engine      func(*Engine)
	}{
		{what: "replica stopped", check: CheckReplica, do: on(w.b, "STOP SLAVE SQL_THREAD"), undo: on(w.b, "START SLAVE")},
		{what: "replica delayed", check: CheckReplica, do: on(w.b, "STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY=1", "START SLAVE"),
			undo: on(w.b, "STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY=0", "START SLAVE")},
		{what: "replica without GTID", check: CheckReplica, do: on(w.b, "STOP SLAVE", "CHANGE MASTER TO MASTER_USE_GTID=no", "START SLAVE"),
			undo: on(w.b, "STOP SLAVE", "CHANGE MASTER TO MASTER_USE_GTID=slave_pos", "START SLAVE")},
		{what: "replica filtered", check: CheckReplica, do: on(w.b, "STOP SLAVE", "SET GLOBAL replicate_ignore_table='app.x'", "START SLAVE"),
			undo: on(w.b, "STOP SLAVE", "SET GLOBAL replicate_ignore_table=''", "START SLAVE")},
		{what: "replica writable", check: CheckReadOnly, do: on(w.b, "SET GLOBAL read_only=0"), undo: on(w.b, "SET GLOBAL read_only=1")},
		{what: "primary read-only", check: CheckPrimary, do: on(w.a, "SET GLOBAL read_only=1"), undo: on(w.a, "SET GLOBAL read_only=0")},
		{what: "triggers on the replica", check: CheckSettings, do: on(w.b, "SET GLOBAL slave_run_triggers_for_rbr=YES"),
			undo: on(w.b, "SET GLOBAL slave_run_triggers_for_rbr=NO")},
		{what: "statement format", check: CheckSettings, do: on(w.a, "SET GLOBAL binlog_format=STATEMENT"), undo: on(w.a, "SET GLOBAL binlog_format=ROW")},
		{what: "events", check: CheckEvents,
			do:   on(w.a, "CREATE EVENT app.beat ON SCHEDULE EVERY 1 HOUR DO SET @a = 1", "SET GLOBAL event_scheduler=ON"),
			undo: on(w.a, "SET GLOBAL event_scheduler=OFF", "DROP EVENT app.beat")},
		{what: "no replication account", check: CheckFollower, engine: func(e *Engine) { e.Replication = database.Account{} }},
		{what: "replication password", check: CheckFollower, engine: func(e *Engine) { e.Replication.Password = "wrong" }},
		{what: "replication without the grant", check: CheckFollower, engine: func(e *Engine) { e.Replication.User = testservers.AccountApp }},
		{what: "shard frozen", check: CheckShardRow,
			do:   wait(func() { w.exec(a, "UPDATE drover_fence SET state='frozen' WHERE bucket=-1") }),
			undo: wait(func() { w.exec(a, "UPDATE drover_fence SET state='active' WHERE bucket=-1") })},
		{what: "shard of another epoch", check: CheckShardRow,
			do:   wait(func() { w.exec(a, "UPDATE drover_fence SET epoch=7 WHERE bucket=-1") }),
			undo: wait(func() { w.exec(a, "UPDATE drover_fence SET epoch=1 WHERE bucket=-1") })},
		{what: "shard with another promotion", check: CheckFree,
			do:   wait(func() { w.exec(a, "UPDATE drover_fence SET move_id='p-other/1' WHERE bucket=-1") }),
			undo: wait(func() { w.exec(a, "UPDATE drover_fence SET move_id='' WHERE bucket=-1") })},
		{what: "a bucket with a move", check: CheckFree,
			do:   wait(func() { w.exec(a, "UPDATE drover_fence SET move_id='m-other/1' WHERE bucket=4") }),
			undo: wait(func() { w.exec(a, "UPDATE drover_fence SET move_id='' WHERE bucket=4") })},
		{what: "a soaking move", check: CheckFree,
			do: wait(func() {
				must(t, journal.Open(w.server(legacy)).Begin(ctx, &journal.Record{Move: "m-1", Kind: journal.KindMove, State: "soaking", Detail: []byte("{}")}))
			}),
			undo: wait(func() { w.exec(a, "DELETE FROM drover_move") })},
		{what: "an errant transaction", check: CheckErrant,
			do: func() { w.exec(b, "INSERT INTO counter VALUES (500, 0)") }, undo: nil}, // the last: it is not undone
	} {
		t.Run(c.what, func(t *testing.T) {
			e := w.engine()
			if c.do != nil {
				c.do()
			}
			if c.engine != nil {
				c.engine(e)
			}
			found := false
			for _, name := range w.refusals(e) {
				found = found || name == c.check
			}
			if !found {
				t.Errorf("%s does not refuse", c.check)
			}
			if c.undo == nil {
				return
			}
			c.undo()
			for try := 0; try < 500 && len(w.refusals(w.engine())) != 0; try++ { // threads that start take a moment
			}
			if got := w.refusals(w.engine()); len(got) != 0 {
				t.Fatalf("undone, and still refused: %v", got)
			}
		})
	}
}

func TestPreflightRefusesAccountsThatReadOnlyDoesNotStop(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	must(t, w.a.Exec(ctx, "CREATE USER job@'%' IDENTIFIED BY '"+testservers.Password+"'", "GRANT READ_ONLY ADMIN, SUPER ON *.* TO job@'%'"))
	w.caughtUp(legacy, cloud)
	named := func(results []preflight.Result, name, remedy string) bool {
		return slices.ContainsFunc(results, func(r preflight.Result) bool {
			return r.Name == CheckAccounts && strings.Contains(r.Reason, name) && strings.Contains(r.Remedy, remedy)
		})
	}
	look := func(e *Engine) []preflight.Result {
		results, err := e.Preflight(ctx, Plan{Shard: alpha, Target: cloud})
		must(t, err)
		return results
	}
	if results := look(w.engine()); !named(preflight.Errors(results), "'job'@'%'", "REVOKE READ_ONLY ADMIN ON *.* FROM 'job'@'%'") {
		t.Errorf("it is not connected: %v", results)
	}
	db, err := w.a.Open("job", "")
	must(t, err)
	defer db.Close()
	conn, err := db.Conn(ctx)
	must(t, err)
	defer conn.Close()
	if results := look(w.engine()); !named(preflight.Errors(results), "connected now", "REVOKE") {
		t.Errorf("it is connected: %v", results)
	}
	// The operator vouches for it.
	e := w.engine()
	e.PastReadOnly = append(e.PastReadOnly, "job")
	if results := look(e); len(preflight.Errors(results)) != 0 || !named(preflight.Warnings(results), "job", "nobody writes") {
		t.Errorf("the operator vouches for it: %v", results)
	}
	// Nobody is vouched for by name of root where root is not named.
	e.PastReadOnly = nil
	if results := look(e); !named(preflight.Errors(results), "'root'@'%'", "REVOKE") {
		t.Errorf("root passes: %v", results)
	}
	// By a role, and a role's role.
	must(t, w.a.Exec(ctx, "DROP USER job@'%'", "CREATE ROLE inner_role", "CREATE ROLE outer_role", "GRANT READ_ONLY ADMIN ON *.* TO inner_role",
		"GRANT inner_role TO outer_role", "CREATE USER clerk@'%'", "GRANT outer_role TO clerk@'%'"))
	w.caughtUp(legacy, cloud)
	if results := look(w.engine()); !named(preflight.Errors(results), "'clerk'@'%'", "REVOKE `outer_role` FROM 'clerk'@'%'") {
		t.Errorf("by a role: %v", results)
	}
}

func TestPreflightRefusesServersThatAreNotThere(t *testing.T) {
	w := newWorld(t)
	for _, plan := range []Plan{{Shard: alpha, Target: legacy}, {Shard: "beta", Target: cloud}, {Shard: alpha, Target: "moon"}} {
		if _, err := w.engine().Preflight(t.Context(), plan); !errors.Is(err, ErrTarget) {
			t.Errorf("%v: %v", plan, err)
		}
	}
	must(t, w.b.Kill())
	if got := w.refusals(w.engine()); len(got) != 1 || got[0] != CheckReachable {
		t.Errorf("a replica that is down: %v", got)
	}
}

// What the preflight saw may be so no more when the promotion runs.
func TestAShardThatABucketIsMovingOnIsNotPromoted(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	p, err := e.Start(t.Context(), Plan{Shard: alpha, Target: cloud, Who: "test"})
	must(t, err)
	w.exec(w.server(legacy).DB, "UPDATE drover_fence SET move_id='m-other/1' WHERE bucket=4")
	if err := e.Run(t.Context(), p); !errors.Is(err, ErrBusy) || p.State() != Aborted {
		t.Fatalf("%v; it is %s", err, p.State())
	}
	w.exec(w.server(legacy).DB, "UPDATE drover_fence SET move_id='' WHERE bucket=4")
	w.settled(legacy, 1)
}

func TestTwoPromotionsOfOneShardDoNotMeet(t *testing.T) {
	w := newWorld(t)
	w.dieAt("catching_up.after_journal", cloud)
	first := w.open()
	second, err := w.promote(cloud)
	if !errors.Is(err, ErrBusy) || second.State() != Aborted {
		t.Fatalf("%v; it is %s", err, second.State())
	}
	must(t, w.engine().Resume(t.Context(), first))
	w.settled(cloud, 2)
}

func TestADryRunSaysWhatARunExecutesAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	before, err := w.server(legacy).BinlogPosition(t.Context())
	must(t, err)
	plan := Plan{Shard: alpha, Target: cloud}
	if got := w.refusals(w.engine()); len(got) != 0 {
		t.Fatal(got)
	}
	statements, err := w.engine().Statements(t.Context(), plan)
	must(t, err)
	var text strings.Builder
	states := map[State]bool{}
	for _, s := range statements {
		text.WriteString(s.Server + ": " + s.Do + "\n")
		states[s.State] = true
	}
	for _, want := range []string{"read_only = 1", "read_only = 0", "STOP SLAVE", "RESET SLAVE", "CHANGE MASTER TO", "state = 'moved'", "hold shard alpha"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), testservers.Password) {
		t.Error("it shows the password")
	}
	for _, s := range []State{Replicating, CatchingUp, Holding, Freezing, Switching, Publishing, Reversing} {
		if !states[s] {
			t.Errorf("it says nothing of %s", s)
		}
	}
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		after, err := w.server(dc).BinlogPosition(context.Background())
		must(t, err)
		if after.String() != before.String() {
			t.Errorf("%s was written to: %s, %s before", dc, after, before)
		}
	}
	row, err := shardRow(t.Context(), w.server(legacy))
	must(t, err)
	if row.State != fence.Active || row.Token != (fence.Token{}) {
		t.Errorf("the row is %+v", row)
	}
}
