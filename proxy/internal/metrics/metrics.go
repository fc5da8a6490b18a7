package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/proxy/internal/passport"
)

// Metrics is every metric of the edge.
type Metrics struct {
	Holds            *prometheus.CounterVec // outcome
	HoldEntered      prometheus.Counter
	Held             prometheus.Gauge
	HeldBytes        prometheus.Gauge
	ReactiveHolds    prometheus.Counter
	MapVersion       prometheus.Gauge
	MapChanged       prometheus.Gauge
	MapSwapSeconds   prometheus.Histogram
	MapStoreErrors   prometheus.Counter
	MapCacheErrors   prometheus.Counter
	WhitelistUsers   prometheus.Gauge
	WhitelistLoaded  prometheus.Gauge
	WhitelistRefused prometheus.Counter
	CohortWindow     prometheus.Gauge
	CohortKnown      prometheus.Gauge
	AckErrors        prometheus.Counter
	UpstreamErrors   *prometheus.CounterVec // datacenter, kind
	Retries          *prometheus.CounterVec // datacenter
	Failovers        *prometheus.CounterVec // from, to
	UpstreamHealthy  *prometheus.GaugeVec   // datacenter, upstream
	UpstreamConns    *prometheus.GaugeVec   // datacenter
	Ejections        *prometheus.CounterVec // datacenter, upstream
	Panics           prometheus.Counter
	ClientConns      prometheus.Gauge
	Tunnels          prometheus.Gauge
	Draining         prometheus.Gauge
	LogDrops         prometheus.Counter
	SpanDrops        prometheus.Counter

	requests          *recorder
	reroutes          map[Outcome]prometheus.Counter
	clientConnections map[Transport]prometheus.Counter
	refused           map[Refusal]prometheus.Counter
	mapRefused        map[bucketmap.Rule]prometheus.Counter
	tokens            map[TokenOutcome]prometheus.Counter
	mirrored          map[MirrorOutcome]prometheus.Counter
	queues            map[queueKey]prometheus.Counter
	queueSeconds      map[bucketmap.Datacenter]prometheus.Observer
}

type queueKey struct {
	datacenter bucketmap.Datacenter
	outcome    QueueOutcome
}

// declarer declares metrics in one registry.
type declarer struct{ registry prometheus.Registerer }

func (d declarer) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	d.registry.MustRegister(c)
	return c
}

func (d declarer) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	d.registry.MustRegister(c)
	return c
}

func (d declarer) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	d.registry.MustRegister(g)
	return g
}

func (d declarer) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	d.registry.MustRegister(g)
	return g
}

func (d declarer) histograms(name, help string, b bounds, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: b.seconds()}, labels)
	d.registry.MustRegister(h)
	return h
}

// closed declares a counter of one label and makes every value of it, so that
// each is there before it counts.
func closed[W ~string](d declarer, name, help, label string, words []W) map[W]prometheus.Counter {
	vec := d.counters(name, help, label)
	all := make(map[W]prometheus.Counter, len(words))
	for _, w := range words {
		all[w] = vec.WithLabelValues(string(w))
	}
	return all
}

// New declares the metrics in registry, for these datacenters.
func New(registry prometheus.Registerer, datacenters []bucketmap.Datacenter) *Metrics {
	d := declarer{registry}
	m := &Metrics{
		Holds:         d.counters("drover_proxy_holds_total", "Held requests, by how their wait ended.", "outcome"),
		HoldEntered:   d.counter("drover_proxy_holds_entered_total", "Requests that met a hold: the sum of drover_proxy_holds_total and drover_proxy_held_requests."),
		Held:          d.gauge("drover_proxy_held_requests", "Requests held now."),
		HeldBytes:     d.gauge("drover_proxy_held_bytes", "Bytes of the heads of the requests held now."),
		ReactiveHolds: d.counter("drover_proxy_reactive_holds_total", "Holds begun because an application answered 421."),
		MapVersion:    d.gauge("drover_proxy_map_version", "Version of the map in force; 0 is none."),
		MapChanged:    d.gauge("drover_proxy_map_last_change_timestamp_seconds", "When the map in force came into force here; 0 is never."),
		MapSwapSeconds: d.histograms("drover_proxy_map_swap_seconds",
			"From a map's arrival to its acknowledgement being due: swapped, and no request still going out by the one before.",
			stageBounds).WithLabelValues().(prometheus.Histogram), //nolint:forcetypeassert // a vector of histograms has no others
		MapStoreErrors:   d.counter("drover_proxy_map_store_errors_total", "Times that the map's store could not be read; the map in force stays."),
		MapCacheErrors:   d.counter("drover_proxy_map_cache_errors_total", "Times that the last good map on disk could not be written, or not be used."),
		WhitelistUsers:   d.gauge("drover_proxy_whitelist_users", "Users of the whitelist file in force; those of the map are not counted."),
		WhitelistLoaded:  d.gauge("drover_proxy_whitelist_last_change_timestamp_seconds", "When the whitelist file was last read and right; 0 is never."),
		WhitelistRefused: d.counter("drover_proxy_whitelist_refused_total", "Whitelist files refused; the users of before stay."),
		CohortWindow:     d.gauge("drover_proxy_cohort_window_seconds", "For how long a user counts as just moved; 0: cohorts are not counted."),
		CohortKnown: d.gauge("drover_proxy_cohort_known_since_timestamp_seconds",
			"Since when this proxy knows of every user who was moved; 0: cohorts are not counted, or there is no map. "+
				"Until it is drover_proxy_cohort_window_seconds ago, users who were just moved may be counted as stayed."),
		AckErrors:       d.counter("drover_proxy_ack_errors_total", "Acknowledgements that the store did not take; each is tried again."),
		UpstreamErrors:  d.counters("drover_proxy_upstream_errors_total", "Failed tries, by kind.", "datacenter", "kind"),
		Retries:         d.counters("drover_proxy_retries_total", "Second tries within a datacenter.", "datacenter"),
		Failovers:       d.counters("drover_proxy_failovers_total", "Requests sent elsewhere because their datacenter could not be reached.", "from", "to"),
		UpstreamHealthy: d.gauges("drover_proxy_upstream_healthy", "1 when the upstream takes requests, 0 when it is ejected.", "datacenter", "upstream"),
		UpstreamConns:   d.gauges("drover_proxy_upstream_connections", "Connections to upstreams, idle ones included.", "datacenter"),
		Panics:          d.counter("drover_proxy_panics_total", "Requests that met a bug of the edge."),
		ClientConns:     d.gauge("drover_proxy_client_connections", "Connections of clients."),
		Draining:        d.gauge("drover_proxy_draining", "1 once the edge is being stopped."),
		Ejections:       d.counters("drover_proxy_ejections_total", "How often an upstream was taken out of its datacenter's choice.", "datacenter", "upstream"),
		Tunnels:         d.gauge("drover_proxy_tunnels", "Connections that a protocol upgrade has made tunnels, now."),
		LogDrops:        d.counter("drover_proxy_log_drops_total", "Lines of the access log that were not written: the buffer was full or the write failed."),
		SpanDrops:       d.counter("drover_proxy_span_drops_total", "Spans that were not exported: the queue was full or the collector did not take them."),

		requests: newRecorder(datacenters),
		reroutes: closed(d, "drover_proxy_reroutes_total",
			"Answers of 421 by applications, by what the edge did, and requests served after one.", "outcome", rerouteOutcomes()),
		clientConnections: closed(d, "drover_proxy_client_connections_total", "Connections of clients taken, by transport.", "transport", transports()),
		refused: closed(d, "drover_proxy_refused_connections_total",
			"Connections of clients closed with no request served, by why.", "why", refusals()),
		mapRefused: closed(d, "drover_proxy_map_refused_total", "Maps refused, by the rule that they break.", "rule", bucketmap.Rules()),
		tokens:     closed(d, "drover_proxy_identity_tokens_total", "Identity tokens, by what became of them.", "outcome", tokenOutcomes()),
		mirrored: closed(d, "drover_proxy_mirror_total",
			"Requests that were to be mirrored to another datacenter, by what became of them.", "outcome", mirrorOutcomes()),
		queues: map[queueKey]prometheus.Counter{}, queueSeconds: map[bucketmap.Datacenter]prometheus.Observer{},
	}
	registry.MustRegister(m.requests)
	queues := d.counters("drover_proxy_upstream_queue_total",
		"Requests that waited, or wanted to, for one of an upstream's connections, by how that ended.", "datacenter", "outcome")
	seconds := d.histograms("drover_proxy_upstream_queue_seconds", "Time that a request waited for one of an upstream's connections.",
		stageBounds, "datacenter")
	for _, dc := range datacenters {
		m.queueSeconds[dc] = seconds.WithLabelValues(string(dc))
		for _, o := range queueOutcomes() {
			m.queues[queueKey{dc, o}] = queues.WithLabelValues(string(dc), string(o))
		}
	}
	return m
}

// Request counts a request that has ended.
func (m *Metrics) Request(p *passport.Passport) { m.requests.request(p) }

// Reroute counts an outcome.
func (m *Metrics) Reroute(o Outcome) { m.reroutes[o].Inc() }

// Connected counts a client's connection.
func (m *Metrics) Connected(t Transport) { m.clientConnections[t].Inc() }

// Refused counts a client's connection that got nothing.
func (m *Metrics) Refused(why Refusal) { m.refused[why].Inc() }

// MapRefused counts a map that was refused. A rule that is not one of
// bucketmap.Rules is counted as unreadable.
func (m *Metrics) MapRefused(rule bucketmap.Rule) {
	c, ok := m.mapRefused[rule]
	if !ok {
		c = m.mapRefused[bucketmap.RuleUnreadable]
	}
	c.Inc()
}

// Token counts an identity token.
func (m *Metrics) Token(o TokenOutcome) { m.tokens[o].Inc() }

// Mirrored counts a request that was to be mirrored.
func (m *Metrics) Mirrored(o MirrorOutcome) { m.mirrored[o].Inc() }

// Queued counts a request that waited for a connection to one of the
// datacenter's upstreams, or found no place to. A datacenter that was not
// given to New is not counted.
func (m *Metrics) Queued(dc bucketmap.Datacenter, o QueueOutcome, waited time.Duration) {
	if c, ok := m.queues[queueKey{dc, o}]; ok {
		c.Inc()
		m.queueSeconds[dc].Observe(waited.Seconds())
	}
}
