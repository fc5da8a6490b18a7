package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"drover/migrator/internal/slo"
	"drover/tools/testservers"
)

// edgePage serves a proxy's page whose counters grow at each look: good and bad
// requests.
func edgePage(t *testing.T, good, bad int64) string {
	t.Helper()
	var looks atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := looks.Add(1)
		fmt.Fprintln(w, "# TYPE drover_proxy_responses_total counter")
		for _, d := range []string{"legacy", "cloud"} {
			fmt.Fprintf(w, "drover_proxy_responses_total{datacenter=%q,class=\"2xx\"} %d\n", d, n*good)
			fmt.Fprintf(w, "drover_proxy_responses_total{datacenter=%q,class=\"5xx\"} %d\n", d, n*bad)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// sloFile writes a configuration whose shortest window is two seconds.
func sloFile(t *testing.T, url, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "migrator.yaml")
	must(t, os.WriteFile(path, []byte(fmt.Sprintf(`map: {store: file, dir: map}
shards: shards.yaml
account: {user: nobody}
tables: [{name: steps, bucket_column: bucket}]
slo:
  source: {kind: proxies, urls: [%q]}
  windows:
    page: [{burn: 14.4, long: 4s, short: 2s}]
    ticket: [{burn: 1, long: 8s, short: 2s}]
  objectives:
    - {name: availability, kind: availability, target: 0.999, cohorts: [all]%s}
`, url, more)), 0o600))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(path), "shards.yaml"),
		[]byte("database: app\nshards:\n  alpha: {legacy: '127.0.0.1:1'}\n  gamma: {cloud: '127.0.0.1:2'}\n"), 0o600))
	return path
}

// runSLO runs a command and returns its exit code and what it wrote.
func runSLO(t *testing.T, config string, args ...string) (code int, out, said string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Run(t.Context(), Environment{Args: args, Out: &o, Err: &e, Who: "tester", Config: config})
	return code, o.String(), e.String()
}

func TestEveryVerdictHasItsOwnExitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		good, bad  int64
		more, args string
		code       int
		level      slo.Level
	}{
		{"healthy", 1000, 0, "", "", 0, slo.Healthy},
		{"unhealthy", 1000, 2, "", "", exitUnhealthy, slo.Unhealthy},
		{"burning", 1000, 100, "", "", exitBurning, slo.Burning},
		{"too few", 1, 0, "", "", exitUnknown, slo.Unknown},
		{"too short", 1000, 0, "", "--for 300ms", exitUnknown, slo.Unknown},
		{"elsewhere", 1000, 0, ", datacenters: [mars]", "", exitUnknown, slo.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := sloFile(t, edgePage(t, c.good, c.bad), c.more)
			code, out, said := runSLO(t, path, append([]string{"slo", "check", "-o", "json"}, strings.Fields(c.args)...)...)
			var v slo.Verdict
			if err := json.Unmarshal([]byte(out), &v); err != nil || code != c.code || v.Level != c.level || len(v.Figures) == 0 {
				t.Errorf("exit code %d, %v: %s%s", code, err, out, said)
			}
		})
	}
}

func TestACheckShowsItsFiguresToPeople(t *testing.T) {
	t.Parallel()
	path := sloFile(t, edgePage(t, 1, 0), "")
	code, out, said := runSLO(t, path, "slo", "check", "--for", "500ms", "--empty", "cloud")
	if code != exitUnknown || !strings.Contains(out, "watched for") || !strings.Contains(out, "availability") || !strings.Contains(said, "unknown: ") {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
}

func TestACheckOfAWrongConfigurationIsRefusedWithItsKey(t *testing.T) {
	t.Parallel()
	path := sloFile(t, "ftp://nowhere", "")
	for _, args := range [][]string{{"slo", "check"}, {"slo", "rules"}} {
		if code, _, said := runSLO(t, path, args...); code != exitUsage || !strings.Contains(said, "slo.source.urls[0]") {
			t.Errorf("exit code %d: %s", code, said)
		}
	}
	path = sloFile(t, "http://127.0.0.1:1", "")
	if code, _, said := runSLO(t, path, "slo", "check", "--empty", "mars"); code != exitUsage || !strings.Contains(said, "mars") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if code, _, said := runSLO(t, "", "slo", "rules"); code != exitUsage || !strings.Contains(said, "--config") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

func TestTheRulesThatAreWrittenPassPromtool(t *testing.T) {
	t.Parallel()
	path := sloFile(t, "http://127.0.0.1:1", "")
	code, out, said := runSLO(t, path, "slo", "rules")
	programs, err := testservers.InstallPrometheus(t.Context(), t.Logf)
	must(t, err)
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	must(t, os.WriteFile(rules, []byte(out), 0o600))
	if text, err := exec.CommandContext(t.Context(), programs.Promtool, "check", "rules", rules).CombinedOutput(); err != nil || code != 0 {
		t.Errorf("exit code %d, %v: %s%s", code, err, text, said)
	}
}
