package cli

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"drover/migrator/internal/move"
	"drover/tools/testservers"
)

// served is a command that runs and serves metrics.
type served struct {
	t     *testing.T
	url   string
	stop  context.CancelFunc
	ended chan int
}

// serve starts a command and waits until it says where its metrics are.
func (d *desktop) serve(args ...string) *served {
	d.t.Helper()
	ctx, stop := context.WithCancel(d.t.Context())
	read, write := io.Pipe()
	s := &served{t: d.t, stop: stop, ended: make(chan int, 1)}
	go func() {
		code := Run(ctx, Environment{Args: args, Out: io.Discard, Err: write, Who: "tester", Config: d.path("migrator.yaml")})
		_ = write.Close() // a pipe in memory has no error
		s.ended <- code
	}()
	lines := bufio.NewScanner(read)
	for s.url == "" && lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "metrics at "); ok {
			s.url = url
		}
	}
	go func() { _, _ = io.Copy(io.Discard, read) }() // it ends when the command does
	if s.url == "" {
		d.t.Fatalf("migrator %s: exit code %d, and it never said where its metrics are", strings.Join(args, " "), <-s.ended)
	}
	return s
}

// configureMore adds a line to the configuration.
func (d *desktop) configureMore(line string) {
	d.t.Helper()
	text, err := os.ReadFile(d.path("migrator.yaml"))
	must(d.t, err)
	d.write("migrator.yaml", string(text)+line+"\n")
}

// end interrupts the command.
func (s *served) end() int {
	s.stop()
	return <-s.ended
}

// scrape reads all metrics.
func (s *served) scrape() map[string]*dto.MetricFamily {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url, nil)
	must(s.t, err)
	answer, err := http.DefaultClient.Do(request)
	must(s.t, err)
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	must(s.t, err)
	return families
}

// value is that of a gauge or a counter, of the one with the label's value.
func value(families map[string]*dto.MetricFamily, name, label string) float64 {
	family, ok := families["drover_migrator_"+name]
	if !ok {
		return -1
	}
	for _, m := range family.Metric {
		if label == "" || m.Label[0].GetValue() == label {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return -1
}

func (s *served) until(what string, so func(map[string]*dto.MetricFamily) bool) map[string]*dto.MetricFamily {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if families := s.scrape(); so(families) {
			return families
		}
	}
	s.t.Fatalf("never %s", what)
	return nil
}

func TestASoakServesItsLagAndTheStallOfTheMove(t *testing.T) {
	d := ready(t)
	user := userOf(5)
	d.exec(d.alpha, "INSERT INTO profile VALUES ('"+user+"', 'Ann')")
	d.want(0, []string{"bucket", "move", "5", "--to", "gamma"})
	s := d.serve("bucket", "soak", "5", "--metrics", ":0")
	if !strings.HasPrefix(s.url, "http://127.0.0.1:") {
		t.Errorf("without a host it is served at %s, want loopback", s.url)
	}
	families := s.until("up to date", func(f map[string]*dto.MetricFamily) bool {
		return value(f, "state", string(move.Soaking)) == 1 && value(f, "tail_measured_timestamp_seconds", "") > 0
	})
	stall := families["drover_migrator_write_stall_seconds"].Metric[0].Histogram
	if stall.GetSampleCount() != 1 || stall.GetSampleSum() <= 0 || value(families, "state", string(move.Tailing)) != 0 {
		t.Errorf("stall %v, tailing %v", stall, value(families, "state", string(move.Tailing)))
	}
	// Somebody has the row at the old home.
	blocker, err := d.open(d.alpha, testservers.AccountRoot).BeginTx(t.Context(), nil)
	must(t, err)
	_, err = blocker.ExecContext(t.Context(), "SELECT * FROM profile WHERE user_id = '"+user+"' FOR UPDATE")
	must(t, err)
	d.exec(d.gamma, "UPDATE profile SET name = 'Bob' WHERE user_id = '"+user+"'")
	s.until("behind", func(f map[string]*dto.MetricFamily) bool {
		return value(f, "tail_lag_transactions", "") > 0 && value(f, "tail_lag_seconds", "") > 1
	})
	must(t, blocker.Rollback())
	s.until("up to date again", func(f map[string]*dto.MetricFamily) bool {
		return value(f, "tail_lag_transactions", "") == 0 && value(f, "tail_lag_seconds", "") == 0 && value(f, "applied_rows_total", "") >= 1
	})
	if code := s.end(); code != 0 && code != exitInterrupted {
		t.Errorf("exit code %d after an interrupt", code)
	}
	if _, err := net.DialTimeout("tcp", strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/metrics"), time.Second); err == nil {
		t.Error("the metrics are still served")
	}
}

func TestAMoveServesItsTriesAndStepsBack(t *testing.T) {
	d := ready(t)
	d.exec(d.alpha, "INSERT INTO profile VALUES ('"+userOf(6)+"', 'Ann')")
	d.configureMore("metrics_listen: 127.0.0.1:0")
	var said bytes.Buffer
	a := &app{env: Environment{Who: "tester"}, configPath: d.path("migrator.yaml"), errOut: &said}
	must(t, a.open())
	t.Cleanup(func() { must(t, a.closeAll()) })
	must(t, a.measure(t.Context()))
	_, url, _ := strings.Cut(strings.TrimSpace(said.String()), "metrics at ")
	var tx *sql.Tx // an application's, from the first hold to the first step back
	must(t, a.points.ArmFunc("holding.after_journal", func() {
		var err error
		tx, err = d.open(d.alpha, testservers.AccountApp).BeginTx(t.Context(), nil)
		must(t, err)
		_, err = tx.ExecContext(t.Context(), "SELECT * FROM drover_fence WHERE bucket = 6 LOCK IN SHARE MODE")
		must(t, err)
	}))
	engine := a.engine(func(e move.Event) {
		if tx != nil && e.Note != "" {
			must(t, tx.Rollback())
			tx = nil
		}
	})
	m, err := engine.Start(t.Context(), move.Plan{Buckets: move.Buckets{6}, Target: "gamma", Who: "tester"})
	must(t, err)
	must(t, engine.Run(t.Context(), m))
	f := (&served{t: t, url: url}).scrape()
	for name, good := range map[string]func(float64) bool{
		"steps_back_total":   func(n float64) bool { return n >= 1 },
		"freeze_tries_total": func(n float64) bool { return n >= 1 },
		"copied_rows_total":  func(n float64) bool { return n == 1 },
	} {
		if n := value(f, name, ""); !good(n) {
			t.Errorf("%s is %v", name, n)
		}
	}
	if stall := f["drover_migrator_write_stall_seconds"].Metric[0].Histogram; stall.GetSampleCount() != 1 || value(f, "state", string(move.Soaking)) != 1 {
		t.Errorf("stall %v, soaking %v", stall, value(f, "state", string(move.Soaking)))
	}
}

func TestAnAddressThatCannotBeHadRefusesWhatAsksForItAndNoMoveForTheConfigurations(t *testing.T) {
	d := ready(t)
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, taken.Close()) }()
	d.unchanged(exitUsage, []string{"bucket", "move", "5", "--to", "gamma", "--metrics", taken.Addr().String()}, "nothing was changed", "another migrator may have it")
	d.unchanged(exitUsage, []string{"bucket", "move", "5", "--to", "gamma", "--metrics", "nonsense"}, "host:port")
	d.configureMore("metrics_listen: " + taken.Addr().String())
	d.want(0, []string{"bucket", "move", "5", "--to", "gamma"}, "no metrics", "soaking")
}
