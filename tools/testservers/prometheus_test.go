package testservers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const emptyPrometheus = "global: {scrape_interval: 1s}\n"

func TestPrometheusServesAndComesBackOnItsPort(t *testing.T) {
	t.Parallel()
	server := StartPrometheus(t, map[string]string{"prometheus.yml": emptyPrometheus})
	addr, pid := server.Addr(), server.PID()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := server.get(t.Context(), "/api/v1/query?query=vector(1)")
	if err != nil || !strings.Contains(string(text), `"success"`) || server.Addr() != addr || server.PID() == pid {
		t.Errorf("%s of %d at %s, was %d at %s: %v", text, server.PID(), server.Addr(), pid, addr, err)
	}
}

func TestPrometheusIsUnpackedIntoAnEmptyCacheByWhoeverMayNotInstall(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	found, err := unpackPrometheus(t.Context(), cache, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(rules, []byte("groups: [{name: a, rules: [{record: 'a:b', expr: 'up'}]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.CommandContext(t.Context(), found.Promtool, "check", "rules", rules).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	left, err := os.ReadDir(filepath.Join(cache, "prometheus"))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	again, err := unpackPrometheus(t.Context(), cache, func(string, ...any) { t.Error("unpacked again") })
	if err != nil || again != found {
		t.Errorf("%v, %v", again, err)
	}
}

func TestAnOldOrForeignPrometheusIsRefused(t *testing.T) {
	t.Parallel()
	for line, good := range map[string]bool{
		"prometheus, version 2.42.0+ds (branch: debian/sid)": true,
		"prometheus, version 3.5.0 (branch: HEAD)":           true,
		"prometheus, version 2.41.0 (branch: HEAD)":          false,
		"Consul v1.22.0": false,
	} {
		program := filepath.Join(t.TempDir(), "prometheus")
		if err := os.WriteFile(program, []byte("#!/bin/sh\necho '"+line+"'\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := (PrometheusPrograms{program, program}).check(t.Context()); (err == nil) != good {
			t.Errorf("%s: %v", line, err)
		}
	}
}
