package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/migrator/internal/promote"
)

// LossKnown is what can be known of the transactions that a failover loses.
type LossKnown string

// What can be known of a loss.
const (
	LossUnknown  LossKnown = "unknown"   // those that the primary had not sent; nobody can count them
	LossSemiSync LossKnown = "semi_sync" // none, if the primary waited for the replica until its end
)

// LossesKnown lists them.
func LossesKnown() []LossKnown { return []LossKnown{LossUnknown, LossSemiSync} }

// Promotions is every metric of promotions and failovers. A command may run
// several promotions at once; it is a promote.Observer for all of them.
type Promotions struct {
	count     map[promote.State]prometheus.Gauge
	entered   map[promote.State]prometheus.Gauge
	lag       prometheus.Gauge
	measured  prometheus.Gauge
	tries     prometheus.Counter
	stepsBack map[promote.Setback]prometheus.Counter
	stalls    map[promote.StallEnd]prometheus.Observer
	hooks     map[hookKey]prometheus.Observer
	failovers map[LossKnown]prometheus.Counter
	unapplied prometheus.Gauge
	lost      prometheus.Gauge
	compared  prometheus.Gauge

	mu struct {
		sync.Mutex
		all map[bucketmap.MoveID]*promotion // one a shard at most
	}
}

type hookKey struct {
	at      promote.HookPoint
	outcome promote.HookOutcome
}

// promotion is where one promotion is.
type promotion struct {
	state   promote.State
	entered time.Time
	behind  uint64
}

// hookBuckets are in seconds: from a program that only writes a line to the
// default of promotion.hooks' timeouts and beyond.
func hookBuckets() []float64 { return []float64{.01, .03, .1, .3, 1, 3, 10, 30, 60, 300} }

func newPromotions(d declarer) *Promotions {
	m := &Promotions{
		count: gauges(d, "drover_migrator_promotions", "Promotions of this command, by the state that they are in.", "state", promote.States()),
		entered: gauges(d, "drover_migrator_promotion_state_entered_timestamp_seconds",
			"When the promotion that has been in the state for longest came into it; 0 when none is.", "state", promote.States()),
		lag: d.gauge("drover_migrator_promotion_replica_lag_transactions",
			"Transactions that a replica has not applied yet, of the promotion that is furthest behind; once reversing it is the old primary."),
		measured: d.gauge("drover_migrator_promotion_replica_measured_timestamp_seconds",
			"When a replica's lag was last measured; 0 is never."),
		tries: d.counter("drover_migrator_promotion_freeze_tries_total", "Times that a shard's freeze was tried."),
		stepsBack: closed(d, "drover_migrator_promotion_steps_back_total", "Times that a promotion went back from holding or freezing, by why.",
			"reason", promote.Setbacks()),
		stalls: map[promote.StallEnd]prometheus.Observer{}, hooks: map[hookKey]prometheus.Observer{},
		failovers: closed(d, "drover_migrator_failovers_total", "Replicas of lost primaries that were made primaries, by what is known of the loss.",
			"loss", LossesKnown()),
		unapplied: d.gauge("drover_migrator_failover_unapplied_transactions",
			"Transactions that the replica of a lost primary had received and not applied when the failover began; they are applied first."),
		lost: d.gauge("drover_migrator_failover_lost_transactions",
			"Transactions that a failover's old primary, which is back, has alone; 0 also when nobody has looked yet."),
		compared: d.gauge("drover_migrator_failover_compared_timestamp_seconds",
			"When a failover's old primary was last compared with the new one; 0 is never: then nobody knows what was lost."),
	}
	stalls := d.histograms("drover_migrator_promotion_write_stall_seconds",
		"For how long a shard could not be written, from its freeze to the new map, or to the step back.", stallBuckets(), "end")
	for _, end := range promote.StallEnds() {
		m.stalls[end] = stalls.WithLabelValues(string(end))
	}
	hooks := d.histograms("drover_migrator_promotion_hook_seconds", "Time that hooks took, by their point and how they ended.",
		hookBuckets(), "at", "outcome")
	for _, at := range promote.HookPoints() {
		for _, o := range promote.HookOutcomes() {
			m.hooks[hookKey{at, o}] = hooks.WithLabelValues(string(at), string(o))
		}
	}
	m.mu.all = map[bucketmap.MoveID]*promotion{}
	return m
}

// Event takes one event of the engine.
func (m *Promotions) Event(e promote.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.mu.all[e.Move]
	if p == nil {
		p = &promotion{}
		m.mu.all[e.Move] = p
	}
	if e.Entered || p.state != e.State {
		p.state, p.entered = e.State, e.At
		if e.State == promote.Freezing {
			m.tries.Inc()
		}
		if e.State == promote.Holding || e.State == promote.Done { // it has caught up
			p.behind = 0
			m.measured.Set(seconds(e.At))
		}
	}
	if e.Behind != 0 {
		p.behind = e.Behind
		m.measured.Set(seconds(e.At))
	}
	m.show()
}

// show sets the gauges of all promotions.
func (m *Promotions) show() {
	count, first, lag := map[promote.State]int{}, map[promote.State]time.Time{}, uint64(0)
	for _, p := range m.mu.all {
		count[p.state]++
		if at, ok := first[p.state]; !ok || p.entered.Before(at) {
			first[p.state] = p.entered
		}
		if p.state != promote.Aborted {
			lag = max(lag, p.behind)
		}
	}
	for _, s := range promote.States() {
		m.count[s].Set(float64(count[s]))
		at := 0.
		if count[s] != 0 {
			at = seconds(first[s])
		}
		m.entered[s].Set(at)
	}
	m.lag.Set(float64(lag))
}

// SteppedBack counts a step back.
func (m *Promotions) SteppedBack(s promote.Setback) { m.stepsBack[s].Inc() }

// Stalled counts a time in which a shard could not be written.
func (m *Promotions) Stalled(end promote.StallEnd, took time.Duration) {
	m.stalls[end].Observe(took.Seconds())
}

// Hooked counts a hook.
func (m *Promotions) Hooked(at promote.HookPoint, outcome promote.HookOutcome, took time.Duration) {
	m.hooks[hookKey{at, outcome}].Observe(took.Seconds())
}

// Compared says how many transactions an old primary has alone.
func (m *Promotions) Compared(transactions uint64) {
	m.lost.Set(float64(transactions))
	m.compared.Set(seconds(time.Now()))
}

// FailedOver counts a failover: what is known of its loss, and how many
// transactions the replica had still to apply.
func (m *Promotions) FailedOver(known LossKnown, unapplied uint64) {
	m.failovers[known].Inc()
	m.unapplied.Set(float64(unapplied))
}
