package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"drover/migrator/internal/promote"
)

// written reads the metrics that a command left in a file.
func written(t *testing.T, path string) map[string]*dto.MetricFamily {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(file)
	must(t, err)
	for name := range families {
		if !strings.HasPrefix(name, "drover_migrator_") {
			t.Errorf("%s has %s, which node_exporter has of its own", path, name)
		}
	}
	return families
}

func TestAPromotionLeavesItsMetricsInAFile(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	w.ready()
	path := filepath.Join(t.TempDir(), "drover.prom")
	if code, _, errOut := w.run("shard", "promote", "alpha", "--to", "cloud", "--dry-run", "--metrics-file", path); code != 0 {
		t.Fatalf("--dry-run: exit %d: %s", code, errOut)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("--dry-run wrote metrics")
	}
	code, _, errOut := w.run("shard", "promote", "alpha", "--to", "cloud", "--metrics-file", path, "--metrics", ":0")
	if code != 0 || !strings.Contains(errOut, "metrics at http://127.0.0.1:") {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	f := written(t, path)
	for name, want := range map[string]float64{"promotions": 1, "promotion_replica_lag_transactions": 0, "failovers_total": 0} {
		if n := value(f, name, map[string]string{"promotions": string(promote.Done)}[name]); n != want {
			t.Errorf("%s is %v, want %v", name, n, want)
		}
	}
	if value(f, "promotion_state_entered_timestamp_seconds", string(promote.Done)) == 0 || value(f, "promotion_freeze_tries_total", "") < 1 {
		t.Errorf("%v", f)
	}
	for _, m := range f["drover_migrator_promotion_write_stall_seconds"].Metric {
		if m.Label[0].GetValue() == string(promote.StallSwitched) && (m.Histogram.GetSampleCount() != 1 || m.Histogram.GetSampleSum() <= 0) {
			t.Errorf("the stall is %v", m.Histogram)
		}
	}
}

func TestAMetricsFileThatNobodyWouldReadRefusesTheCommandWithNothingChanged(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	for _, path := range []string{filepath.Join(t.TempDir(), "drover.txt"), filepath.Join(t.TempDir(), "none", "drover.prom")} {
		code, _, errOut := w.run("shard", "promote", "alpha", "--to", "cloud", "--metrics-file", path)
		if code != exitUsage || !strings.Contains(errOut, "nothing was changed") {
			t.Errorf("%s: exit %d: %s", path, code, errOut)
		}
	}
	if w.lives().Datacenter != "legacy" {
		t.Errorf("the map has %+v", w.lives())
	}
}

func TestAFailoverSaysWhatItKnowsAndItsOldPrimaryWhatWasLost(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	w.ready()
	ctx := t.Context()
	must(t, w.from.Exec(ctx, "CREATE TABLE app.alone (id INT PRIMARY KEY)"))
	w.passes("shard", "promote", "alpha", "--to", "cloud", "--dry-run")
	must(t, w.to.Exec(ctx, "STOP SLAVE IO_THREAD"))
	must(t, w.from.Exec(ctx, "INSERT INTO app.alone VALUES (1)", "INSERT INTO app.alone VALUES (2)"))
	must(t, w.from.Kill())
	path := filepath.Join(t.TempDir(), "drover.prom")
	code, _, errOut := w.run("shard", "promote", "alpha", "--to", "cloud", "--lost", "--yes", "alpha", "--metrics-file", path)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	f := written(t, path)
	if value(f, "failovers_total", "unknown") != 1 || value(f, "failovers_total", "semi_sync") != 0 ||
		value(f, "failover_compared_timestamp_seconds", "") != 0 || value(f, "promotions", string(promote.Reversing)) != 1 {
		t.Errorf("after the failover: %v", f)
	}
	must(t, w.from.Restart(ctx))
	if code, _, errOut = w.run("resume", "--metrics-file", path); code != exitFailed || !strings.Contains(errOut, "errant") {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	f = written(t, path)
	if value(f, "failover_lost_transactions", "") != 2 || value(f, "failover_compared_timestamp_seconds", "") == 0 {
		t.Errorf("%v transactions are lost, want 2", value(f, "failover_lost_transactions", ""))
	}
}

func TestMakingAReplicaLeavesItsMetricsAndWhatDiffers(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	ctx := t.Context()
	must(t, w.from.Exec(ctx, "CREATE TABLE app.doc (id INT PRIMARY KEY, bucket INT)", "INSERT INTO app.doc VALUES (1, 1), (2, 2)"))
	must(t, w.to.Exec(ctx, "STOP SLAVE", "RESET SLAVE ALL", "DROP DATABASE IF EXISTS app", "RESET MASTER", "SET GLOBAL gtid_slave_pos=''"))
	path := filepath.Join(t.TempDir(), "drover.prom")
	replicate := []string{"shard", "replicate", "alpha", "--to", "cloud", "--metrics-file", path}
	if code, _, errOut := w.run(replicate...); code != 0 {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	f := written(t, path)
	if value(f, "replica_state", "done") != 1 || value(f, "replica_copied_rows_total", "") < 2 || value(f, "replica_compared_rows_total", "") < 2 ||
		value(f, "replica_differences", "") != 0 || value(f, "replica_proven_timestamp_seconds", "") == 0 {
		t.Errorf("%v", f)
	}
	must(t, w.to.Exec(ctx, "SET SESSION sql_log_bin = 0", "DELETE FROM app.doc"))
	if code, _, errOut := w.run(replicate...); code != exitFailed {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	if f = written(t, path); value(f, "replica_differences", "") != 2 {
		t.Errorf("%v differences, want 2", value(f, "replica_differences", ""))
	}
}
