package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func sample() *prometheus.Registry {
	r := prometheus.NewRegistry()
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "a_total", Help: "Of a | b."}, []string{"datacenter", "outcome"})
	r.MustRegister(c, prometheus.NewGauge(prometheus.GaugeOpts{Name: "b", Help: "B."}))
	c.WithLabelValues("legacy", "good")
	c.WithLabelValues("cloud", "bad")
	return r
}

func project(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module x\n", page: "# Metrics\n<!-- begin x -->\n<!-- end x -->\nend\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(dir, "docs"))
}

func TestWhatIsWrittenIsReadBackAndThenIsRight(t *testing.T) {
	project(t)
	Check(t, "x", true, sample(), "datacenter")
	Check(t, "x", false, sample(), "datacenter")
	want := map[string]Metric{
		"a_total": {Name: "a_total", Type: "counter", Help: `Of a \| b.`, Labels: []Label{{Name: "datacenter"}, {"outcome", []string{"bad", "good"}}}},
		"b":       {Name: "b", Type: "gauge", Help: "B."},
	}
	have := Read(t)
	if fmt.Sprint(have["b"]) != fmt.Sprint(want["b"]) || !reflect.DeepEqual(have["a_total"].Labels, want["a_total"].Labels) || len(have) != 2 {
		t.Errorf("read %+v, want %+v", have, want)
	}
}

func TestAMetricWithoutASeriesIsNamed(t *testing.T) {
	r := sample()
	r.MustRegister(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "forgotten"}, []string{"x"}))
	if _, err := of(r, nil); err == nil || !strings.Contains(err.Error(), "forgotten") {
		t.Errorf("error %v", err)
	}
}
