package metrics_test

import (
	"flag"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/internal/catalog"
	"drover/proxy/internal/hold"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/upstream"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

func TestTheMetricsPageIsRight(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := metrics.New(registry, []bucketmap.Datacenter{"legacy", "cloud"})
	for _, o := range hold.Outcomes() {
		m.Holds.WithLabelValues(o.String())
	}
	for _, kind := range upstream.Kinds() {
		m.UpstreamErrors.WithLabelValues("cloud", string(kind))
	}
	m.Retries.WithLabelValues("cloud")
	m.Failovers.WithLabelValues("cloud", "legacy")
	m.UpstreamHealthy.WithLabelValues("cloud", "10.0.0.1:80")
	m.UpstreamConns.WithLabelValues("cloud")
	m.Ejections.WithLabelValues("cloud", "10.0.0.1:80")
	catalog.Check(t, "proxy", *update, registry, "datacenter", "from", "to", "upstream")
}
