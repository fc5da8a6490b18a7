package pool

import (
	"sync"
	"testing"
	"time"
)

func TestFailuresInARowEjectAndEachTimeForLonger(t *testing.T) {
	counts := newTally()
	w := newWorld(t, 2, func(s *Settings, _ *Datacenter) { s.Counters = counts })
	h := w.Hosts()[0]
	w.fail(h, 2)
	h.Succeeded()
	w.fail(h, 2)
	if !h.Up(w.at) {
		t.Fatal("ejected by failures that were not in a row")
	}
	w.fail(h, 1)
	for _, seconds := range []int{1, 2, 4, 5, 5} { // doubled up to eject_max
		d := time.Duration(seconds) * time.Second
		w.fail(h, 1) // counts for nothing while it is ejected
		if h.Up(w.at.Add(d - 1)) {
			t.Errorf("back before %v", d)
		}
		w.at = w.at.Add(d)
		if !h.Up(w.at) {
			t.Errorf("not back after %v", d)
		}
		w.fail(h, 1) // one is enough
	}
	if n := counts.ejected[h.Address()]; n != 6 {
		t.Errorf("%d ejections counted, want 6", n)
	}
	w.at = w.at.Add(5 * time.Second)
	h.Succeeded()
	w.fail(h, 2)
	if !h.Up(w.at) {
		t.Error("a success did not forget the failures")
	}
	w.fail(h, 1)
	if !h.Up(w.at.Add(time.Second)) {
		t.Error("a success did not forget the ejections")
	}
}

func TestALateSuccessDoesNotEndAnEjection(t *testing.T) {
	w := newWorld(t, 2, nil)
	h := w.Hosts()[0]
	w.fail(h, 3)
	h.Succeeded()
	if h.Up(w.at) {
		t.Error("it is back")
	}
}

func TestTheLastHostIsNotEjectedUnlessThereIsAFailover(t *testing.T) {
	w := newWorld(t, 3, nil)
	for _, h := range w.Hosts() {
		w.fail(h, 10)
	}
	if up := w.up(); len(up) != 1 || up[0] != w.Hosts()[2] {
		t.Errorf("%d are up", len(up))
	}
	w.at = w.at.Add(time.Second)
	w.fail(w.Hosts()[2], 1)
	if up := w.up(); len(up) != 2 {
		t.Errorf("with the others back, the failing one was not ejected: %d are up", len(up))
	}
	sick := newWorld(t, 2, nil)
	sick.Hosts()[0].checked(false, nil)
	sick.fail(sick.Hosts()[1], 10)
	if len(sick.up()) != 1 {
		t.Error("the last one was ejected beside a sick one")
	}
	over := newWorld(t, 2, withFailover)
	for _, h := range over.Hosts() {
		over.fail(h, 3)
	}
	if over.Pick(nil) != nil || over.Failover()[0].Name() != "west" {
		t.Error("with a failover the last one stayed in")
	}
}

func TestHostsThatFailTogetherAreNotAllEjected(t *testing.T) {
	for range 50 {
		w := newWorld(t, 4, nil)
		at := w.at
		var group sync.WaitGroup
		for _, h := range w.Hosts() {
			for range 3 {
				group.Go(func() { h.Failed(at) })
			}
		}
		group.Wait()
		if n := len(w.up()); n != 1 {
			t.Fatalf("%d of 4 are up, want 1", n)
		}
	}
}

func TestEjectAfterOfNoneEjectsNobody(t *testing.T) {
	w := newWorld(t, 2, func(s *Settings, _ *Datacenter) { s.EjectAfter = 0 })
	w.fail(w.Hosts()[0], 100)
	if len(w.up()) != 2 {
		t.Error("ejected")
	}
}

func TestTheGaugeShowsWhoIsUp(t *testing.T) {
	w := newWorld(t, 2, nil)
	h := w.Hosts()[0]
	want := func(when string, value float64) {
		t.Helper()
		if v, ok := w.rig.sample(t, "drover_proxy_upstream_healthy", "east", h.Address()); !ok || v != value {
			t.Errorf("%s: got %v, %v", when, v, ok)
		}
	}
	want("at the start", 1)
	w.fail(h, 3)
	want("ejected", 0)
	w.at = w.at.Add(time.Second)
	w.sweep()
	want("the ejection is over", 1)
	h.checked(false, nil)
	want("sick", 0)
	h.Succeeded()
	want("sick, and a request went well", 0)
	h.checked(true, nil)
	want("healthy", 1)
}
