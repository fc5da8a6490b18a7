package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"drover/internal/testrun"
	"drover/tools/internal/program"
	"drover/tools/testservers"
)

var update = flag.Bool("update", false, "try every case, and write docs/faults.md anew")

// shared is what all tests use: the migrator, and two servers that nobody kills.
var shared struct {
	migrator string
	fleet    *testservers.Fleet
	servers  []*testservers.MariaDB
	soak     bool // try every case

	databases atomic.Int64
	cases     []faultCase
	rows      sync.Map // case → row
}

// lanes is how many cases are tried at once. Each waits for programs and
// servers, but its clients work all that time: the more at once, the longer each
// takes, and the more its clients do.
const lanes = 4

func TestMain(m *testing.M) {
	flag.Parse()
	shared.soak = os.Getenv("DROVER_SOAK") == "1"
	code, err := 1, testrun.Parallel(lanes)
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
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "drover-moves-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if shared.migrator, err = program.Build(ctx, dir); err != nil {
		return 0, err
	}
	if shared.fleet, err = testservers.New(ctx, testservers.Options{}); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, shared.fleet.Close()) }()
	if shared.servers, err = shared.fleet.MariaDBs(ctx, "alpha", "gamma"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// database names a new one.
func database() string { return fmt.Sprintf("moves%d", shared.databases.Add(1)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
