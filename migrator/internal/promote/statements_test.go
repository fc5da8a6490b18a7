package promote

import (
	"context"
	"database/sql"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/crash"
	"drover/tools/testservers"
)

// logs makes a server keep every statement that it is sent.
func logs(t *testing.T, m *testservers.MariaDB) {
	t.Helper()
	must(t, m.Exec(t.Context(), "SET SESSION sql_log_bin = 0", "SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = 1"))
}

// reading matches statements that change nothing, and what a new connection of the
// pool begins with.
var reading = regexp.MustCompile(`^(SELECT|SHOW|BEGIN|START TRANSACTION|COMMIT|ROLLBACK|SET NAMES|SET TRANSACTION|DO RELEASE_LOCK|SET .*tx_isolation = )`)

// logged returns the statements of the migrator's account that change something,
// but the journal's, with the words of a dry run in the place of values.
func logged(t *testing.T, m *testservers.MariaDB, p *Promotion) []string {
	t.Helper()
	must(t, m.Exec(t.Context(), "SET GLOBAL general_log = 0"))
	db, err := m.Open(testservers.AccountRoot, "mysql")
	must(t, err)
	defer db.Close()
	rows, err := db.Query("SELECT argument FROM general_log WHERE user_host LIKE '%drover%' AND command_type IN ('Query', 'Execute') ORDER BY event_time, thread_id")
	must(t, err)
	defer rows.Close()
	position := regexp.MustCompile(`gtid_slave_pos = '[^']*'`)
	password := regexp.MustCompile(`MASTER_PASSWORD='[^']*'`)
	var all []string
	for rows.Next() {
		var text string
		must(t, rows.Scan(&text))
		if reading.MatchString(text) || strings.Contains(text, "drover_move") || strings.Contains(text, "drover_journal") {
			continue
		}
		text = strings.ReplaceAll(text, string(p.Record.Move), wordMove)
		text = position.ReplaceAllString(text, "gtid_slave_pos = '"+wordPosition+"'")
		all = append(all, password.ReplaceAllString(text, "MASTER_PASSWORD='"+wordPassword+"'"))
	}
	must(t, rows.Err())
	return all
}

func TestADryRunPrintsExactlyWhatTheRunExecutes(t *testing.T) {
	w := newWorld(t)
	for _, at := range HookPoints() {
		w.runs = append(w.runs, Hook{At: at, Run: []string{"true", string(at)}, Timeout: time.Second})
	}
	at := legacy
	for range 2 { // and back
		plan := Plan{Shard: alpha, Target: other(at), Who: "test"}
		listed, err := w.engine().Statements(t.Context(), plan)
		must(t, err)
		var executed []Statement
		w.executed = func(s Statement) { executed = append(executed, s) }
		logs(t, w.a)
		logs(t, w.b)
		p, err := w.promote(plan.Target)
		must(t, err)
		w.executed = nil
		listed = slices.DeleteFunc(listed, func(s Statement) bool { return s.Wait })
		for i := range max(len(listed), len(executed)) {
			var want, got Statement
			if i < len(listed) {
				want = listed[i]
			}
			if i < len(executed) {
				got = executed[i]
			}
			if want != got {
				t.Fatalf("step %d: the dry run has %+v, the run %+v", i, want, got)
			}
		}
		// And not only by its own account of it.
		for dc, m := range map[bucketmap.Datacenter]*testservers.MariaDB{legacy: w.a, cloud: w.b} {
			var want []string
			for _, s := range listed {
				if s.Server == w.server(dc).Name() && !strings.HasPrefix(s.Do, "journal: ") {
					want = append(want, s.Do)
				}
			}
			if got := logged(t, m, p); !slices.Equal(got, want) {
				t.Errorf("%s was sent\n  %s\nthe dry run has\n  %s", dc, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		}
		at = plan.Target
		w.settled(at, p.Epoch+1)
	}
}

// Before this, such a statement would have left the old primary read-only for
// good, after everything was undone.
func TestAReadOnlyThatIsStillOnItsWayCannotLandAfterItWasUndone(t *testing.T) {
	w := newWorld(t)
	way := newRelay(t, w.a.Addr())
	list := w.list
	list.Shards = map[bucketmap.ShardName]map[bucketmap.Datacenter]string{alpha: {legacy: way.addr(), cloud: w.b.Addr()}}
	slow := w.through(list)
	p := w.planned()
	late := &run{Engine: w.engine(), promotion: p, token: p.Record.Token()}
	var err error
	late.from, err = slow.In(alpha, legacy)
	must(t, err)
	for _, on := range []bool{true, false} {
		want := !on // what the newer run made of it
		late.Executed = func(s Statement) {
			if strings.HasPrefix(s.Do, "SET GLOBAL read_only") {
				way.hold()
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		ended := make(chan error, 1)
		go func() { ended <- late.setReadOnly(ctx, late.from, on) }()
		<-ctx.Done()
		cancel()
		newer := &run{Engine: w.engine(), promotion: p, token: p.Record.Token(), from: w.server(legacy)}
		must(t, newer.setReadOnly(t.Context(), newer.from, want))
		way.release()
		if err := <-ended; err == nil {
			t.Error("the late statement was executed")
		}
		readOnly, err := w.server(legacy).ReadOnly(t.Context())
		must(t, err)
		if readOnly != want {
			t.Errorf("read_only is %t: the late statement landed", readOnly)
		}
	}
}

// Somebody who makes a backup holds a lock on the whole server.
func TestALockOnTheWholeServerMakesItStepBackAndIsOutlived(t *testing.T) {
	w := newWorld(t)
	points := []string{"freezing.after_freeze"}
	if soak() {
		points = []string{"freezing.before_freeze", "freezing.after_freeze", "freezing.before_commit"}
	}
	for _, point := range points {
		db, err := w.a.Open(testservers.AccountRoot, "")
		must(t, err)
		var conn *sql.Conn
		w.points = &crash.Points{}
		must(t, w.points.ArmFunc(point, func() {
			conn, err = db.Conn(context.Background())
			must(t, err)
			_, err = conn.ExecContext(context.Background(), "FLUSH TABLES WITH READ LOCK")
			must(t, err)
			time.AfterFunc(1500*time.Millisecond, func() { _, _ = conn.ExecContext(context.Background(), "UNLOCK TABLES") })
		}))
		w.limits.Freeze = time.Second
		epoch := w.lives().Epoch
		ended := w.start(other(w.lives().Datacenter))
		must(t, <-ended)
		w.points = &crash.Points{}
		w.settled(w.lives().Datacenter, epoch+1)
		_, err = w.promote(legacy) // back
		must(t, err)
		_ = conn.Close()
		_ = db.Close()
	}
}
