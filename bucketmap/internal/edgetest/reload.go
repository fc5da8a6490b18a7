package edgetest

import (
	"os"
	"testing"
	"time"

	"drover/bucketmap"
)

const (
	reloadWaitMax = 30 * time.Second
	reloadPoll    = 20 * time.Millisecond
	signalEvery   = time.Second // a master that has just started its worker loses the first one
)

// Reload moves a user's bucket in a map that is served, exports the next
// version, and waits until the program sends the user by it. again exports a
// map to where the program was started on.
func Reload(t *testing.T, p *Program, signal os.Signal, s *bucketmap.Snapshot, user string, to bucketmap.ShardName, again func(*bucketmap.Snapshot) error) {
	t.Helper()
	before := s.Decide([]byte(user))
	if differs := Dial(t, p.Addr).Compare(t, s, []byte(user)); differs != "" {
		t.Fatal(differs)
	}
	draft := s.Edit()
	Must(t, draft.SetHome(before.Bucket, before.Bucket, to))
	next, err := draft.Snapshot()
	Must(t, err)
	if next.Decide([]byte(user)) == before {
		t.Fatalf("%s is not moved by the move to %s", user, to)
	}
	Must(t, again(next))
	deadline := time.Now().Add(reloadWaitMax)
	for signalled := (time.Time{}); ; time.Sleep(reloadPoll) {
		if time.Since(signalled) >= signalEvery {
			p.Signal(t, signal)
			signalled = time.Now()
		}
		// A connection each: one from before stays with the old process.
		differs := Dial(t, p.Addr).Compare(t, next, []byte(user))
		if differs == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v after the reload: %s", reloadWaitMax, differs)
		}
	}
}
