package upstream

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func testHost(t *testing.T) *host {
	t.Helper()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"})
	return newHost("127.0.0.1:1", &Settings{Connect: time.Second, ConnectionsMax: 1, HeaderBytes: 4096}, gauge, gauge)
}
