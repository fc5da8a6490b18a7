package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/bench/edge/internal/peer"
	"drover/tools/sources"
)

// proxyPath spares the tests the building of ./proxy: go test ./bench/edge -args -proxy PATH.
var proxyPath = flag.String("proxy", "", "Drover's `binary`; default: ./proxy is built")

const smokeMax = time.Minute

// programs are the bench and Drover's proxy, as the tests run them: a run alone
// would link the two again each time, which takes longer than what it measures.
var programs struct{ bench, proxy string }

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "drover-edge-test-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// What a debugger needs is not linked in.
	const small = "-ldflags=-s -w"
	if programs.bench, err = sources.Program(context.Background(), dir, "bench/edge", small); err != nil {
		return 0, err
	}
	if programs.proxy = *proxyPath; programs.proxy == "" {
		if programs.proxy, err = sources.Program(context.Background(), dir, "proxy", small); err != nil {
			return 0, err
		}
	}
	return m.Run(), nil
}

// smoke runs the bench as its users do, and returns what it printed and its
// --json.
func smoke(t *testing.T, args ...string) (table string, samples []map[string]any) {
	t.Helper()
	figures := filepath.Join(t.TempDir(), "figures.json")
	ctx, cancel := context.WithTimeout(t.Context(), smokeMax)
	defer cancel()
	args = append(args, "--rounds", "1", "--seconds", "1", "--json", figures, "--label", "smoke", "--proxy", programs.proxy)
	var words strings.Builder
	cmd := exec.CommandContext(ctx, programs.bench, args...)
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s\n%s", args, err, words.String(), out)
	}
	text, err := os.ReadFile(figures)
	if err != nil {
		t.Fatal(err)
	}
	var kept struct {
		Label   string
		Samples []map[string]any
	}
	if err := json.Unmarshal(text, &kept); err != nil || kept.Label != "smoke" {
		t.Fatalf("%v, label %q", err, kept.Label)
	}
	return string(out), kept.Samples
}

// installed are the peers that this machine has.
func installed() []string {
	peers := []string{peer.Drover, peer.Nethttp}
	for name, path := range map[string]string{peer.Nginx: peer.NginxPath, peer.Haproxy: peer.HaproxyPath} {
		if _, err := os.Stat(path); err == nil {
			peers = append(peers, name)
		}
	}
	return peers
}

func TestEveryPeerAnswersRightWhileSaturated(t *testing.T) {
	t.Parallel()
	table, samples := smoke(t, "--peers", strings.Join(installed(), ","), "--load", "saturated")
	for _, name := range installed() {
		i := slices.IndexFunc(samples, func(s map[string]any) bool { return s["peer"] == name })
		if i < 0 || !strings.Contains(table, "\n"+name+" ") {
			t.Errorf("%s is missing in %v\n%s", name, samples, table)
			continue
		}
		s := samples[i]
		if s["errors"] != 0.0 || s["answered"].(float64) < 500 || s["cpu_microseconds"].(float64) <= 0 || s["peak_mib"].(float64) <= 0 {
			t.Errorf("%s: %v", name, s)
		}
		if _, has := s["allocations"]; has != (name == peer.Drover || name == peer.Nethttp) {
			t.Errorf("%s: allocations %v", name, s["allocations"])
		}
	}
	if !strings.Contains(table, "drover/nethttp") {
		t.Errorf("no ratios in\n%s", table)
	}
}

func TestFixedRateIsKept(t *testing.T) {
	t.Parallel()
	_, samples := smoke(t, "--peers", peer.Drover, "--load", "fixed,saturated2")
	if len(samples) != 2 {
		t.Fatalf("%d samples", len(samples))
	}
	if rate := samples[0]["requests_per_second"].(float64); rate < 1000 || rate > 2500 || samples[0]["load"] != "fixed" {
		t.Errorf("%v", samples[0])
	}
}

func TestEveryHeldRequestIsReleasedAndAccountedFor(t *testing.T) {
	t.Parallel()
	table, samples := smoke(t, "held", "--requests", "400")
	s := samples[0]
	if s["answered"] != 400.0 || s["errors"] != 0.0 || s["entered"] != 400.0 || s["entered_less_ends"] != 0.0 {
		t.Errorf("%v\n%s", s, table)
	}
	if released := s["released_ms"].(float64); released <= 0 || released > heldWaitMax.Seconds()*1e3 {
		t.Errorf("released after %v ms", released)
	}
}

func TestNormalClientIsServedBesideSlowOnes(t *testing.T) {
	t.Parallel()
	table, samples := smoke(t, "slow", "--clients", "60")
	s := samples[0]
	if s["errors"] != 0.0 || s["beside"].(map[string]any)["p99_ms"].(float64) <= 0 {
		t.Errorf("%v\n%s", s, table)
	}
}

func TestNothingIsLostWhileTheEdgeIsReplaced(t *testing.T) {
	t.Parallel()
	table, samples := smoke(t, "restart", "--runs", "1")
	if len(samples) != 4 {
		t.Fatalf("%d samples", len(samples))
	}
	for _, s := range samples {
		if s["lost"] != 0.0 || s["doubled"] != 0.0 || s["acknowledged"].(float64) < 100 {
			t.Errorf("%v\n%s", s, table)
		}
	}
}

func TestUnknownPeersAndLoadsAreRefused(t *testing.T) {
	b := &bench{rounds: 1}
	for want, o := range map[string]compareOptions{
		"--peers":    {peers: []string{"apache"}, loads: loadNames()},
		"--load":     {peers: peer.Names(), loads: []string{"heavy"}},
		"--gate":     {peers: []string{peer.Drover}, loads: loadNames()},
		"saturated2": {peers: peer.Names(), loads: []string{"fixed", "saturated"}},
	} {
		b.gate = want == "--gate" || want == "saturated2"
		if err := b.compare(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
