package campaign

import (
	"github.com/prometheus/client_golang/prometheus"

	"drover/migrator/internal/slo"
)

// Metrics is every metric of a campaign. A nil *Metrics takes everything and
// shows nothing.
type Metrics struct {
	decisions *prometheus.CounterVec
	commands  *prometheus.CounterVec
	state     *prometheus.GaugeVec
	level     *prometheus.GaugeVec
	steps     *prometheus.GaugeVec
	rate      prometheus.Gauge
	users     prometheus.Gauge
	moved     prometheus.Gauge
	failed    prometheus.Counter
	took      prometheus.Histogram
	judged    prometheus.Gauge
}

// NewMetrics declares the metrics in registry.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		registry.MustRegister(g)
		return g
	}
	gauge := func(name, help string) prometheus.Gauge { return gauges(name, help).WithLabelValues() }
	m := &Metrics{
		decisions: counters("drover_campaign_decisions_total", "Decisions of the pacer, one a look, by what is done and why.", "action", "cause"),
		commands:  counters("drover_campaign_commands_total", "Orders of operators that the run has taken in.", "command"),
		state:     gauges("drover_campaign_decision", "1 for what the last decision was, 0 for every other.", "action", "cause"),
		level:     gauges("drover_campaign_verdict", "1 for the level of the last verdict, as the gate takes it, 0 for every other.", "level"),
		steps:     gauges("drover_campaign_steps", "Steps by state.", "state"),
		rate:      gauge("drover_campaign_rate_users_per_hour", "How fast users may move."),
		users:     gauge("drover_campaign_users", "Users of the whole plan; those of the whitelist are among them."),
		moved:     gauge("drover_campaign_moved_users", "Users whose step has moved them, and who are not back."),
		failed:    counters("drover_campaign_failures_total", "Steps that failed, on the way there or back.").WithLabelValues(),
		judged:    gauge("drover_campaign_verdict_timestamp_seconds", "When the last verdict was asked for."),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "drover_campaign_step_seconds",
			Help: "How long a step took from its beginning to its end, without the bake.", Buckets: prometheus.ExponentialBuckets(0.5, 2, 16)}),
	}
	registry.MustRegister(m.took)
	for _, c := range Commands() {
		m.commands.WithLabelValues(string(c))
	}
	for _, l := range levels() {
		m.level.WithLabelValues(string(l))
	}
	for _, s := range StepStates() {
		m.steps.WithLabelValues(string(s))
	}
	for _, a := range Actions() {
		for _, c := range Causes() {
			m.decisions.WithLabelValues(string(a), string(c))
			m.state.WithLabelValues(string(a), string(c))
		}
	}
	return m
}

func levels() []slo.Level { return []slo.Level{slo.Healthy, slo.Unhealthy, slo.Burning, slo.Unknown} }

// take takes a line of the journal, and what all of them add up to.
func (m *Metrics) take(e Entry, s *State) {
	if m == nil {
		return
	}
	m.rate.Set(s.rate)
	for _, state := range StepStates() {
		m.steps.WithLabelValues(string(state)).Set(float64(s.count(state)))
	}
	users, _ := s.users()
	m.users.Set(float64(users.All))
	m.moved.Set(float64(users.Moved))
	if e.Kind != EntryStep {
		return
	}
	if e.Error != "" {
		m.failed.Inc()
	}
	if e.Took > 0 {
		m.took.Observe(e.Took.Seconds())
	}
}

// users are those of the plan, and of the whitelist apart where they are among
// them; see Plan.Users.
func (s *State) users() (users, whitelisted Count) {
	for _, t := range s.steps {
		to := &users
		if !s.plan.counts(t.plan.Kind()) {
			to = &whitelisted
		}
		to.All += t.plan.Users
		if t.state == Baking || t.state == Passed || t.state == Returning {
			to.Moved += t.plan.Users
		}
	}
	return users, whitelisted
}

func (m *Metrics) decided(d Decision) {
	if m == nil {
		return
	}
	m.decisions.WithLabelValues(string(d.Action), string(d.Cause)).Inc()
	m.state.Reset()
	for _, a := range Actions() {
		for _, c := range Causes() {
			m.state.WithLabelValues(string(a), string(c))
		}
	}
	m.state.WithLabelValues(string(d.Action), string(d.Cause)).Set(1)
}

func (m *Metrics) verdict(v verdict) {
	if m == nil {
		return
	}
	for _, l := range levels() {
		m.level.WithLabelValues(string(l)).Set(map[bool]float64{true: 1}[l == v.level])
	}
	m.judged.Set(float64(v.at.UnixMilli()) / 1000)
}

func (m *Metrics) command(c Command) {
	if m != nil {
		m.commands.WithLabelValues(string(c)).Inc()
	}
}
