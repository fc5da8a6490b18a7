package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/tools/demo/internal/stage"
)

// programs builds the three programs once for all tests.
var programs struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if programs.dir != "" {
		if err := os.RemoveAll(programs.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// full is the demo with its programs built.
func full(t *testing.T) options {
	t.Helper()
	programs.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "drover-demo-programs-"); programs.err == nil {
			programs.err = stage.Build(context.Background(), programs.dir)
		}
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	o := defaults()
	o.bin, o.work = programs.dir, t.TempDir()
	return o
}

// short is full in a few seconds, with a load that other tests beside it leave
// room for: writers of a row that is locked most of the time never catch up.
func short(t *testing.T) options {
	t.Helper()
	o := full(t)
	o.users, o.buckets, o.rate, o.rateMin = 2000, 64, 80, 40
	o.employees, o.trickle, o.batches = 10, 4, 2
	o.calm, o.pause, o.bake, o.rehearsals = 500*time.Millisecond, 200*time.Millisecond, 500*time.Millisecond, 1
	o.slow = 10 * time.Second // seconds say nothing beside other tests
	o.jobRate = 40
	return o
}

// output collects what a run prints, and shows it if the test fails.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(text)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func newOutput(t *testing.T) *output {
	out := &output{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(out)
		}
	})
	return out
}

func TestEverybodyMovesAndNobodyNotices(t *testing.T) {
	o, out := short(t), newOutput(t)
	if pictures := os.Getenv("DROVER_CONSOLE_PICTURES"); pictures != "" {
		o = full(t) // a picture is of the whole demo
	}
	o.look = lookAtConsole(t)
	if err := run(t.Context(), o, newScreen(out, false)); err != nil {
		t.Error(err)
		logMigrators(t, o.work)
	}
	for _, want := range []string{"GREEN", "The default has changed", "The campaign took",
		fmt.Sprintf("users      before    after\nlegacy   %8[1]s        0\ncloud           0 %8[1]s", thousands(o.users))} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	wantNothingRunning(t, o.work)
}

// logMigrators shows what the last migrators said: where a step took long, they
// say in which state.
func logMigrators(t *testing.T, work string) {
	t.Helper()
	const last, bytesMax = 3, 4 << 10 // each
	paths, err := filepath.Glob(filepath.Join(work, "logs", "migrator-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths[max(0, len(paths)-last):] {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("%s:\n%s", filepath.Base(path), text[max(0, len(text)-bytesMax):])
	}
}

func TestWithoutTheFenceWritesAreLost(t *testing.T) {
	o, out := short(t), newOutput(t)
	o.fence = stage.FenceOff
	o.jobRate = 250 // it writes around the edge, whose holds save most of the others
	err := run(t.Context(), o, newScreen(out, false))
	t.Log(err)
	if !errors.Is(err, errRed) || !strings.Contains(err.Error(), "lost") {
		t.Errorf("%v; want RED, with writes lost", err)
	}
	if !strings.Contains(out.String(), "   lost: user ") {
		t.Error("it does not say what was lost")
	}
	wantNothingRunning(t, o.work)
}

func TestInterruptLeavesNothingRunning(t *testing.T) {
	o, out := short(t), newOutput(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o, newScreen(out, false)) }()
	for !strings.Contains(out.String(), "As it was") && wait(t.Context(), 10*time.Millisecond) == nil {
		select {
		case err := <-ended:
			t.Fatalf("it ended by itself: %v", err)
		default:
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want canceled", err)
	}
	wantNothingRunning(t, o.work)
}

// wantNothingRunning looks for processes that name the work folder. Where there
// is no /proc it sees none.
func wantNothingRunning(t *testing.T, work string) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), work) {
			t.Errorf("%s: %q is still running", path, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*options){
		"users":    func(o *options) { o.users = 10 },
		"rate":     func(o *options) { o.rate = 0 },
		"rate-min": func(o *options) { o.rateMin = o.rate + 1 },
		"fence":    func(o *options) { o.fence = "none" },
	} {
		o := defaults()
		if err := o.validate(); err != nil {
			t.Fatal(err)
		}
		change(&o)
		if err := o.validate(); err == nil || !strings.Contains(err.Error(), "--"+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRangesAreAsTheMigratorReadsThem(t *testing.T) {
	for want, buckets := range map[string][]bucketmap.BucketID{
		"": {}, "7": {7}, "0-3": {0, 1, 2, 3}, "0,2-3,9": {0, 2, 3, 9},
	} {
		if got := ranges(buckets); got != want {
			t.Errorf("%v: %q; want %q", buckets, got, want)
		}
	}
}

func TestNumbersAreReadable(t *testing.T) {
	for want, n := range map[string]int{"0": 0, "999": 999, "1,000": 1000, "12,345,678": 12345678, "-1,234": -1234, "-123": -123} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %q; want %q", n, got, want)
		}
	}
	if got := fmt.Sprint(plural(1, "write"), " ", plural(2, "write")); got != "1 write 2 writes" {
		t.Error(got)
	}
}
