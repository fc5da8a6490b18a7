package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"drover/internal/testrun"
	"drover/tools/sources"
	"drover/tools/testservers"
)

const (
	// patience is when a test gives up. No test that passes comes near it.
	patience = 60 * time.Second
	// reactMax is how long a proxy may take to say something of a fault, and
	// quietMax how long it is watched where it is known to say nothing. Consul
	// must have been away for 5 s before that is said.
	reactMax = 15 * time.Second
	quietMax = 2500 * time.Millisecond
	// stable is how long what it says must stay the same.
	stable = 300 * time.Millisecond
	poll   = 20 * time.Millisecond
	// pace is how often each user asks while a fault comes, and how often is
	// looked whether the proxy has said something of it: most of the machine's
	// time would go into looking.
	pace = 100 * time.Millisecond
)

// shared is what all worlds use.
var shared struct {
	proxy, migrator string // programs
	apps            map[string]*httptest.Server
	fleet           *testservers.Fleet
	consul          *testservers.Consul
}

// parallelism is how many faults are tried at once. Each waits for programs far
// more than it computes.
const parallelism = 8

func TestMain(m *testing.M) {
	code, err := 1, testrun.Parallel(parallelism)
	if err == nil {
		code, err = runTests(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "drover-faults-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // for the proxy that is another user
		return 0, err
	}
	ctx := context.Background()
	if err := sources.Build(ctx, dir, "proxy", "migrator"); err != nil {
		return 0, err
	}
	shared.proxy, shared.migrator = filepath.Join(dir, "proxy"), filepath.Join(dir, "migrator")
	if err := errors.Join(os.Chmod(shared.proxy, 0o755), os.Chmod(shared.migrator, 0o755)); err != nil {
		return 0, err
	}
	shared.apps = map[string]*httptest.Server{}
	for _, dc := range []string{"legacy", "cloud"} {
		shared.apps[dc] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s by %s", dc, r.Header.Get("Drover-Map-Version"))
		}))
		defer shared.apps[dc].Close()
	}
	shared.fleet, err = testservers.New(ctx, testservers.Options{Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, shared.fleet.Close()) }()
	if shared.consul, err = shared.fleet.Consul(ctx, "shared", testservers.ConsulOptions{}); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
