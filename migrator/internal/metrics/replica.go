package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/migrator/internal/replicate"
)

// replicaStates lists the states of making a replica in their order.
func replicaStates() []replicate.State {
	return []replicate.State{replicate.Copying, replicate.Copied, replicate.Following, replicate.Proving, replicate.Done}
}

// Replicas is every metric of making and proving a replica. A command makes one.
type Replicas struct {
	state       map[replicate.State]prometheus.Gauge
	entered     prometheus.Gauge
	lag         prometheus.Gauge
	copied      prometheus.Counter
	compared    prometheus.Counter
	differences prometheus.Gauge
	waits       prometheus.Counter
	proven      prometheus.Gauge

	mu struct {
		sync.Mutex
		current replicate.State
		rows    int64 // in this state, as the last event said
	}
}

func newReplicas(d declarer) *Replicas {
	return &Replicas{
		state: gauges(d, "drover_migrator_replica_state", "1 for the state that the replica being made is in, 0 for every other.",
			"state", replicaStates()),
		entered: d.gauge("drover_migrator_replica_state_entered_timestamp_seconds", "When the replica being made came into its state."),
		lag: d.gauge("drover_migrator_replica_lag_transactions",
			"Transactions that the replica being made has not applied yet, while it catches up."),
		copied:   d.counter("drover_migrator_replica_copied_rows_total", "Rows copied to a replica."),
		compared: d.counter("drover_migrator_replica_compared_rows_total", "Rows compared between a primary and its replica."),
		differences: d.gauge("drover_migrator_replica_differences",
			"Rows and definitions in which a replica differs from its primary, as the last proof found; 100 is 100 or more."),
		waits:  d.counter("drover_migrator_replica_throttle_waits_total", "Times that copying or comparing began to wait for the primary."),
		proven: d.gauge("drover_migrator_replica_proven_timestamp_seconds", "When a proof last ended, equal or not; 0 is never."),
	}
}

// Event takes one event of the engine.
func (m *Replicas) Event(e replicate.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Entered || e.State != m.mu.current {
		m.mu.current, m.mu.rows = e.State, 0
		for s, g := range m.state {
			g.Set(map[bool]float64{true: 1}[s == e.State])
		}
		m.entered.Set(seconds(e.At))
	}
	if e.Note != "" {
		if len(reasonsOf(e.Note)) != 0 {
			m.waits.Inc()
		}
		return
	}
	m.lag.Set(float64(e.Behind))
	m.grow(e)
}

// grow adds the rows that came since the event before. The copy's sessions may
// tell theirs out of order; a proof may begin anew, from none.
func (m *Replicas) grow(e replicate.Event) {
	more := float64(max(0, e.Rows-m.mu.rows))
	switch e.State {
	case replicate.Copying:
		m.copied.Add(more)
		m.mu.rows = max(m.mu.rows, e.Rows)
	case replicate.Proving:
		m.compared.Add(more)
		m.mu.rows = e.Rows
	case replicate.Copied, replicate.Following, replicate.Done:
	}
}

// Proven takes what a proof found, when it ended.
func (m *Replicas) Proven(r *replicate.Result, at time.Time) {
	m.differences.Set(float64(len(r.Differ)))
	m.proven.Set(seconds(at))
}
