package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"drover/migrator/internal/move"
)

// number is the value of a gauge or a counter.
func number(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var written dto.Metric
	if err := m.Write(&written); err != nil {
		t.Fatal(err)
	}
	return written.GetGauge().GetValue() + written.GetCounter().GetValue()
}

func TestCountersFollowTheEventsOfOneMoveAndOfTheNext(t *testing.T) {
	m := New(prometheus.NewPedanticRegistry())
	now := time.Now()
	for _, e := range []move.Event{
		{State: move.Copying, Entered: true},
		{State: move.Copying, Rows: 10},
		{State: move.Copying, Note: "waiting: replica 10.0.0.1:3306 is 12s behind, more than 10s; alpha: Threads_running is 300, above 200"},
	} {
		e.Move, e.At = "m-1", now
		m.Event(e)
	}
	if number(t, m.throttled[ReplicaLag]) != 1 || number(t, m.throttled[ThreadsRunning]) != 1 || number(t, m.throttled[History]) != 0 {
		t.Error("the reasons to wait are not those of the note")
	}
	for _, e := range []move.Event{
		{State: move.Copying, Rows: 25},
		{State: move.Tailing, Entered: true, Applied: 3},
		{State: move.Tailing, Applied: 7, Measured: true, Behind: 4, Lag: 2 * time.Second},
		{State: move.Holding, Entered: true, Applied: 7},
		{State: move.Freezing, Entered: true, Applied: 7},
		{State: move.Tailing, Entered: true, Applied: 7},
		{State: move.Freezing, Entered: true, Applied: 9},
		{State: move.Publishing, Entered: true, Applied: 9, Stall: 20 * time.Millisecond},
	} {
		e.Move, e.At = "m-1", now
		m.Event(e)
	}
	m.Event(move.Event{Move: "m-2", State: move.Tailing, Entered: true, Applied: 2, At: now})
	m.Event(move.Event{Move: "m-2", State: move.Tailing, Note: "waiting, try 2: an open transaction has the buckets' rows", At: now})
	for name, c := range map[string]struct {
		metric prometheus.Metric
		want   float64
	}{
		"copied": {m.copied, 25}, "applied": {m.applied, 11}, "tries": {m.tries, 2}, "steps back": {m.stepsBack, 1},
		"lag": {m.lagTime, 2}, "transactions": {m.lagCount, 4}, "tailing": {m.state[move.Tailing], 1}, "publishing": {m.state[move.Publishing], 0},
		"replica lag": {m.throttled[ReplicaLag], 0}, "its waits": {m.waits[ReplicaLag], 1}, "locked": {m.throttled[Locked], 1},
	} {
		if have := number(t, c.metric); have != c.want {
			t.Errorf("%s: %v, want %v", name, have, c.want)
		}
	}
}

func TestANoteOfSomethingElseIsNoReasonToWait(t *testing.T) {
	for note, want := range map[string][]Reason{
		"":                                nil,
		"stepped back, try 1 of 100: lag": nil,
		"waiting: no figures yet":         {Other},
		"waiting: gamma: Innodb_history_list_length is 5, above 4": {History},
	} {
		if have := reasonsOf(note); !slices.Equal(have, want) {
			t.Errorf("%q: %v, want %v", note, have, want)
		}
	}
}

// The page is written by hand: this compares its names with the code's.
func TestThePageListsEveryMetric(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	New(registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range families {
		want = append(want, f.GetName())
	}
	text, err := os.ReadFile("../../../docs/migrator-metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for line := range strings.Lines(string(text)) {
		if found := regexp.MustCompile("^\\| `(drover_migrator_[a-z_]+)").FindStringSubmatch(line); found != nil {
			have = append(have, found[1])
		}
	}
	slices.Sort(have)
	if !slices.Equal(have, want) {
		t.Errorf("docs/migrator-metrics.md lists\n%s\nand the code has\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}
