package metrics

import (
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"drover/bucketmap"
	"drover/proxy/internal/passport"
)

// gathered are the metrics of a registry, by name and labels:
// name{label=value,...}.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]*dto.Metric {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*dto.Metric{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			all[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m
		}
	}
	return all
}

func want(t *testing.T, all map[string]*dto.Metric, name string, value float64) {
	t.Helper()
	m, ok := all[name]
	if !ok {
		t.Errorf("%s is not there", name)
		return
	}
	got := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	if got != value {
		t.Errorf("%s: got %v, want %v", name, got, value)
	}
}

// request is one of a datacenter, with these stamps at these times.
func request(o *passport.Office, change func(*passport.Passport), stamps ...any) {
	var p passport.Passport
	begun := passport.Now()
	o.BeginAt(&p, begun)
	p.Stamp(passport.Receiving)
	for i := 0; i < len(stamps); i += 2 {
		p.StampAt(stamps[i].(passport.State), begun+passport.Instant(stamps[i+1].(time.Duration)))
	}
	p.Datacenter, p.Reason, p.Status, p.End = "cloud", "bucket", 200, passport.EndAnswered
	if change != nil {
		change(&p)
	}
	o.End(&p)
}

func TestARequestIsCountedInEveryMetricOnce(t *testing.T) {
	o, _, registry := rig(t)
	ms := time.Millisecond
	request(o, nil, passport.Identifying, time.Duration(0), passport.Deciding, 40*time.Microsecond, passport.Waiting, 60*time.Microsecond,
		passport.Done, 30*ms)
	request(o, func(p *passport.Passport) {
		p.Status, p.End, p.Reason, p.Datacenter = 502, passport.EndFailed, ReasonFailover, "legacy"
	},
		passport.Done, 2*time.Hour)
	request(o, func(p *passport.Passport) {
		p.Status, p.End, p.Reason, p.Datacenter = 0, passport.EndClientGone, "", ""
	}, passport.Done, ms)
	request(o, func(p *passport.Passport) {
		p.Status, p.End, p.Reason, p.Datacenter = 12345, "nonsense", "nonsense", "nowhere"
	}, passport.Done, ms)
	all := gathered(t, registry)
	for name, value := range map[string]float64{
		"drover_proxy_requests_total{datacenter=cloud,reason=bucket}":          1,
		"drover_proxy_requests_total{datacenter=legacy,reason=failover}":       1,
		"drover_proxy_requests_total{datacenter=none,reason=none}":             2,
		"drover_proxy_requests_total{datacenter=legacy,reason=whitelist}":      0,
		"drover_proxy_responses_total{class=2xx,datacenter=cloud}":             1,
		"drover_proxy_responses_total{class=5xx,datacenter=legacy}":            1,
		"drover_proxy_responses_total{class=none,datacenter=none}":             1,
		"drover_proxy_responses_total{class=client_gone,datacenter=none}":      1,
		"drover_proxy_request_ends_total{end=answered}":                        1,
		"drover_proxy_request_ends_total{end=failed}":                          1,
		"drover_proxy_request_ends_total{end=client_gone}":                     1,
		"drover_proxy_request_ends_total{end=shutting_down}":                   0,
		"drover_proxy_client_aborts_total{}":                                   1,
		"drover_proxy_passport_overflow_total{}":                               0,
		"drover_proxy_own_seconds{}":                                           4,
		"drover_proxy_request_seconds{datacenter=cloud}":                       1,
		"drover_proxy_request_seconds{datacenter=none}":                        2,
		"drover_proxy_stage_seconds{datacenter=cloud,stage=waiting}":           1,
		"drover_proxy_stage_seconds{datacenter=cloud,stage=holding}":           0,
		"drover_proxy_stage_seconds{datacenter=legacy,stage=receiving}":        1,
		"drover_proxy_client_connections_total{transport=http2}":               0,
		"drover_proxy_refused_connections_total{why=limit}":                    0,
		"drover_proxy_identity_tokens_total{outcome=unknown_key}":              0,
		"drover_proxy_upstream_queue_total{datacenter=legacy,outcome=timeout}": 0,
		"drover_proxy_upstream_queue_seconds{datacenter=legacy}":               0,
		"drover_proxy_tunnels{}":                                               0,
		"drover_proxy_log_drops_total{}":                                       0,
		"drover_proxy_span_drops_total{}":                                      0,
	} {
		want(t, all, name, value)
	}
	h := all["drover_proxy_request_seconds{datacenter=cloud}"].GetHistogram()
	if math.Abs(h.GetSampleSum()-.030) > 1e-9 || count(h, .025) != 0 || count(h, .05) != 1 {
		t.Errorf("request_seconds: %v", h)
	}
	if h := all["drover_proxy_request_seconds{datacenter=legacy}"].GetHistogram(); count(h, 30) != 0 || h.GetSampleCount() != 1 {
		t.Errorf("past the last bound: %v", h)
	}
	own := all["drover_proxy_own_seconds{}"].GetHistogram()
	if count(own, .00005) != 3 || count(own, .000075) != 4 || len(own.GetBucket()) != 15 {
		t.Errorf("own_seconds: %v", own)
	}
}

// count returns how many observations were at most bound.
func count(h *dto.Histogram, bound float64) uint64 {
	for _, b := range h.GetBucket() {
		if b.GetUpperBound() == bound {
			return b.GetCumulativeCount()
		}
	}
	return math.MaxUint64
}

func TestABoundIsInclusiveAsPrometheusHasIt(t *testing.T) {
	mine, theirs := &cells{}, prometheus.NewHistogram(prometheus.HistogramOpts{Buckets: stageBounds.seconds()})
	for _, b := range stageBounds {
		for _, d := range []time.Duration{b - 1, b, b + 1} {
			mine.observe(stageBounds, d)
			theirs.Observe(d.Seconds())
		}
	}
	var a, b dto.Metric
	desc := prometheus.NewDesc("x", "", nil, nil)
	if err := constHistogram(desc, stageBounds, []*cells{mine}).Write(&a); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Write(&b); err != nil {
		t.Fatal(err)
	}
	for i, bucket := range a.GetHistogram().GetBucket() {
		other := b.GetHistogram().GetBucket()[i]
		if bucket.GetCumulativeCount() != other.GetCumulativeCount() || bucket.GetUpperBound() != other.GetUpperBound() {
			t.Errorf("got %v, want %v", bucket, other)
		}
	}
	if x, y := a.GetHistogram(), b.GetHistogram(); x.GetSampleCount() != y.GetSampleCount() || math.Abs(x.GetSampleSum()-y.GetSampleSum()) > 1e-6 {
		t.Errorf("got %v, want %v", x, y)
	}
}

func TestOverflowIsCounted(t *testing.T) {
	o, _, registry := rig(t)
	request(o, func(p *passport.Passport) {
		for range 100 {
			p.Stamp(passport.Connecting)
		}
	})
	if m := gathered(t, registry)["drover_proxy_passport_overflow_total{}"]; m.GetCounter().GetValue() < 60 {
		t.Errorf("got %v", m)
	}
}

func TestNoRequestIsLostByManyAtATimeWhileSomebodyLooks(t *testing.T) {
	o, _, registry := rig(t)
	const writers, each = 8, 500
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			var p passport.Passport
			for range each {
				onePassport(o, &p, nil)
			}
		})
	}
	group.Go(func() {
		for range 20 {
			if _, err := registry.Gather(); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	all := gathered(t, registry)
	for _, name := range []string{
		"drover_proxy_requests_total{datacenter=cloud,reason=bucket}", "drover_proxy_responses_total{class=2xx,datacenter=cloud}",
		"drover_proxy_request_ends_total{end=answered}", "drover_proxy_own_seconds{}", "drover_proxy_request_seconds{datacenter=cloud}",
		"drover_proxy_stage_seconds{datacenter=cloud,stage=receiving}",
	} {
		want(t, all, name, writers*each)
	}
}

func TestWhatIsCountedSeldomIsCountedByItsWord(t *testing.T) {
	_, m, registry := rig(t)
	for _, o := range rerouteOutcomes() {
		m.Reroute(o)
	}
	for _, w := range transports() {
		m.Connected(w)
	}
	for _, why := range refusals() {
		m.Refused(why)
	}
	for _, o := range tokenOutcomes() {
		m.Token(o)
	}
	for _, o := range queueOutcomes() {
		m.Queued("cloud", o, 20*time.Microsecond)
		m.Queued("nowhere", o, 0)
	}
	all := gathered(t, registry)
	for _, name := range []string{
		"drover_proxy_reroutes_total{outcome=served}", "drover_proxy_client_connections_total{transport=tls}",
		"drover_proxy_refused_connections_total{why=header_timeout}", "drover_proxy_identity_tokens_total{outcome=cached}",
		"drover_proxy_upstream_queue_total{datacenter=cloud,outcome=full}",
	} {
		want(t, all, name, 1)
	}
	want(t, all, "drover_proxy_upstream_queue_seconds{datacenter=cloud}", 3)
}

func TestARequestIsCountedInItsUsersCohortAndInNoOther(t *testing.T) {
	o, _, registry := rig(t)
	ms := time.Millisecond
	of := func(c passport.Cohort, status int, end string) func(*passport.Passport) {
		return func(p *passport.Passport) { p.Cohort, p.Status, p.End = c, status, end }
	}
	request(o, of(passport.CohortMoved, 200, passport.EndAnswered), passport.Done, 30*ms)
	request(o, of(passport.CohortMoved, 503, passport.EndFailed), passport.Done, ms)
	request(o, of(passport.CohortMoved, 200, passport.EndTruncated), passport.Done, ms)
	request(o, of(passport.CohortMoved, 0, passport.EndClientGone), passport.Waiting, ms, passport.Done, 2*ms)
	request(o, of(passport.CohortMoved, 0, passport.EndClientGone), passport.Holding, ms, passport.Done, 2*ms)
	request(o, of(passport.CohortMoved, 0, passport.EndShuttingDown), passport.Holding, ms, passport.Done, 2*ms)
	request(o, of(passport.CohortStayed, 200, passport.EndClientGone), passport.Done, ms)
	request(o, of(passport.CohortNone, 200, passport.EndAnswered), passport.Done, ms)
	request(o, func(p *passport.Passport) { // a tunnel
		of(passport.CohortStayed, 101, passport.EndAnswered)(p)
		p.HeadSent()
	}, passport.Done, time.Hour)
	all := gathered(t, registry)
	for name, value := range map[string]float64{
		"drover_proxy_cohort_responses_total{class=2xx,cohort=moved,datacenter=cloud}":         1,
		"drover_proxy_cohort_responses_total{class=5xx,cohort=moved,datacenter=cloud}":         2,
		"drover_proxy_cohort_responses_total{class=none,cohort=moved,datacenter=cloud}":        2,
		"drover_proxy_cohort_responses_total{class=client_gone,cohort=moved,datacenter=cloud}": 1,
		"drover_proxy_cohort_responses_total{class=2xx,cohort=stayed,datacenter=cloud}":        1,
		"drover_proxy_cohort_responses_total{class=1xx,cohort=stayed,datacenter=cloud}":        1,
		"drover_proxy_cohort_responses_total{class=2xx,cohort=moved,datacenter=legacy}":        0,
		"drover_proxy_cohort_responses_total{class=4xx,cohort=stayed,datacenter=legacy}":       0,
		"drover_proxy_cohort_request_seconds{cohort=moved,datacenter=cloud}":                   6,
		"drover_proxy_cohort_request_seconds{cohort=stayed,datacenter=cloud}":                  2,
		"drover_proxy_cohort_request_seconds{cohort=stayed,datacenter=legacy}":                 0,
		"drover_proxy_responses_total{class=2xx,datacenter=cloud}":                             4,
		"drover_proxy_request_seconds{datacenter=cloud}":                                       9,
		"drover_proxy_cohort_window_seconds{}":                                                 0,
		"drover_proxy_cohort_known_since_timestamp_seconds{}":                                  0,
	} {
		want(t, all, name, value)
	}
	if h := all["drover_proxy_cohort_request_seconds{cohort=moved,datacenter=cloud}"].GetHistogram(); count(h, .025) != 5 || count(h, .05) != 6 {
		t.Errorf("moved: %v", h)
	}
	if h := all["drover_proxy_cohort_request_seconds{cohort=stayed,datacenter=cloud}"].GetHistogram(); count(h, 1) != 2 {
		t.Errorf("a tunnel's time is that to its beginning: %v", h)
	}
	for name := range all {
		if strings.HasPrefix(name, "drover_proxy_cohort_") && strings.Contains(name, "datacenter=none") {
			t.Errorf("%s: nobody is sent there", name)
		}
	}
}

func TestTheClosedSetsAreAsLongAsTheirCounters(t *testing.T) {
	if n := len(reasons()); n != reasonCount {
		t.Errorf("%d reasons, counters for %d: change reasonCount", n, reasonCount)
	}
	if n := len(passport.Ends()); n != endCount {
		t.Errorf("%d ends, counters for %d: change endCount", n, endCount)
	}
	if n := len(passport.States()); n != passport.StateCount-1 {
		t.Errorf("%d states that take time, counters for %d", n, passport.StateCount-1)
	}
	if n := len(passport.Cohorts()); n != cohortCount || passport.Cohorts()[0] != passport.CohortStayed || classes[class5xx] != "5xx" {
		t.Errorf("%d cohorts, counters for %d, from the first", n, cohortCount)
	}
	for _, b := range []bounds{requestBounds, stageBounds, ownBounds} {
		if len(b) >= cellsMax || !slices.IsSorted(b) {
			t.Errorf("%v: want fewer than %d, lowest first", b, cellsMax)
		}
	}
}

func TestNewLeavesTheCallersDatacentersAlone(t *testing.T) {
	names := append(make([]bucketmap.Datacenter, 0, 4), "legacy")
	New(prometheus.NewRegistry(), names)
	if got := names[:2]; got[1] != "" {
		t.Errorf("got %v", got)
	}
}
