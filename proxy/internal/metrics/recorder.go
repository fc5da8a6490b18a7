package metrics

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/proxy/internal/passport"
)

// shardsMax bounds the shards: × 3 KB × (datacenters + 1).
const shardsMax = 16

// The sizes of the closed sets; a test compares them.
const (
	reasonCount = 7
	endCount    = 9
	classCount  = 7
	cohortCount = 2
)

const (
	classNone      = 0 // the places among classes
	class5xx       = 5
	classGone      = 6
	statusSwitched = 101 // a tunnel's
)

var classes = [classCount]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx", "client_gone"}

// classOf is the class of the answer that a request got.
func classOf(p *passport.Passport) int {
	if class := p.Status / 100; class > classNone && class <= class5xx {
		return class
	}
	if who := p.Code.Who(); who != passport.WhoClient && who != passport.WhoClientTimeout {
		return classNone
	}
	switch p.Code.Where() {
	case passport.WhereQueue, passport.WhereConnecting, passport.WhereSending, passport.WhereWaiting:
		return classNone // it was the application's turn
	default:
		return classGone
	}
}

// shard counts the requests of some of the passports.
type shard struct {
	ends        [endCount]atomic.Uint64
	aborts      atomic.Uint64
	overflow    atomic.Uint64
	own         cells
	datacenters []datacenterCounts // by index; the last is Unrouted

	_ [64]byte // the next shard's counters are not on this one's cache line
}

type datacenterCounts struct {
	requests  [reasonCount]atomic.Uint64
	responses [classCount]atomic.Uint64
	total     cells
	stages    [passport.StateCount - 1]cells // all but Done
	cohorts   [cohortCount]cohortCounts

	_ [64]byte
}

// cohortCounts are those of the requests of just moved users, or of the others.
type cohortCounts struct {
	responses [classCount]atomic.Uint64
	total     cells
}

// recorder is what is counted of every request.
type recorder struct {
	datacenters []bucketmap.Datacenter // the last is Unrouted
	reasons     []string               // the last is Unrouted
	ends        []string
	states      []passport.State
	cohorts     []passport.Cohort
	shards      []shard // a power of two of them
	descs       descs
}

type descs struct {
	requests, responses, ends, total, stages, own, aborts, overflow, cohortResponses, cohortTotal *prometheus.Desc
}

func newRecorder(datacenters []bucketmap.Datacenter) *recorder {
	r := &recorder{
		datacenters: append(slices.Clone(datacenters), Unrouted),
		reasons:     reasons(), ends: passport.Ends(), states: passport.States(), cohorts: passport.Cohorts(), descs: newDescs(),
	}
	n := 1
	for n < min(runtime.GOMAXPROCS(0), shardsMax) {
		n *= 2
	}
	r.shards = make([]shard, n)
	for i := range r.shards {
		r.shards[i].datacenters = make([]datacenterCounts, len(r.datacenters))
	}
	return r
}

func newDescs() descs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return descs{
		requests:  desc("drover_proxy_requests_total", "Requests, by the datacenter they were sent to and the reason.", "datacenter", "reason"),
		responses: desc("drover_proxy_responses_total", "Answers to clients, by class (1xx to 5xx; client_gone: none, as the client went away before its request was the application's; none: none, otherwise).", "datacenter", "class"),
		ends:      desc("drover_proxy_request_ends_total", "Requests, by how they ended.", "end"),
		total:     desc("drover_proxy_request_seconds", "From a request's first stamp to the last byte of its answer.", "datacenter"),
		stages:    desc("drover_proxy_stage_seconds", "Time of a request in one state.", "stage", "datacenter"),
		own:       desc("drover_proxy_own_seconds", "Time that the edge itself took of a request: without waiting for its client, a hold or an upstream."),
		aborts:    desc("drover_proxy_client_aborts_total", "Requests that their client broke off."),
		overflow:  desc("drover_proxy_passport_overflow_total", "Stamps that were more than a passport holds; their time went to another state."),
		cohortResponses: desc("drover_proxy_cohort_responses_total",
			"Answers to clients whose user was just moved, or stayed, by class (as drover_proxy_responses_total; 5xx: those too that the application broke off).",
			"datacenter", "cohort", "class"),
		cohortTotal: desc("drover_proxy_cohort_request_seconds",
			"Time of the requests of users who were just moved, or stayed: as drover_proxy_request_seconds, but for a tunnel to its beginning.",
			"datacenter", "cohort"),
	}
}

// index returns the place of word among words; the last place, for what is
// none of them. The sets are small, and equal words are mostly the same
// memory: a map would be slower.
func index[W ~string](words []W, word W) int {
	last := len(words) - 1
	for i := range last {
		if words[i] == word {
			return i
		}
	}
	return last
}

// request counts a request that has ended.
func (r *recorder) request(p *passport.Passport) {
	s := &r.shards[int(p.Shard())&(len(r.shards)-1)]
	d := &s.datacenters[index(r.datacenters, p.Datacenter)]
	d.requests[index(r.reasons, p.Reason)].Add(1)
	class := classOf(p)
	d.responses[class].Add(1)
	if i := index(r.ends, p.End); r.ends[i] == p.End {
		s.ends[i].Add(1)
	}
	if p.Code.Who() == passport.WhoClient {
		s.aborts.Add(1)
	}
	if n := p.Overflow(); n != 0 {
		s.overflow.Add(uint64(n))
	}
	t := p.Times()
	d.total.observe(requestBounds, t.Total)
	if p.Cohort != passport.CohortNone {
		d.cohort(p, class, t.Total)
	}
	s.own.observe(ownBounds, t.Own)
	for i := range d.stages {
		if in := t.In[i]; in >= 0 {
			d.stages[i].observe(stageBounds, in)
		}
	}
}

// cohort counts a request of a user. An answer that the application broke off is
// none, whatever its head said, and how long a tunnel lasts is its users' affair.
func (d *datacenterCounts) cohort(p *passport.Passport, class int, total time.Duration) {
	c := &d.cohorts[p.Cohort-passport.CohortStayed]
	switch {
	case p.End == passport.EndTruncated:
		class = class5xx
	case p.Status == statusSwitched:
		total = p.ToHead()
	}
	c.responses[class].Add(1)
	c.total.observe(requestBounds, total)
}

// Describe is prometheus.Collector's.
func (r *recorder) Describe(out chan<- *prometheus.Desc) {
	d := &r.descs
	for _, desc := range []*prometheus.Desc{d.requests, d.responses, d.ends, d.total, d.stages, d.own, d.aborts, d.overflow,
		d.cohortResponses, d.cohortTotal} {
		out <- desc
	}
}

// Collect is prometheus.Collector's. The counters are read one after another:
// a request that ends meanwhile may be in some and not yet in others.
func (r *recorder) Collect(out chan<- prometheus.Metric) {
	d := &r.descs
	counter := func(desc *prometheus.Desc, of func(*shard) *atomic.Uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(r.sum(of)), labels...)
	}
	counter(d.aborts, func(s *shard) *atomic.Uint64 { return &s.aborts })
	counter(d.overflow, func(s *shard) *atomic.Uint64 { return &s.overflow })
	for i, end := range r.ends {
		counter(d.ends, func(s *shard) *atomic.Uint64 { return &s.ends[i] }, end)
	}
	out <- constHistogram(d.own, ownBounds, r.cells(func(s *shard) *cells { return &s.own }))
	for dc, name := range r.datacenters {
		label := string(name)
		for i, reason := range r.reasons {
			counter(d.requests, func(s *shard) *atomic.Uint64 { return &s.datacenters[dc].requests[i] }, label, reason)
		}
		for i, class := range classes {
			counter(d.responses, func(s *shard) *atomic.Uint64 { return &s.datacenters[dc].responses[i] }, label, class)
		}
		out <- constHistogram(d.total, requestBounds, r.cells(func(s *shard) *cells { return &s.datacenters[dc].total }), label)
		for _, state := range r.states {
			of := func(s *shard) *cells { return &s.datacenters[dc].stages[state] }
			out <- constHistogram(d.stages, stageBounds, r.cells(of), state.String(), label)
		}
		if name == Unrouted {
			continue // every cohort's request was decided
		}
		for i, cohort := range r.cohorts {
			for j, class := range classes {
				of := func(s *shard) *atomic.Uint64 { return &s.datacenters[dc].cohorts[i].responses[j] }
				counter(d.cohortResponses, of, label, cohort.String(), class)
			}
			of := func(s *shard) *cells { return &s.datacenters[dc].cohorts[i].total }
			out <- constHistogram(d.cohortTotal, requestBounds, r.cells(of), label, cohort.String())
		}
	}
}

func (r *recorder) sum(of func(*shard) *atomic.Uint64) (sum uint64) {
	for i := range r.shards {
		sum += of(&r.shards[i]).Load()
	}
	return sum
}

func (r *recorder) cells(of func(*shard) *cells) []*cells {
	all := make([]*cells, len(r.shards))
	for i := range r.shards {
		all[i] = of(&r.shards[i])
	}
	return all
}
