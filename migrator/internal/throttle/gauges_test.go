package throttle

import (
	"context"
	"strings"
	"testing"
	"time"

	"drover/migrator/internal/database"
	"drover/tools/testservers"
)

// eventually looks until the reason is as wanted.
func eventually(t *testing.T, g Gauge, what string, want func(reason string, err error) bool) {
	t.Helper()
	const most = 20 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	for {
		reason, err := g.Look(ctx)
		if want(reason, err) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: %q, %v", what, reason, err)
		}
	}
}

func TestTheGaugesOfRealServers(t *testing.T) {
	fleet := testservers.Start(t)
	ctx := t.Context()
	both, err := fleet.MariaDBs(ctx, "primary", "replica")
	if err != nil {
		t.Fatal(err)
	}
	primary, replica := both[0], both[1]
	if err := replica.ReplicateFrom(ctx, primary); err != nil {
		t.Fatal(err)
	}
	open := func(m *testservers.MariaDB) *database.Server {
		s, err := database.Open("alpha", "legacy", m.Addr(), "", database.Account{User: testservers.AccountDrover, Password: testservers.Password})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	run := func(m *testservers.MariaDB, statements ...string) {
		t.Helper()
		if err := m.Exec(ctx, statements...); err != nil {
			t.Fatal(err)
		}
	}
	fine := func(reason string, err error) bool { return reason == "" && err == nil }
	said := func(words string) func(string, error) bool {
		return func(reason string, err error) bool { return err == nil && strings.Contains(reason, words) }
	}

	eventually(t, Status{open(primary), ThreadsRunning, 1000}, "few threads", fine)
	eventually(t, Status{open(primary), ThreadsRunning, 0}, "more threads than none", said("Threads_running"))
	eventually(t, Status{open(primary), HistoryLength, 1 << 40}, "a short history", fine)

	lag := &Lag{Replica: open(replica), Primaries: []*database.Server{open(replica), open(primary)}, Max: 200 * time.Millisecond}
	eventually(t, lag, "a replica that follows", fine)
	// The replica's own figure stays 0 while it does not receive what there is:
	// a lock that its second thread waits for keeps the difference out of it.
	run(primary, "CREATE DATABASE app", "CREATE TABLE app.t (a INT PRIMARY KEY)")
	eventually(t, lag, "a replica that has caught up", fine)
	db, err := replica.Open(testservers.AccountRoot, "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	locked, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer locked.Close()
	if _, err := locked.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK"); err != nil {
		t.Fatal(err)
	}
	run(primary, "INSERT INTO app.t VALUES (1)")
	eventually(t, lag, "a replica that cannot apply", said("behind"))
	if _, err := locked.ExecContext(ctx, "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	eventually(t, lag, "a replica that has caught up again", fine)
	run(replica, "STOP SLAVE SQL_THREAD")
	eventually(t, lag, "a replica that does not apply", said("does not apply"))
	run(replica, "STOP SLAVE", "RESET SLAVE ALL")
	eventually(t, lag, "a server that is no replica", func(_ string, err error) bool { return err != nil })
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, Status{open(primary), ThreadsRunning, 1000}, "a server that is down", func(_ string, err error) bool { return err != nil })
}
