package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/internal/parity"
)

// mirroring is the admin server of a proxy that mirrors.
func mirroring(t *testing.T, name string, c parity.Counts) string {
	t.Helper()
	r := parity.Report{Proxy: name, Enabled: true, Began: time.Now(), At: time.Now(), Datacenters: []string{"legacy", "cloud"}, Total: c,
		Drops: map[string]uint64{"queue_full": c.Dropped, "moving": 0},
		Classes: []parity.Class{{Class: "GET /1/user/{user}/steps", Counts: c, Probes: 40, Noise: []parity.Field{{Field: "$.at", Count: 40}},
			Fields: []parity.Field{{Field: "$.total", Count: c.Different}}}},
		Examples: []parity.Example{{At: time.Now(), Class: "GET /1/user/{user}/steps", Path: "/1/user/x\x1b[2J/steps", Bucket: 7, Source: "legacy", Target: "cloud",
			Differences: []parity.Difference{{Field: "$.total", Place: "$.total", Source: "17", Target: "18"}}}},
	}
	r.Finish()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(r) //nolint:errcheck // a test's
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func runParity(args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	code = Run(context.Background(), Environment{Args: append([]string{"parity", "report"}, args...), Out: &o, Err: &e, Who: "tester"})
	return code, o.String(), e.String()
}

func TestParityReportShowsWhatDiffersOnAllProxies(t *testing.T) {
	t.Parallel()
	a, b := mirroring(t, "a", parity.Counts{Same: 20_000, Different: 20, Dropped: 5}), mirroring(t, "b", parity.Counts{Same: 20_000, Noise: 3})
	code, out, errOut := runParity("--proxy", a, "--proxy", b, "--proxy", b)
	for _, words := range []string{
		"2 proxies, between cloud and legacy", "same 40000, different 20, noise 3", "dropped 5 (queue_full 5)",
		"0.05 % (0.0324 % to 0.0772 %)", "GET /1/user/{user}/steps", "$.at", "legacy     17", "cloud      18",
	} {
		if !strings.Contains(out, words) {
			t.Errorf("no %q in:\n%s", words, out)
		}
	}
	if code != 0 || strings.Contains(out, "\x1b") {
		t.Errorf("exit code %d, %s, %q", code, errOut, out)
	}
	code, out, _ = runParity("--proxy", a, "-o", "json")
	var r parityResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || r.Report.Differing.Different != 20 || r.Judgement != nil {
		t.Errorf("got %d, %v, %s", code, err, out)
	}
}

func TestParityReportsExitCodeIsAGate(t *testing.T) {
	t.Parallel()
	good, bad := mirroring(t, "a", parity.Counts{Same: 20_000}), mirroring(t, "b", parity.Counts{Same: 1000, Different: 50})
	few := mirroring(t, "c", parity.Counts{Same: 10})
	dead := httptest.NewServer(nil)
	dead.Close()
	for _, c := range []struct {
		args  []string
		code  int
		words string
	}{
		{[]string{"--proxy", good, "--max", "0.001"}, 0, ""},
		{[]string{"--proxy", good, "--proxy", bad, "--max", "0.001"}, 1, "differ"},
		{[]string{"--proxy", few, "--max", "0.001"}, 1, "too few"},
		{[]string{"--proxy", good, "--proxy", dead.URL, "--max", "0.001"}, 1, "1 of 2 proxies"},
		{[]string{"--proxy", good, "--proxy", dead.URL}, 2, "1 of 2 proxies"},
		{[]string{"--proxy", good, "--max", "0"}, 2, "above 0"},
		{[]string{"--proxy", "10.0.0.1"}, 2, "admin server"},
		{nil, 2, "--proxy"},
		{[]string{"--proxy", good, "extra"}, 2, ""},
	} {
		code, out, errOut := runParity(c.args...)
		if code != c.code || !strings.Contains(errOut, c.words) {
			t.Errorf("%v: got %d, want %d with %q\n%s%s", c.args, code, c.code, c.words, out, errOut)
		}
	}
}

func TestParityReportTakesProxiesAndTokenFromTheConfiguration(t *testing.T) {
	t.Parallel()
	report := mirroring(t, "a", parity.Counts{Same: 5})
	asked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret-word" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer, err := http.Get(report + r.URL.Path)
		if err != nil {
			t.Error(err)
			return
		}
		defer answer.Body.Close()
		if _, err := io.Copy(w, answer.Body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(asked.Close)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	token := write("token", "secret-word\n")
	tables := "shards: s.yaml\naccount: {user: drover}\ntables: [{name: steps, bucket_column: bucket}]\n"
	push := write("push.yaml", fmt.Sprintf("map: {store: push, dir: %s, push: {proxies: [%q], token_file: %s}}\n%s", dir, asked.URL, token, tables))
	file := write("file.yaml", fmt.Sprintf("map: {store: file, dir: %s}\n%s", dir, tables))
	judged := func(name, more, source string) string {
		return write(name, fmt.Sprintf("map: {store: file, dir: %s%s}\n%sslo:\n  source: {kind: proxies, %s}\n"+
			"  objectives: [{name: availability, kind: availability, target: 0.999}]\n", dir, more, tables, source))
	}
	urls := fmt.Sprintf("urls: [%q]", asked.URL+"/metrics")
	with := judged("with.yaml", "", urls+", token_file: "+token)
	canary := judged("canary.yaml", ", canary: {token_file: "+token+"}", urls)
	elsewhere := judged("elsewhere.yaml", "", fmt.Sprintf("urls: [%q]", asked.URL+"/pages/1"))
	for _, path := range []string{with, canary} {
		if code, out, errOut := runParity("--config", path); code != 0 || !strings.Contains(out, "same 5") {
			t.Errorf("%s: got %d %s%s", path, code, out, errOut)
		}
	}
	if code, out, errOut := runParity("--config", with, "--proxy", report); code != 0 || !strings.Contains(out, "same 5") {
		t.Errorf("got %d %s%s", code, out, errOut)
	}
	if code, out, errOut := runParity("--config", elsewhere); code != 2 || !strings.Contains(errOut, "no admin server's /metrics") {
		t.Errorf("got %d %s%s", code, out, errOut)
	}
	if code, out, errOut := runParity("--config", push); code != 0 || !strings.Contains(out, "same 5") {
		t.Errorf("got %d %s%s", code, out, errOut)
	}
	if code, out, errOut := runParity("--config", file); code != 2 || !strings.Contains(errOut, "give --proxy URL") {
		t.Errorf("got %d %s%s", code, out, errOut)
	}
	if code, out, errOut := runParity("--config", file, "--proxy", asked.URL); code != 2 || !strings.Contains(out, "token_file") || strings.Contains(out, "secret-word") {
		t.Errorf("got %d %s%s", code, out, errOut)
	}
}
