package main

import (
	"maps"
	"slices"
	"testing"
	"time"

	"drover/bench/internal/events"
	"drover/bench/internal/times"
)

const ms = time.Millisecond

// told is what a migrator tells of a move that steps back once.
const told = `{"move":"m-1","state":"holding","at":"2026-01-01T00:00:01.000Z","entered":true}
{"move":"m-1","state":"holding","at":"2026-01-01T00:00:01.050Z","note":"the gate is closed: the tail is 12 transactions late","entered":false}
{"move":"m-1","state":"freezing","at":"2026-01-01T00:00:01.100Z","entered":true}
{"move":"m-1","state":"tailing","at":"2026-01-01T00:00:01.120Z","note":"stepped back, try 1 of 5: freeze 3 × 15 ms","entered":true}
{"move":"m-1","state":"holding","at":"2026-01-01T00:00:01.200Z","note":"stepped back, try 2 of 5: freeze 3 × 15 ms","entered":true}
{"move":"m-1","state":"freezing","at":"2026-01-01T00:00:01.230Z","entered":true}
{"move":"m-1","state":"publishing","at":"2026-01-01T00:00:01.240Z","entered":true}
{"move":"m-1","state":"publishing","at":"2026-01-01T00:00:01.250Z","note":"write stall 14.7 ms: freeze 1.9 ms, catch up 2.1 ms, publish 5.0 ms","entered":false}
{"move":"m-1","state":"soaking","at":"2026-01-01T00:00:01.300Z","entered":true}
`

func TestThePartsOfTheStallAndTheTimeInEachStateComeFromTheEvents(t *testing.T) {
	parts := map[string]times.Times{}
	addParts(parts, events.Parse([]byte(told)))
	want := map[string]times.Times{
		"in holding":            {100 * ms, 30 * ms},
		"in freezing":           {20 * ms, 10 * ms},
		"in tailing":            {80 * ms},
		"in publishing":         {60 * ms},
		"migrator: write stall": {14700 * time.Microsecond},
		"migrator: freeze":      {1900 * time.Microsecond},
		"migrator: catch up":    {2100 * time.Microsecond},
		"migrator: publish":     {5 * ms},
	}
	if !maps.EqualFunc(parts, want, slices.Equal) {
		t.Errorf("got  %v\nwant %v", parts, want)
	}
	addParts(parts, events.Parse([]byte(told)))
	if n := len(parts["migrator: freeze"]); n != 2 {
		t.Errorf("two moves have %d freezes", n)
	}
	addParts(parts, nil)
}

func TestStepsBackAreCountedByReasonWhateverTheirNumbers(t *testing.T) {
	reasons := map[string]int{}
	stepsBack(reasons, events.Parse([]byte(told)))
	want := map[string]int{
		"stepped back, try N of N: freeze N × N ms":           2,
		"the gate is closed: the tail is N transactions late": 1,
	}
	if !maps.Equal(reasons, want) {
		t.Errorf("got %v, want %v", reasons, want)
	}
}

func TestTheLongestMovesAreToldWithTheMigratorsOwnNote(t *testing.T) {
	note := stallNote(events.Parse([]byte(told)))
	if note != "write stall 14.7 ms: freeze 1.9 ms, catch up 2.1 ms, publish 5.0 ms" {
		t.Errorf("the note is %q", note)
	}
	var m moved
	for n := range 20 {
		m.remember(time.Duration((n*7)%20)*ms, note)
	}
	var got []time.Duration
	for _, l := range m.longest {
		got = append(got, l.stall)
	}
	if want := []time.Duration{19 * ms, 18 * ms, 17 * ms, 16 * ms, 15 * ms}; !slices.Equal(got, want) {
		t.Errorf("the longest are %v, want %v", got, want)
	}
}
