package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/migrator/internal/promote"
	"drover/migrator/internal/replicate"
)

func TestTheGaugesAreOfAllPromotionsOfACommand(t *testing.T) {
	m := New(prometheus.NewPedanticRegistry()).Promotions
	now := time.Unix(1000, 0)
	for i, e := range []promote.Event{
		{Move: "p-1", State: promote.CatchingUp, Entered: true},
		{Move: "p-2", State: promote.CatchingUp, Entered: true},
		{Move: "p-1", State: promote.CatchingUp, Behind: 7},
		{Move: "p-2", State: promote.CatchingUp, Behind: 5},
		{Move: "p-3", State: promote.Freezing, Entered: true},
		{Move: "p-3", State: promote.Freezing, Note: "a hook said so"},
		{Move: "p-4", State: promote.Done, Entered: true},
	} {
		e.At = now.Add(time.Duration(i) * time.Second)
		m.Event(e)
	}
	for what, c := range map[string]struct{ have, want float64 }{
		"catching up":       {number(t, m.count[promote.CatchingUp]), 2},
		"freezing":          {number(t, m.count[promote.Freezing]), 1},
		"done":              {number(t, m.count[promote.Done]), 1},
		"aborted":           {number(t, m.count[promote.Aborted]), 0},
		"the longest there": {number(t, m.entered[promote.CatchingUp]), 1000},
		"nobody there":      {number(t, m.entered[promote.Reversing]), 0},
		"the furthest":      {number(t, m.lag), 7},
		"measured":          {number(t, m.measured), 1006},
		"tries":             {number(t, m.tries), 1},
	} {
		if c.have != c.want {
			t.Errorf("%s: %v, want %v", what, c.have, c.want)
		}
	}
	m.Event(promote.Event{Move: "p-1", State: promote.Aborted, Entered: true, At: now.Add(time.Minute)})
	m.Event(promote.Event{Move: "p-2", State: promote.Holding, Entered: true, At: now.Add(time.Minute)})
	if have := number(t, m.lag); have != 0 {
		t.Errorf("nobody is behind any more, and the lag is %v", have)
	}
	if have := number(t, m.entered[promote.CatchingUp]); have != 0 {
		t.Errorf("nobody catches up any more, and the first has since %v", have)
	}
}

func TestAProofThatBeginsAnewCountsOnAndWordsAreNoLag(t *testing.T) {
	m := New(prometheus.NewPedanticRegistry()).Replicas
	for _, e := range []replicate.Event{
		{State: replicate.Copying, Entered: true},
		{State: replicate.Copying, Rows: 20},
		{State: replicate.Copying, Rows: 10}, // of another session, told late
		{State: replicate.Copying, Note: "waiting: alpha: Threads_running is 300, above 200"},
		{State: replicate.Following, Entered: true},
		{State: replicate.Following, Behind: 9},
		{State: replicate.Following, Note: "something else"},
	} {
		m.Event(e)
	}
	if number(t, m.copied) != 20 || number(t, m.waits) != 1 || number(t, m.lag) != 9 {
		t.Errorf("copied %v, waits %v, lag %v", number(t, m.copied), number(t, m.waits), number(t, m.lag))
	}
	for _, rows := range []int64{0, 100, 150, 30} { // a definition changed
		m.Event(replicate.Event{State: replicate.Proving, Rows: rows})
	}
	m.Event(replicate.Event{State: replicate.Proving, Rows: 50})
	if number(t, m.compared) != 170 || number(t, m.lag) != 0 || number(t, m.state[replicate.Proving]) != 1 || number(t, m.state[replicate.Copying]) != 0 {
		t.Errorf("compared %v, lag %v", number(t, m.compared), number(t, m.lag))
	}
	m.Proven(&replicate.Result{Differ: make([]replicate.Difference, 3)}, time.Unix(5, 0))
	if number(t, m.differences) != 3 || number(t, m.proven) != 5 {
		t.Errorf("%v differences at %v", number(t, m.differences), number(t, m.proven))
	}
}
