package testservers

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func putKey(t *testing.T, server *Consul, key, value string) {
	t.Helper()
	var done bool
	if err := server.call(t.Context(), http.MethodPut, "/v1/kv/"+key, value, &done); err != nil || !done {
		t.Fatalf("put %s: %v, %v", key, done, err)
	}
}

func getKey(t *testing.T, server *Consul, key string) string {
	t.Helper()
	var pairs []struct{ Value []byte }
	if err := server.call(t.Context(), http.MethodGet, "/v1/kv/"+key, "", &pairs); err != nil {
		t.Fatal(err)
	}
	return string(pairs[0].Value)
}

func TestKilledOrStoppedConsulComesBackWithItsData(t *testing.T) {
	t.Parallel()
	server, err := Start(t).Consul(t.Context(), "c", ConsulOptions{})
	if err != nil {
		t.Fatal(err)
	}
	url := server.URL()
	for _, end := range []func() error{server.Kill, server.Stop} {
		putKey(t, server, "k", url)
		pid := server.PID()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if alive(pid) {
			t.Errorf("process %d is alive", pid)
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if server.URL() != url || getKey(t, server, "k") != url {
			t.Errorf("%s has %q, was %s", server.URL(), getKey(t, server, "k"), url)
		}
	}
}

func TestConsulWithACLDeniesWhoHasNoToken(t *testing.T) {
	t.Parallel()
	server, err := Start(t).Consul(t.Context(), "c", ConsulOptions{ACL: true})
	if err != nil {
		t.Fatal(err)
	}
	putKey(t, server, "k", "v")
	server.options.ACL = false // calls without a token
	err = server.call(t.Context(), http.MethodGet, "/v1/kv/k", "", nil)
	if err == nil || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("%v", err)
	}
}

func TestConsulClusterOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	cluster, err := Start(t).ConsulCluster(t.Context(), "c", ConsulOptions{})
	if err != nil {
		t.Fatal(err)
	}
	leader, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	putKey(t, leader, "k", "v")
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := cluster.Leader(t.Context())
	if err != nil || second == leader {
		t.Fatalf("the leader is %v: %v", second.Name(), err)
	}
	if err := leader.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	if getKey(t, leader, "k") != "v" {
		t.Error("the value is lost")
	}
}

func TestForeignOrOldConsulIsRefused(t *testing.T) {
	for line, good := range map[string]bool{
		"Consul v1.21.0": true, "Consul v1.15.0-dev": true, "Consul v2.0.0": true,
		"Consul v1.14.9": false, "Nomad v1.21.0": false,
	} {
		program := filepath.Join(t.TempDir(), "consul")
		if err := os.WriteFile(program, []byte("#!/bin/sh\necho '"+line+"'\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := checkConsul(t.Context(), program); (err == nil) != good {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestConsulOutsideTheProjectIsNamedAsMissing(t *testing.T) {
	t.Setenv("DROVER_TESTSERVERS_SOURCE", sourceUnpack)
	t.Chdir(t.TempDir())
	if _, err := findOrBuildConsul(t.Context(), t.TempDir(), t.Logf); !errors.Is(err, ErrConsulMissing) {
		t.Errorf("%v", err)
	}
}

// shareConsul gives a cache folder of a test the Consul of the user's.
func shareConsul(t *testing.T, cache string) {
	t.Helper()
	own, err := cacheFolder()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := findOrBuildConsul(t.Context(), own, t.Logf); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(own, "consul"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(own, "consul"), filepath.Join(cache, "consul")); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptedBuildOfConsulLeavesNothing(t *testing.T) {
	t.Setenv("DROVER_TESTSERVERS_SOURCE", sourceUnpack) // not one on PATH
	cache := t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	begun := false
	_, err := findOrBuildConsul(ctx, cache, func(string, ...any) {
		begun = true
		interrupt()
	})
	if !begun || !errors.Is(err, context.Canceled) || !errors.Is(err, ErrConsulMissing) {
		t.Fatalf("begun %v: %v", begun, err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "consul", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left %v: %v", left, err)
	}
}
