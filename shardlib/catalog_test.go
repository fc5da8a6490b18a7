package shardlib

import (
	"flag"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"drover/internal/catalog"
)

var updatePage = flag.Bool("update", false, "write docs/metrics.md anew")

func TestTheMetricsPageIsRight(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := newMetrics(&pools{})
	registry.MustRegister(m.collectors()...)
	catalog.Check(t, "shardlib", *updatePage, registry)
}
