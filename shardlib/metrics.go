package shardlib

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// cacheOutcome is how one call of Cached ended; a metrics' label.
type cacheOutcome string

const (
	cacheHit      cacheOutcome = "hit"
	cacheHitNone  cacheOutcome = "hit_none" // the cache says that there is no value
	cacheFilled   cacheOutcome = "filled"   // read from the database, and cached
	cacheJoined   cacheOutcome = "joined"   // another call of this process read it
	cacheLost     cacheOutcome = "lost"     // read, and not cached: a writer came, or the epochs changed
	cacheBusy     cacheOutcome = "busy"     // read; another process fills it
	cacheMarked   cacheOutcome = "marked"   // read; a writer is at it
	cacheMismatch cacheOutcome = "mismatch" // read; the entry was of another user or key
	cacheError    cacheOutcome = "error"    // read; memcached failed
	cacheNone     cacheOutcome = "none"     // read; the datacenter has no cache
)

var cacheOutcomes = []cacheOutcome{cacheHit, cacheHitNone, cacheFilled, cacheJoined, cacheLost, cacheBusy, cacheMarked,
	cacheMismatch, cacheError, cacheNone}

// metrics are the library's, all of them.
type metrics struct {
	transactions *prometheus.CounterVec
	seconds      *prometheus.HistogramVec
	cacheReads   *prometheus.CounterVec
	cacheMarks   *prometheus.CounterVec
	shared       prometheus.Counter
	once         *prometheus.CounterVec
	lists        *prometheus.CounterVec
	mapVersion   prometheus.Gauge
	mapRefused   prometheus.Counter
	staleReads   *prometheus.CounterVec
	staleness    prometheus.Histogram
	samples      *prometheus.CounterVec
	connections  connections
}

// connections reads the pools when it is asked.
type connections struct {
	description *prometheus.Desc
	pools       *pools
}

func (c connections) Describe(to chan<- *prometheus.Desc) { to <- c.description }

func (c connections) Collect(to chan<- prometheus.Metric) {
	for place, s := range c.pools.connections() {
		to <- prometheus.MustNewConstMetric(c.description, prometheus.GaugeValue, float64(s.InUse), place, "in_use")
		to <- prometheus.MustNewConstMetric(c.description, prometheus.GaugeValue, float64(s.Idle), place, "idle")
	}
}

func newMetrics(p *pools) *metrics {
	m := &metrics{
		connections: connections{prometheus.NewDesc("drover_shardlib_connections",
			"Connections to servers of the own datacenter and of others, by whether they are in use.", []string{"place", "state"}, nil), p},
		transactions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drover_shardlib_transactions_total",
			Help: "Transactions by kind, how they ended, and whether the home is in the own datacenter.",
		}, []string{"kind", "outcome", "place"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "drover_shardlib_transaction_seconds",
			Help:    "Time from before begin to after the end, the caller's function included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15), // 0.5 ms to 8 s
		}, []string{"kind", "place"}),
		cacheReads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drover_shardlib_cache_reads_total",
			Help: "Calls of Cached by how they ended.",
		}, []string{"outcome"}),
		cacheMarks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drover_shardlib_cache_marks_total",
			Help: "Cache keys that writers marked or unmarked, by success. After a failure a cached value may be old until it expires.",
		}, []string{"outcome"}),
		shared: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "drover_shardlib_reads_shared_total",
			Help: "Calls of Cached that another call's read of the database served.",
		}),
		once: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drover_shardlib_once_total",
			Help: "Calls of Once: done, repeated (an earlier call's result was returned), failed.",
		}, []string{"outcome"}),
		lists: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drover_shardlib_shard_lists_total",
			Help: "Shard lists that were read anew: in force, or refused.",
		}, []string{"outcome"}),
		staleReads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drover_shardlib_stale_reads_total",
			Help: "Calls of ViewStale by the server that was read, and why.",
		}, []string{"server", "reason"}),
		staleness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "drover_shardlib_staleness_seconds",
			Help:    "By how much reads of replicas were proven to be behind at most.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 15), // 5 ms to 82 s
		}),
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drover_shardlib_primary_samples_total",
			Help: "Samples of what a primary has committed, for ViewStale: taken, or failed.",
		}, []string{"outcome"}),
		mapVersion: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "drover_shardlib_map_version",
			Help: "Version of the map in force.",
		}),
		mapRefused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "drover_shardlib_map_refused_total",
			Help: "Maps that could not be read or may not replace the one in force.",
		}),
	}
	for _, k := range []kind{update, view, viewReplica} {
		for _, place := range []string{"local", "remote"} {
			m.seconds.WithLabelValues(string(k), place)
			for _, o := range outcomes {
				m.transactions.WithLabelValues(string(k), string(o), place)
			}
		}
	}
	for _, o := range cacheOutcomes {
		m.cacheReads.WithLabelValues(string(o))
	}
	for _, o := range []string{"done", "repeated", "failed"} {
		m.once.WithLabelValues(o)
	}
	m.staleReads.WithLabelValues("replica", string(whyProven))
	for _, reason := range whyPrimaryRead {
		m.staleReads.WithLabelValues("primary", string(reason))
	}
	m.samples.WithLabelValues("taken")
	m.samples.WithLabelValues("failed")
	m.lists.WithLabelValues("in_force")
	m.lists.WithLabelValues("refused")
	m.cacheMarks.WithLabelValues("done")
	m.cacheMarks.WithLabelValues("failed")
	return m
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.transactions, m.seconds, m.cacheReads, m.cacheMarks, m.shared, m.once, m.lists,
		m.staleReads, m.staleness, m.samples, m.mapVersion, m.mapRefused, m.connections}
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for i, c := range m.collectors() {
		if err := r.Register(c); err != nil {
			for _, done := range m.collectors()[:i] {
				r.Unregister(done)
			}
			return errors.Join(errors.New("one Library a Registerer"), err)
		}
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range m.collectors() {
		r.Unregister(c)
	}
}

func (m *metrics) transaction(k kind, o outcome, local bool, took time.Duration) {
	place := "remote"
	if local {
		place = "local"
	}
	m.transactions.WithLabelValues(string(k), string(o), place).Inc()
	m.seconds.WithLabelValues(string(k), place).Observe(took.Seconds())
}

func (m *metrics) cacheRead(o cacheOutcome) { m.cacheReads.WithLabelValues(string(o)).Inc() }

func (m *metrics) cacheWrite(ok bool) {
	outcome := "failed"
	if ok {
		outcome = "done"
	}
	m.cacheMarks.WithLabelValues(outcome).Inc()
}
