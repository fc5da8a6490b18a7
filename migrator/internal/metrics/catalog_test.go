package metrics

import (
	"flag"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"drover/internal/catalog"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

func TestTheMetricsPageIsRight(t *testing.T) {
	registry := prometheus.NewRegistry()
	New(registry)
	catalog.Check(t, "migrator", *update, registry)
}
