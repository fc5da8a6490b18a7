package move

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/migrator/internal/crash"
	"drover/tools/testservers"
)

// outage is how long a migrator may look for a server that is gone.
const outage = 2 * time.Second

// A server that dies takes the writes of its users with it for a while; what
// must hold is that no acknowledged one is lost, that the other shard's users
// notice nothing, and that the move can be finished or undone.
func TestAServerKilledDuringAMoveLosesNothing(t *testing.T) {
	t.Parallel()
	fleet := testservers.Start(t)
	both, err := fleet.MariaDBs(t.Context(), "alpha", "gamma")
	must(t, err)
	for _, c := range []struct {
		at     string
		source bool // which end is killed
	}{
		{"copying.after_chunk", true},
		{"copying.after_chunk", false},
		{"tailing.after_journal", true},
		{"tailing.after_journal", false},
		{"freezing.before_freeze", true},
		{"freezing.after_freeze", true},
		{"freezing.after_freeze", false},
		{"freezing.before_commit", true},
		{"freezing.after_commit", true},
		{"switching.before_activate", false},
		{"publishing.before_map", false},
	} {
		name, victim := c.at+"/target", both[1]
		if c.source {
			name, victim = c.at+"/source", both[0]
		}
		t.Run(name, func(t *testing.T) {
			w := newWorldOn(t.Context(), t, both[0], both[1])
			users := []string{userIn(5, 1), userIn(6, 2), userIn(40, 3)}
			l := w.newLedger(users...)
			for id, user := range users {
				must(t, l.write(t.Context(), user, uint64(id), 0))
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var points crash.Points
			// Past the commit point the migrator waits for the target. There it is
			// back while the migrator runs, elsewhere once the migrator has ended.
			var back errgroup.Group
			waited := c.at == "switching.before_activate"
			must(t, points.ArmFunc(c.at, func() {
				must(t, victim.Kill())
				if waited {
					back.Go(func() error { return victim.Restart(t.Context()) })
					return
				}
				time.AfterFunc(outage, cancel)
			}))
			e := w.engine(&points)
			m, err := e.Start(t.Context(), Plan{Buckets: Buckets{5, 6}, Target: "gamma", Who: "test"})
			must(t, err)
			runErr := e.Run(ctx, m) // the error says what to do; the state decides
			if c.at == "freezing.after_freeze" && !c.source {
				// The source alone can make the buckets writable again.
				must(t, l.write(t.Context(), users[0], 100, 0))
			}
			must(t, back.Wait())
			if waited && m.State() != Soaking {
				t.Errorf("%s, %v: want the activation to be done once the target is back", m.State(), runErr)
			}
			if !waited {
				must(t, victim.Restart(t.Context()))
			}
			must(t, w.engine(nil).Resume(t.Context(), m))
			t.Logf("%s, after: %v", m.State(), runErr)
			for id, user := range users {
				must(t, l.write(t.Context(), user, uint64(1000+id), 0))
			}
			l.check()
			w.agree()
		})
	}
}
