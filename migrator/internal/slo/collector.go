package slo

import (
	prom "github.com/prometheus/client_golang/prometheus"
)

// The metrics of the last verdict. Labels come from the configuration, the map
// and closed sets.
const (
	levelMetric     = "drover_migrator_slo_level"
	burnMetric      = "drover_migrator_slo_burn"
	eventsMetric    = "drover_migrator_slo_events"
	evaluatedMetric = "drover_migrator_slo_evaluated_timestamp_seconds"
	looksMetric     = "drover_migrator_slo_evaluations_total"
)

type descs struct{ level, burn, events, evaluated, looks *prom.Desc }

func newDescs() descs {
	labels := []string{"objective", "datacenter", "cohort", "window", "severity"}
	return descs{
		level: prom.NewDesc(levelMetric, "1 for what the objectives said last, 0 for every other level.", []string{"level"}, nil),
		burn: prom.NewDesc(burnMetric,
			"How many times faster than allowed the error budget is spent in a window; missing where it is not known.", labels, nil),
		events:    prom.NewDesc(eventsMetric, "Requests in a window.", labels, nil),
		evaluated: prom.NewDesc(evaluatedMetric, "When the objectives were last looked at; 0 is never.", nil, nil),
		looks:     prom.NewDesc(looksMetric, "Looks at the objectives, by what they said.", []string{"level"}, nil),
	}
}

// Describe is prometheus.Collector's.
func (e *Evaluator) Describe(out chan<- *prom.Desc) {
	d := newDescs()
	for _, desc := range []*prom.Desc{d.level, d.burn, d.events, d.evaluated, d.looks} {
		out <- desc
	}
}

// Collect is prometheus.Collector's. It looks at no source.
func (e *Evaluator) Collect(out chan<- prom.Metric) {
	d := newDescs()
	e.mu.Lock()
	v := e.mu.last
	looks := map[Level]int{}
	for level, n := range e.mu.looks {
		looks[level] = n
	}
	e.mu.Unlock()
	gauge := func(desc *prom.Desc, value float64, labels ...string) {
		out <- prom.MustNewConstMetric(desc, prom.GaugeValue, value, labels...)
	}
	for _, level := range Levels() {
		is := 0.0
		if level == v.Level {
			is = 1
		}
		gauge(d.level, is, string(level))
		out <- prom.MustNewConstMetric(d.looks, prom.CounterValue, float64(looks[level]), string(level))
	}
	at := 0.0
	if !v.At.IsZero() {
		at = float64(v.At.UnixMilli()) / 1000
	}
	gauge(d.evaluated, at)
	type series struct {
		objective, datacenter, cohort string
		window                        string
		severity                      Severity
	}
	seen := map[series]bool{}
	for _, f := range v.Figures {
		cohort := f.Cohort
		if cohort == "" {
			cohort = string(All)
		}
		s := series{f.Objective, f.Datacenter, cohort, windowName(f.Window), f.Severity}
		if seen[s] { // two pairs may share a window
			continue
		}
		seen[s] = true
		gauge(d.events, f.Events, s.objective, s.datacenter, s.cohort, s.window, string(s.severity))
		if f.Level != Unknown {
			gauge(d.burn, f.Burn, s.objective, s.datacenter, s.cohort, s.window, string(s.severity))
		}
	}
}
