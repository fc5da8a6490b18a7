package metrics

import (
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/proxy/internal/passport"
)

// usual are the stamps of a request that is answered, in order, after the one
// of its beginning; Done is the office's.
var usual = []passport.State{
	passport.Deciding, passport.Connecting, passport.Sending, passport.Receiving, passport.Waiting, passport.Responding,
}

func onePassport(o *passport.Office, p *passport.Passport, path []byte) {
	o.Begin(p)
	p.Method, p.Path, p.Protocol = "GET", path, "HTTP/1.1"
	for _, s := range usual {
		p.Stamp(s)
	}
	p.Stamp(passport.Done)
	p.Datacenter, p.Reason, p.Status, p.End = "cloud", "bucket", 200, passport.EndAnswered
	p.Cohort = passport.CohortStayed
	o.End(p)
}

func rig(t testing.TB) (*passport.Office, *Metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m := New(registry, []bucketmap.Datacenter{"legacy", "cloud"})
	return passport.NewOffice(passport.Options{Slow: time.Hour, Recent: 16, Recorder: m}), m, registry
}

// BenchmarkPassport is one answered request: begin, the stamps of seven
// states and of its end, counted in every metric. The clock is most of it.
func BenchmarkPassport(b *testing.B) {
	o, _, _ := rig(b)
	path := []byte("/1/user/-/steps")
	var p passport.Passport
	b.ReportAllocs()
	for b.Loop() {
		onePassport(o, &p, path)
	}
	b.ReportMetric(float64(unsafe.Sizeof(p)), "bytes/passport")
}

// BenchmarkPassportParallel is the same on every processor at once.
func BenchmarkPassportParallel(b *testing.B) {
	o, _, _ := rig(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var p passport.Passport
		for pb.Next() {
			onePassport(o, &p, nil)
		}
	})
}

// BenchmarkPassportPooled is the same with the office's own memory.
func BenchmarkPassportPooled(b *testing.B) {
	o, _, _ := rig(b)
	b.ReportAllocs()
	for b.Loop() {
		p := o.Open()
		for _, s := range usual {
			p.Stamp(s)
		}
		p.Datacenter, p.Reason, p.Status, p.End = "cloud", "bucket", 200, passport.EndAnswered
		o.Close(p)
	}
}

// BenchmarkClock is one look at the clock: a passport above has eight.
func BenchmarkClock(b *testing.B) {
	for b.Loop() {
		passport.Now()
	}
}

// BenchmarkScrape is one look at all metrics of two datacenters.
func BenchmarkScrape(b *testing.B) {
	_, _, registry := rig(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAnAnsweredRequestsPassportAllocatesNothing(t *testing.T) {
	o, _, _ := rig(t)
	var p passport.Passport
	path := []byte("/1/user/-/steps")
	if n := testing.AllocsPerRun(200, func() { onePassport(o, &p, path) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
