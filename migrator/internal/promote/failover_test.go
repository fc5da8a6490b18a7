package promote

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/preflight"
	"drover/shardlib"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// lostChecks runs the checks of a failover and returns the names of those that
// refuse.
func (w *world) lostChecks() (names []string, loss *Loss) {
	w.t.Helper()
	results, loss, err := w.engine().InspectLost(w.t.Context(), Plan{Shard: alpha, Target: cloud})
	must(w.t, err)
	for _, r := range preflight.Errors(results) {
		if r.Reason == "" || r.Remedy == "" {
			w.t.Errorf("%s has no reason or no remedy", r)
		}
		names = append(names, r.Name)
	}
	return names, loss
}

// noticed waits until the replica has noticed that its primary is gone.
func (w *world) noticed() {
	w.t.Helper()
	w.until("the replica has noticed it", func() bool {
		u, err := w.server(cloud).OneUpstream(w.t.Context())
		must(w.t, err)
		return !u.Receives
	})
}

// until asks a server, which tells nobody by itself, until it is so.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	testrun.Until(w.t, what, func() error {
		if !is() {
			return errors.New("it is not so")
		}
		return nil
	})
}

func (w *world) promoteLost() (*Promotion, error) {
	return w.engine().PromoteLost(w.t.Context(), Plan{Shard: alpha, Target: cloud, Who: "test"})
}

// semiSync makes the primary wait for the replica before it acknowledges.
func (w *world) semiSync() {
	w.t.Helper()
	ctx := w.t.Context()
	must(w.t, w.a.Exec(ctx, "SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'", "SET GLOBAL rpl_semi_sync_master_timeout = 60000",
		"SET GLOBAL rpl_semi_sync_master_enabled = ON"))
	must(w.t, w.b.Exec(ctx, "SET GLOBAL rpl_semi_sync_slave_enabled = ON", "STOP SLAVE IO_THREAD", "START SLAVE IO_THREAD"))
	w.until("the replica acknowledges", func() bool {
		var name, on string
		must(w.t, w.server(legacy).DB.QueryRow("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'").Scan(&name, &on))
		return on == "1"
	})
}

func TestAFailoverWithSemiSyncLosesNothing(t *testing.T) {
	w := newWorld(t)
	if names, _ := w.lostChecks(); !slices.Contains(names, CheckLost) {
		t.Fatalf("a primary that is there: %v", names)
	}
	if _, err := w.promoteLost(); !errors.Is(err, ErrNotLost) {
		t.Fatalf("a primary that is there: %v", err)
	}
	w.semiSync()
	ws := w.startWriters()
	ws.waitAcked(20)
	// What is received and not applied is kept.
	must(t, w.b.Exec(t.Context(), "STOP SLAVE SQL_THREAD"))
	ws.waitAcked(20)
	must(t, w.a.Kill())
	w.noticed()
	if names, _ := w.lostChecks(); !slices.Contains(names, CheckReplica) {
		t.Fatalf("a replica that does not apply: %v", names)
	}
	must(t, w.b.Exec(t.Context(), "START SLAVE SQL_THREAD"))
	names, loss := w.lostChecks()
	if len(names) != 0 || loss.Received == "" || !loss.SemiSync || loss.Epoch != 3 {
		t.Fatalf("%v: %+v", names, loss)
	}
	if text := loss.String(); !strings.Contains(text, loss.Received) || !strings.Contains(text, "AFTER_SYNC") {
		t.Error(text)
	}
	p, err := w.promoteLost()
	must(t, err)
	if s := w.lives(); p.State() != Reversing || s.Datacenter != cloud || s.Epoch != 3 {
		t.Fatalf("it is %s, the map has %+v", p.State(), s)
	}
	ws.waitAcked(20)
	ws.check(cloud)
}

// What keeps whom from the old primary when it comes back.
func TestAPrimaryThatComesBackAfterAFailoverTakesNoWriteByTheNewMap(t *testing.T) {
	w := newWorld(t)
	w.caughtUp(legacy, cloud)
	must(t, w.a.Kill())
	w.noticed()
	p, err := w.promoteLost()
	must(t, err)
	if err := w.engine().Resume(t.Context(), w.open()); err == nil {
		t.Fatal("resumed without the old primary")
	}
	must(t, w.a.Restart(t.Context()))

	// An application with the new map writes on the new primary.
	library, err := shardlib.Open(t.Context(), shardlib.Config{Source: w.store, Shards: w.list, Datacenter: legacy,
		Account: shardlib.Account{User: testservers.AccountApp, Password: testservers.Password}})
	must(t, err)
	defer func() { _ = library.Close() }()
	var on uint32
	must(t, library.Update(t.Context(), bucketmap.UserID("somebody"), func(ctx context.Context, tx *shardlib.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT @@server_id").Scan(&on)
	}))
	if on != w.b.ServerID() {
		t.Errorf("it writes on server %d", on)
	}
	// One with a map from before could write on the old primary, until Resume.
	if err := w.write(legacy, false); err != nil {
		t.Errorf("by the old map: %v; if this is refused now, say so in docs/promotion-hooks.md", err)
	}
	must(t, w.engine().Resume(t.Context(), w.open()))
	if err := w.write(legacy, false); !errors.Is(err, fence.ErrRefused) {
		t.Errorf("by the old map, after it was resumed: %v", err)
	}
	w.settled(cloud, p.Epoch+lostEpochs)
	// And back, as any promotion.
	_, err = w.promote(legacy)
	must(t, err)
	w.settled(legacy, p.Epoch+lostEpochs+1)
}

func TestAPrimaryThatComesBackWithWritesOfItsOwnIsMadeReadOnlyAndNotFollowed(t *testing.T) {
	w := newWorld(t)
	// It has a transaction that the replica never received.
	must(t, w.b.Exec(t.Context(), "STOP SLAVE IO_THREAD"))
	must(t, w.write(legacy, true))
	w.exec(w.server(legacy).DB, "UPDATE counter SET n = n + 1 WHERE bucket = 3")
	must(t, w.a.Kill())
	_, err := w.promoteLost()
	must(t, err)
	must(t, w.a.Restart(t.Context()))
	err = w.engine().Resume(t.Context(), w.open())
	var placed *Error
	if !errors.Is(err, ErrErrant) || !errors.As(err, &placed) || placed.Hint == "" {
		t.Fatalf("%v", err)
	}
	if readOnly, err := w.server(legacy).ReadOnly(t.Context()); err != nil || !readOnly {
		t.Errorf("it is read-only: %t, %v", readOnly, err)
	}
	w.writable(cloud)
	must(t, w.engine().Finish(t.Context(), w.open(), "it is made anew"))
}

func TestAFailoverThatIsKilledIsGoneOnWith(t *testing.T) {
	t.Parallel()
	points := []string{"switching.after_begin"}
	if soak() {
		points = []string{"switching.before_stop", "switching.after_stop", "switching.before_begin", "switching.after_begin",
			"switching.before_reset", "switching.after_reset", "switching.before_activate", "switching.after_activate",
			"switching.after_writable", "publishing.before_map", "publishing.after_map", "reversing.after_journal"}
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t)
			w.dieAt("freezing.after_freeze", cloud) // a promotion that was under way
			w.caughtUp(legacy, cloud)
			must(t, w.a.Kill())
			w.noticed()
			w.points = &crash.Points{}
			must(t, w.points.ArmFunc(point, runtime.Goexit))
			ended := make(chan struct{})
			go func() { defer close(ended); _, _ = w.promoteLost() }()
			<-ended
			w.points = &crash.Points{}
			w.limits.Reverse = time.Second
			var ours *journal.Record
			records, err := journal.Open(w.server(cloud)).List(t.Context(), true)
			must(t, err)
			for _, r := range records {
				if p, err := Load(r); err == nil && p.Lost {
					ours = r
				}
			}
			if ours == nil {
				_, err = w.promoteLost()
				must(t, err)
			} else {
				p, err := Load(ours)
				must(t, err)
				if err := w.engine().Resume(t.Context(), p); err == nil || p.State() != Reversing {
					t.Fatalf("resumed: %v; it is %s", err, p.State())
				}
			}
			if s := w.lives(); s.Datacenter != cloud || s.Epoch != 3 {
				t.Fatalf("the map has %+v", s)
			}
			w.writable(cloud)
			must(t, w.a.Restart(t.Context()))
			w.limits.Reverse = 20 * time.Second
			must(t, w.engine().Resume(t.Context(), w.open()))
			w.settled(cloud, 3)
		})
	}
}
