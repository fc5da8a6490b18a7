package metrics

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/migrator/internal/move"
	"drover/migrator/internal/throttle"
)

// Reason is why copying or purging waits.
type Reason string

// The reasons.
const (
	ReplicaLag     Reason = "replica_lag"
	ThreadsRunning Reason = "threads_running"
	History        Reason = "history"
	Locked         Reason = "locked" // an open transaction has the rows
	Other          Reason = "other"  // such as figures that cannot be had
)

// Reasons lists them.
func Reasons() []Reason { return []Reason{ReplicaLag, ThreadsRunning, History, Locked, Other} }

// waiting begins the note of an event that says what copying or purging waits
// for, and the words after it are the throttle's.
const waiting = "waiting"

// reasonsOf finds the reasons in a note; none when it is of something else.
func reasonsOf(note string) []Reason {
	text, ok := strings.CutPrefix(note, waiting)
	if !ok {
		return nil
	}
	if strings.HasPrefix(text, ", try ") {
		return []Reason{Locked}
	}
	var found []Reason
	for part := range strings.SplitSeq(strings.TrimPrefix(text, ": "), "; ") {
		switch {
		case strings.HasPrefix(part, "replica "):
			found = append(found, ReplicaLag)
		case strings.Contains(part, throttle.ThreadsRunning):
			found = append(found, ThreadsRunning)
		case strings.Contains(part, throttle.HistoryLength):
			found = append(found, History)
		default:
			found = append(found, Other)
		}
	}
	return found
}

// stallBuckets are in seconds: from what one round trip costs to what a hold
// lasts at most.
func stallBuckets() []float64 {
	return []float64{.005, .01, .02, .03, .05, .075, .1, .15, .2, .3, .5, .75, 1, 2, 3, 5, 10}
}

// Metrics is every metric of the migrator.
type Metrics struct {
	state     map[move.State]prometheus.Gauge
	entered   prometheus.Gauge
	lagCount  prometheus.Gauge
	lagTime   prometheus.Gauge
	measured  prometheus.Gauge
	applied   prometheus.Counter
	copied    prometheus.Counter
	purged    prometheus.Counter
	tries     prometheus.Counter
	stepsBack prometheus.Counter
	stall     prometheus.Histogram
	throttled map[Reason]prometheus.Gauge
	waits     map[Reason]prometheus.Counter

	// Promotions and Replicas are those of whole shards.
	Promotions *Promotions
	Replicas   *Replicas

	mu struct {
		sync.Mutex
		move    bucketmap.MoveID
		current move.State
		applied int64 // as the last event said
		rows    map[move.State]int64
	}
}

// declarer declares metrics in one registry.
type declarer struct{ registry prometheus.Registerer }

func (d declarer) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	d.registry.MustRegister(c)
	return c
}

func (d declarer) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	d.registry.MustRegister(g)
	return g
}

// gauges declares a gauge of one label and makes every value of it.
func gauges[W ~string](d declarer, name, help, label string, words []W) map[W]prometheus.Gauge {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{label})
	d.registry.MustRegister(vec)
	all := make(map[W]prometheus.Gauge, len(words))
	for _, w := range words {
		all[w] = vec.WithLabelValues(string(w))
	}
	return all
}

// closed declares a counter of one label and makes every value of it.
func closed[W ~string](d declarer, name, help, label string, words []W) map[W]prometheus.Counter {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	d.registry.MustRegister(vec)
	all := make(map[W]prometheus.Counter, len(words))
	for _, w := range words {
		all[w] = vec.WithLabelValues(string(w))
	}
	return all
}

func (d declarer) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	d.registry.MustRegister(h)
	return h
}

// New declares the metrics in registry.
func New(registry prometheus.Registerer) *Metrics {
	d := declarer{registry}
	m := &Metrics{
		state: gauges(d, "drover_migrator_state", "1 for the state that the move is in, 0 for every other.", "state", move.States()),
		entered: d.gauge("drover_migrator_state_entered_timestamp_seconds",
			"When the move came into its state."),
		lagCount: d.gauge("drover_migrator_tail_lag_transactions",
			"Transactions that the tail has not applied yet; while a move soaks it is the reverse tail."),
		lagTime: d.gauge("drover_migrator_tail_lag_seconds",
			"Age of the oldest transaction that the tail knows of and has not applied, to a second; 0 when there is none."),
		measured: d.gauge("drover_migrator_tail_measured_timestamp_seconds",
			"When the tail's lag was last measured: every second while a move soaks. An old one says that nobody knows the lag."),
		applied:   d.counter("drover_migrator_applied_rows_total", "Row changes that the tail has applied."),
		copied:    d.counter("drover_migrator_copied_rows_total", "Rows copied."),
		purged:    d.counter("drover_migrator_purged_rows_total", "Rows removed from a home that is over, or from the target of a move that was given up."),
		tries:     d.counter("drover_migrator_freeze_tries_total", "Times that a freeze was tried."),
		stepsBack: d.counter("drover_migrator_steps_back_total", "Times that a move went back from holding or freezing."),
		stall: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "drover_migrator_write_stall_seconds",
			Help: "For how long the buckets could not be written when they changed their home.", Buckets: stallBuckets()}),
		throttled: gauges(d, "drover_migrator_throttled", "1 while copying or purging waits, by reason.", "reason", Reasons()),
		waits: closed(d, "drover_migrator_throttle_waits_total", "Times that copying or purging began to wait, by reason.",
			"reason", Reasons()),
		Promotions: newPromotions(d), Replicas: newReplicas(d),
	}
	registry.MustRegister(m.stall)
	m.mu.rows = map[move.State]int64{}
	return m
}

// Event takes one event of the engine.
func (m *Metrics) Event(e move.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Move != m.mu.move {
		m.mu.move, m.mu.current, m.mu.applied = e.Move, "", 0
		clear(m.mu.rows)
	}
	m.enter(e)
	m.wait(e)
	switch e.State {
	case move.Copying:
		m.grow(m.copied, e)
	case move.Done, move.Aborting:
		m.grow(m.purged, e)
	default:
	}
	if e.Applied < m.mu.applied { // another tail
		m.mu.applied = 0
	}
	m.applied.Add(float64(e.Applied - m.mu.applied))
	m.mu.applied = e.Applied
	if e.Measured {
		m.lagCount.Set(float64(e.Behind))
		m.lagTime.Set(e.Lag.Seconds())
		m.measured.Set(seconds(e.At))
	}
	if e.Stall > 0 {
		m.stall.Observe(e.Stall.Seconds())
	}
}

// enter notes the state, which an event may be the first to tell of.
func (m *Metrics) enter(e move.Event) {
	before := m.mu.current
	if e.State == before && !e.Entered {
		return
	}
	m.mu.current = e.State
	for s, g := range m.state {
		g.Set(map[bool]float64{true: 1}[s == e.State])
	}
	m.entered.Set(seconds(e.At))
	delete(m.mu.rows, e.State)
	switch {
	case e.State == move.Freezing && e.Entered:
		m.tries.Inc()
	case e.State == move.Tailing && (before == move.Holding || before == move.Freezing):
		m.stepsBack.Inc()
	}
}

// wait notes what copying or purging waits for. The throttle says when a wait
// begins; rows or another state say that it is over.
func (m *Metrics) wait(e move.Event) {
	reasons := reasonsOf(e.Note)
	if len(reasons) == 0 && e.Rows == 0 && !e.Entered {
		return
	}
	for _, g := range m.throttled {
		g.Set(0)
	}
	for _, r := range reasons {
		m.throttled[r].Set(1)
		m.waits[r].Inc()
	}
}

// grow adds the rows that came since the event before. A copy that is resumed
// begins with the rows of before, which the first event brings.
func (m *Metrics) grow(c prometheus.Counter, e move.Event) {
	if e.Rows == 0 {
		return
	}
	c.Add(float64(max(0, e.Rows-m.mu.rows[e.State])))
	m.mu.rows[e.State] = e.Rows
}

func seconds(at time.Time) float64 { return float64(at.UnixMicro()) / 1e6 }
