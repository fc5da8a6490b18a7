package promote

import (
	"testing"

	"drover/bucketmap"
)

func TestForwardAndBackFiveTimesUnderWritersLosesNothing(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	epoch, at := bucketmap.FirstEpoch, legacy
	for range 5 {
		for range 2 {
			ws.waitAcked(10)
			at, epoch = other(at), epoch+1
			p, err := w.promote(at)
			must(t, err)
			if p.State() != Done {
				t.Fatalf("the promotion is %s", p.State())
			}
			w.settled(at, epoch)
			ws.waitAcked(10)
		}
	}
	ws.check(at)
	w.caughtUp(at, other(at))
	ws.check(other(at))
}
