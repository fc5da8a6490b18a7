// Package metrics declares every metric of the edge.
//
// New registers them once; they are passed to who counts. Labels come from
// closed sets (the configured datacenters, the reasons, the states, the
// outcomes): never a user, a bucket or a move. Everything may be used by any
// number of goroutines.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/proxy/internal/passport"
)

// The label values that are not another package's words.
const (
	// Unrouted is the datacenter of a request for which none was decided.
	Unrouted = "none"
	// ReasonFailover is the reason of a request that went elsewhere than
	// decided because the datacenter could not be reached.
	ReasonFailover = "failover"
)

// Outcome is how a re-route went on.
type Outcome string

// The outcomes of re-routes.
const (
	RerouteNewMap    Outcome = "new_map"        // sent again by a map that says something else of the bucket
	RerouteSameMap   Outcome = "same_map"       // sent again by the same map, after a wait
	RerouteBody      Outcome = "not_replayable" // passed on: the body is not kept
	RerouteExhausted Outcome = "exhausted"      // answered 503: still 421 after the last try
	RerouteServed    Outcome = "served"         // the request was answered after all
)

func rerouteOutcomes() []Outcome {
	return []Outcome{RerouteNewMap, RerouteSameMap, RerouteBody, RerouteExhausted, RerouteServed}
}

// Metrics is every metric of the edge.
type Metrics struct {
	requests       *prometheus.CounterVec
	responses      *prometheus.CounterVec
	ends           *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec
	stageSeconds   *prometheus.HistogramVec

	Holds           *prometheus.CounterVec // outcome
	HoldEntered     prometheus.Counter
	Held            prometheus.Gauge
	HeldBytes       prometheus.Gauge
	ReactiveHolds   prometheus.Counter
	MapVersion      prometheus.Gauge
	MapRefused      prometheus.Counter
	MapSwapSeconds  prometheus.Histogram
	AckErrors       prometheus.Counter
	reroutes        map[Outcome]prometheus.Counter
	UpstreamErrors  *prometheus.CounterVec // datacenter, kind
	Retries         *prometheus.CounterVec // datacenter
	Failovers       *prometheus.CounterVec // from, to
	UpstreamHealthy *prometheus.GaugeVec   // datacenter, upstream
	UpstreamConns   *prometheus.GaugeVec   // datacenter
	Panics          prometheus.Counter
	ClientConns     prometheus.Gauge
	Draining        prometheus.Gauge

	byDatacenter map[bucketmap.Datacenter]*datacenterMetrics
}

type datacenterMetrics struct {
	requests  map[string]prometheus.Counter // by reason
	responses [6]prometheus.Counter         // by class; 0 is none
	request   prometheus.Observer
	stages    []prometheus.Observer // by state
}

// requestBuckets go from a millisecond to the default bound of first_byte.
var requestBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// stageBuckets begin lower: most stages are far shorter than the request.
var stageBuckets = []float64{.00001, .0001, .001, .005, .025, .1, .5, 1, 5, 30}

// New declares the metrics in registry, for these datacenters.
func New(registry prometheus.Registerer, datacenters []bucketmap.Datacenter) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		registry.MustRegister(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		registry.MustRegister(g)
		return g
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		registry.MustRegister(g)
		return g
	}
	histograms := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		registry.MustRegister(h)
		return h
	}
	swap := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "drover_proxy_map_swap_seconds",
		Help:    "From a map's arrival to its acknowledgement being due: swapped, and no request still going out by the one before.",
		Buckets: stageBuckets,
	})
	registry.MustRegister(swap)
	m := &Metrics{
		requests:       counters("drover_proxy_requests_total", "Requests, by the datacenter they were sent to and the reason.", "datacenter", "reason"),
		responses:      counters("drover_proxy_responses_total", "Answers to clients, by class (1xx to 5xx; none: the client got no answer).", "datacenter", "class"),
		ends:           counters("drover_proxy_request_ends_total", "Requests, by how they ended.", "end"),
		requestSeconds: histograms("drover_proxy_request_seconds", "From a request's head to the last byte of its answer.", requestBuckets, "datacenter"),
		stageSeconds:   histograms("drover_proxy_stage_seconds", "Time of a request in one state.", stageBuckets, "stage", "datacenter"),

		Holds:           counters("drover_proxy_holds_total", "Held requests, by how their wait ended.", "outcome"),
		HoldEntered:     counter("drover_proxy_holds_entered_total", "Requests that met a hold: the sum of drover_proxy_holds_total and drover_proxy_held_requests."),
		Held:            gauge("drover_proxy_held_requests", "Requests held now."),
		HeldBytes:       gauge("drover_proxy_held_bytes", "Bytes of the heads of the requests held now."),
		ReactiveHolds:   counter("drover_proxy_reactive_holds_total", "Holds begun because an application answered 421."),
		MapVersion:      gauge("drover_proxy_map_version", "Version of the map in force; 0 is none."),
		MapRefused:      counter("drover_proxy_map_refused_total", "Maps refused."),
		MapSwapSeconds:  swap,
		AckErrors:       counter("drover_proxy_ack_errors_total", "Acknowledgements that the store did not take; each is tried again."),
		UpstreamErrors:  counters("drover_proxy_upstream_errors_total", "Failed tries, by kind.", "datacenter", "kind"),
		Retries:         counters("drover_proxy_retries_total", "Second tries within a datacenter.", "datacenter"),
		Failovers:       counters("drover_proxy_failovers_total", "Requests sent elsewhere because their datacenter could not be reached.", "from", "to"),
		UpstreamHealthy: gauges("drover_proxy_upstream_healthy", "1 when the upstream takes requests, 0 when it is ejected.", "datacenter", "upstream"),
		UpstreamConns:   gauges("drover_proxy_upstream_connections", "Connections to upstreams, idle ones included.", "datacenter"),
		Panics:          counter("drover_proxy_panics_total", "Requests that met a bug of the edge."),
		ClientConns:     gauge("drover_proxy_client_connections", "Connections of clients."),
		Draining:        gauge("drover_proxy_draining", "1 once the edge is being stopped."),

		reroutes:     map[Outcome]prometheus.Counter{},
		byDatacenter: map[bucketmap.Datacenter]*datacenterMetrics{},
	}
	reroutes := counters("drover_proxy_reroutes_total", "Answers of 421 by applications, by what the edge did, and requests served after one.", "outcome")
	for _, o := range rerouteOutcomes() {
		m.reroutes[o] = reroutes.WithLabelValues(string(o))
	}
	for _, end := range passport.Ends() {
		m.ends.WithLabelValues(end)
	}
	for _, dc := range append(datacenters, Unrouted) {
		m.byDatacenter[dc] = m.datacenter(string(dc))
	}
	return m
}

func (m *Metrics) datacenter(dc string) *datacenterMetrics {
	d := &datacenterMetrics{requests: map[string]prometheus.Counter{}, request: m.requestSeconds.WithLabelValues(dc)}
	for _, r := range bucketmap.Reasons() {
		d.requests[r.String()] = m.requests.WithLabelValues(dc, r.String())
	}
	d.requests[ReasonFailover] = m.requests.WithLabelValues(dc, ReasonFailover)
	d.requests[Unrouted] = m.requests.WithLabelValues(dc, Unrouted)
	for i, class := range []string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		d.responses[i] = m.responses.WithLabelValues(dc, class)
	}
	for _, s := range passport.States() {
		d.stages = append(d.stages, m.stageSeconds.WithLabelValues(s.String(), dc))
	}
	return d
}

func (m *Metrics) of(dc bucketmap.Datacenter) *datacenterMetrics {
	if d, ok := m.byDatacenter[dc]; ok {
		return d
	}
	return m.byDatacenter[Unrouted]
}

// Request counts a request that has ended.
func (m *Metrics) Request(p *passport.Passport, elapsed time.Duration) {
	d := m.of(p.Datacenter)
	reason, ok := d.requests[p.Reason]
	if !ok {
		reason = d.requests[Unrouted]
	}
	reason.Inc()
	class := p.Status / 100
	if class < 0 || class >= len(d.responses) {
		class = 0
	}
	d.responses[class].Inc()
	d.request.Observe(elapsed.Seconds())
	m.ends.WithLabelValues(p.End).Inc()
}

// Stage counts the time of a request in one state.
func (m *Metrics) Stage(dc bucketmap.Datacenter, s passport.State, elapsed time.Duration) {
	m.of(dc).stages[s].Observe(elapsed.Seconds())
}

// Reroute counts an outcome.
func (m *Metrics) Reroute(o Outcome) { m.reroutes[o].Inc() }
