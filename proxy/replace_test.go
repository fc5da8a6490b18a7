package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"drover/bucketmap"
)

const (
	steady       = 200 // answers between two events
	replacements = 2
)

func TestHotRestartLosesNoRequest(t *testing.T) {
	t.Parallel()
	p := build(t)
	serving := p.start("p")
	load := newTraffic(t, p.address)
	load.count(steady)
	for range replacements {
		serving.signal(syscall.SIGUSR2)
		next := p.await("p", serving.pid)
		load.count(steady)
		serving.wait()
		serving = next
		load.count(steady)
	}
	load.end(p.ledger)
	if n := load.refused.Load(); n != 0 {
		t.Errorf("%d connects were refused", n)
	}
	serving.end()
}

// One process ends while another one listens at its address already, then one
// that nobody stands beside, so that clients are refused for a while.
func TestDrainLosesNoRequest(t *testing.T) {
	t.Parallel()
	p := build(t)
	serving := p.start("p0")
	load := newTraffic(t, p.address)
	load.count(steady)
	for i := range replacements {
		next := p.start("p" + strconv.Itoa(i+1))
		serving.signal(syscall.SIGTERM)
		load.count(steady)
		serving.wait()
		serving = next
	}
	load.count(steady)
	if n := load.refused.Load(); n != 0 {
		t.Errorf("%d connects were refused while two processes followed one another", n)
	}
	serving.end()
	serving = p.start("last")
	load.count(steady)
	load.end(p.ledger)
	serving.end()
}

func TestAMapPublishedDuringAHotRestartIsAcknowledgedByWhoeverServes(t *testing.T) {
	t.Parallel()
	p := build(t)
	serving := p.start("p")
	// publish publishes a map and waits for all who acknowledge, as a migrator
	// does it.
	publish := func() bucketmap.Version {
		next, err := bucketmap.Update(t.Context(), p.store, bucketmap.Change{Who: "test"}, func(*bucketmap.Draft) error { return nil })
		if err != nil {
			t.Error(err)
			return 0
		}
		err = waitAcks(t, p.store, func(acks []bucketmap.Ack) bool {
			old := slices.ContainsFunc(acks, func(a bucketmap.Ack) bool { return a.Version < next.Version() })
			return len(acks) > 0 && !old
		})
		if err != nil {
			t.Error(err)
		}
		return next.Version()
	}
	for generation := 1; generation <= replacements; generation++ {
		serving.signal(syscall.SIGUSR2)
		stop, published := make(chan struct{}), make(chan bucketmap.Version)
		go func() {
			for last := publish(); ; last = publish() {
				select {
				case <-stop:
					published <- last
					return
				default:
				}
			}
		}()
		next := p.await("p", serving.pid)
		// Ready, so it serves: it must be in the count already.
		name := "p." + strconv.Itoa(generation)
		if acks := p.acks(); acks[name] == 0 {
			t.Errorf("%s serves and has acknowledged nothing: %v", name, acks)
		}
		serving.wait()
		close(stop)
		last := <-published
		if acks := p.acks(); !maps.Equal(acks, map[string]bucketmap.Version{name: last}) {
			t.Errorf("after map %d: %v, want %s alone", last, acks, name)
		}
		serving = next
	}
	serving.end()
	if acks := p.acks(); len(acks) != 0 {
		t.Errorf("all have ended: %v", acks)
	}
}

// A new process that could not route would answer every request with 503.
func TestAProcessWithoutAMapReplacesNobody(t *testing.T) {
	t.Parallel()
	p := build(t)
	serving := p.start("p")
	serving.rewrite("/map\"", "/elsewhere\"")
	serving.signal(syscall.SIGUSR2)
	r := rig{t: t}
	r.eventually("the new process gives up", func() bool { return strings.Contains(serving.output(), "did not come up") })
	if !strings.Contains(serving.output(), errNoMap.Error()) {
		t.Errorf("it does not say why:\n%s", serving.output())
	}
	load := newTraffic(t, p.address)
	load.count(steady)
	serving.rewrite("/elsewhere\"", "/map\"")
	serving.signal(syscall.SIGUSR2)
	next := p.await("p", serving.pid)
	serving.wait()
	load.count(steady)
	load.end(p.ledger)
	next.end()
}
