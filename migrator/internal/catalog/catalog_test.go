package catalog

import (
	"flag"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/internal/catalog"
	"drover/migrator/internal/campaign"
	"drover/migrator/internal/slo"
	"drover/migrator/internal/tracer"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

func words[W ~string](all ...W) []string {
	texts := make([]string, len(all))
	for i, w := range all {
		texts[i] = string(w)
	}
	return texts
}

func TestTheMetricsPageIsRightOfCampaigns(t *testing.T) {
	registry := prometheus.NewRegistry()
	campaign.NewMetrics(registry)
	catalog.Check(t, "campaign", *update, registry)
}

func TestTheMetricsPageIsRightOfObjectives(t *testing.T) {
	catalog.CheckDescribed(t, "objectives", *update, &slo.Evaluator{}, map[string]string{
		"drover_migrator_slo_level": "gauge", "drover_migrator_slo_burn": "gauge", "drover_migrator_slo_events": "gauge",
		"drover_migrator_slo_evaluated_timestamp_seconds": "gauge", "drover_migrator_slo_evaluations_total": "counter",
	}, map[string][]string{
		"level": words(slo.Levels()...), "cohort": words(slo.All, "moved", "stayed"),
		"severity": words(slo.Page, slo.Ticket, slo.Compare),
	})
}

func TestTheMetricsPageIsRightOfTracers(t *testing.T) {
	field, err := tracer.ParseField("header:Datacenter")
	if err != nil {
		t.Fatal(err)
	}
	one, err := tracer.New(tracer.Options{
		Map: struct{ tracer.Map }{}, Proxies: []tracer.Proxy{{Name: "a", URL: "http://127.0.0.1:1"}}, Prefix: "tracer-", PerShard: 1,
		Rate: 1, Timeout: time.Second, Late: time.Second, Grace: time.Second,
		Write: tracer.Request{Method: "POST", Path: "/", Datacenter: field},
	})
	if err != nil {
		t.Fatal(err)
	}
	catalog.CheckDescribed(t, "tracers", *update, one.Collector(), map[string]string{
		"drover_tracer_results_total": "counter", "drover_tracer_request_seconds": "histogram", "drover_tracer_last_right_timestamp_seconds": "gauge",
		"drover_tracer_proxy_map_version": "gauge", "drover_tracer_users": "gauge", "drover_tracer_untraced": "gauge",
		"drover_tracer_published_map_version": "gauge", "drover_tracer_map_readable": "gauge",
	}, map[string][]string{"kind": {tracer.KindRead, tracer.KindWrite}, "outcome": words(tracer.Outcomes()...)})
}
