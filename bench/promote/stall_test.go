package main

import (
	"maps"
	"testing"
	"time"

	"drover/bench/internal/events"
)

const ms = time.Millisecond

func at(n int) time.Time { return time.Unix(1, 0).Add(time.Duration(n) * ms) }

// wrote is a write that a server took, between two milliseconds.
func wrote(server uint32, began, ended int) entry {
	return entry{outcome: acknowledged, server: server, began: at(began), ended: at(ended)}
}

func TestAStallIsFromTheLastAcknowledgementAtTheOldPrimaryToTheFirstAtTheNew(t *testing.T) {
	there := promotion{from: 1, to: 2, target: cloud, began: at(10), ended: at(100)}
	back := promotion{from: 2, to: 1, target: legacy, began: at(200), ended: at(300)}
	entries := []entry{
		wrote(2, 290, 295), // by the old primary, behind the first of the new one: it began after that
		wrote(1, 1, 2), wrote(1, 3, 30), wrote(1, 4, 20), wrote(2, 35, 70), wrote(2, 80, 90),
		wrote(2, 110, 120), wrote(2, 211, 230), wrote(1, 230, 280), wrote(1, 290, 310),
		{outcome: unknown, server: 1, began: at(40), ended: at(60)},
	}
	all := crossings([]promotion{there, back}, entries)
	for i, want := range []struct {
		stall, silence, longest time.Duration
		stale                   int
	}{{40 * ms, 40 * ms, 35 * ms, 0}, {0, 110 * ms, 50 * ms, 1}} {
		stall, ok := all[i].stall()
		if !ok || stall != want.stall || all[i].silence != want.silence || all[i].longest != want.longest || all[i].stale != want.stale {
			t.Errorf("promotion %d: %s, %v, %+v; want %+v", i, stall, ok, all[i], want)
		}
	}
}

func TestAStallWithoutAWriteOnBothSidesIsNotKnown(t *testing.T) {
	p := []promotion{{from: 1, to: 2, began: at(10), ended: at(100)}}
	for name, entries := range map[string][]entry{
		"none": nil, "none at the new": {wrote(1, 20, 30)}, "none at the old": {wrote(2, 20, 30)},
	} {
		if stall, ok := crossings(p, entries)[0].stall(); ok {
			t.Errorf("%s: %s", name, stall)
		}
	}
}

// story is what a migrator tells of a promotion that steps back once.
const story = `{"state":"holding","at":"1970-01-01T00:00:01.010Z","entered":true}
{"state":"holding","at":"1970-01-01T00:00:01.020Z","note":"stepped back, try 1 of 100: an open transaction writes on the shard","entered":false}
{"state":"catching_up","at":"1970-01-01T00:00:01.030Z","entered":true}
{"state":"holding","at":"1970-01-01T00:00:01.040Z","entered":true}
{"state":"freezing","at":"1970-01-01T00:00:01.050Z","entered":true}
{"state":"switching","at":"1970-01-01T00:00:01.060Z","entered":true}
{"state":"publishing","at":"1970-01-01T00:00:01.080Z","entered":true}
{"state":"reversing","at":"1970-01-01T00:00:01.110Z","entered":true}
`

func TestThePartsOfAStallAreItsOwnAndMakeAllOfIt(t *testing.T) {
	told := events.Parse([]byte(story))
	for _, c := range []struct {
		last, first int
		want        [5]time.Duration
	}{
		{45, 120, [5]time.Duration{5 * ms, 10 * ms, 20 * ms, 30 * ms, 10 * ms}},
		{55, 120, [5]time.Duration{0, 5 * ms, 20 * ms, 30 * ms, 10 * ms}},
		{45, 100, [5]time.Duration{5 * ms, 10 * ms, 20 * ms, 20 * ms, 0}}, // before the event of the publication
		{45, 45, [5]time.Duration{}},
	} {
		p := newParts()
		p.add(crossing{last: at(c.last), first: at(c.first)}, entered(told))
		var sum time.Duration
		for i, name := range partNames {
			got := *p[name]
			if len(got) != 1 || got[0] != c.want[i] {
				t.Errorf("from %d to %d: %s is %v, want %s", c.last, c.first, name, got, c.want[i])
				continue
			}
			sum += got[0]
		}
		if sum != time.Duration(c.first-c.last)*ms {
			t.Errorf("from %d to %d: the parts make %s", c.last, c.first, sum)
		}
	}
}

func TestStepsBackAreCountedByReasonWhateverTheirNumbers(t *testing.T) {
	reasons := map[string]int{}
	stepsBack(reasons, events.Parse([]byte(story)))
	if want := map[string]int{"stepped back, try N of N: an open transaction writes on the shard": 1}; !maps.Equal(reasons, want) {
		t.Errorf("got %v", reasons)
	}
}

func TestAStayIsAllVisitsToAState(t *testing.T) {
	got := stays(events.Parse([]byte(story)), at(0), at(115))
	want := map[string]time.Duration{"checks": 10 * ms, "holding": 30 * ms, "catching_up": 10 * ms, "freezing": 10 * ms,
		"switching": 20 * ms, "publishing": 30 * ms, "reversing": 5 * ms}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
