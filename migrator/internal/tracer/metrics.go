package tracer

import "github.com/prometheus/client_golang/prometheus"

// collector is every metric of the tracers.
type collector struct {
	tracer  *Tracer
	results *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	right   *prometheus.GaugeVec
	version *prometheus.GaugeVec

	users, untraced, published, read *prometheus.Desc
}

// durations are in seconds: from a request on loopback to the longest hold.
func durations() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
}

func newCollector(t *Tracer) *collector {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"proxy"})
	}
	c := &collector{tracer: t,
		results: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "drover_tracer_results_total",
			Help: "Requests of tracers, by what became of them."}, []string{"proxy", "kind", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "drover_tracer_request_seconds",
			Help: "How long tracers' requests took that were answered as they should be.", Buckets: durations()}, []string{"proxy", "kind"}),
		right:   gauge("drover_tracer_last_right_timestamp_seconds", "When a tracer's request through the proxy was last right; 0 when none was."),
		version: gauge("drover_tracer_proxy_map_version", "The version of the map by which the proxy sent a tracer last; 0 when it is not known."),
		users:   prometheus.NewDesc("drover_tracer_users", "Tracers, by the datacenter that is theirs now.", []string{"datacenter"}, nil),
		untraced: prometheus.NewDesc("drover_tracer_untraced",
			"Shards with users and live proxies that no tracer goes to.", nil, nil),
		published: prometheus.NewDesc("drover_tracer_published_map_version", "The version of the published map.", nil, nil),
		read: prometheus.NewDesc("drover_tracer_map_readable",
			"1 while the published map and the proxies' acknowledgements can be read, else 0.", nil, nil),
	}
	for _, p := range t.doors { // a series that is not there is no zero
		c.right.WithLabelValues(p.Name)
		c.version.WithLabelValues(p.Name)
		for _, kind := range []string{KindWrite, KindRead} {
			for _, o := range Outcomes() {
				c.results.WithLabelValues(p.Name, kind, string(o))
			}
		}
	}
	return c
}

// Collector is for a registry. The tracer has started before it is registered.
func (t *Tracer) Collector() prometheus.Collector { return t.metrics }

func (c *collector) observe(r Result) {
	c.results.WithLabelValues(r.Proxy, r.Kind, string(r.Outcome)).Inc()
	if r.Outcome != Failed {
		c.seconds.WithLabelValues(r.Proxy, r.Kind).Observe(r.Times.TotalMS / 1000)
	}
	if r.Outcome == Right {
		c.right.WithLabelValues(r.Proxy).Set(float64(r.At.UnixMilli()) / 1000)
	}
	if r.Sent.Version != 0 {
		c.version.WithLabelValues(r.Proxy).Set(float64(r.Sent.Version))
	}
}

func (c *collector) vectors() []prometheus.Collector {
	return []prometheus.Collector{c.results, c.seconds, c.right, c.version}
}

// Describe is prometheus.Collector's.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, v := range c.vectors() {
		v.Describe(out)
	}
	for _, d := range []*prometheus.Desc{c.users, c.untraced, c.published, c.read} {
		out <- d
	}
}

// Collect is prometheus.Collector's.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, v := range c.vectors() {
		v.Collect(out)
	}
	s := c.tracer.Status()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for dc, n := range c.tracer.view.population() {
		gauge(c.users, float64(n), string(dc))
	}
	gauge(c.untraced, float64(len(s.Untraced)))
	gauge(c.published, float64(s.Version))
	readable := 1.0
	if s.Error != "" {
		readable = 0
	}
	gauge(c.read, readable)
}
