package promote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/preflight"
)

func contextOf(t *testing.T, seconds int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), time.Duration(seconds)*time.Second)
}

// goOn resumes what is open until nothing is.
func (w *world) goOn() {
	w.t.Helper()
	for range 5 {
		for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
			records, err := journal.Open(w.server(dc)).List(w.t.Context(), true)
			if err != nil || len(records) == 0 {
				continue
			}
			p, err := Load(records[0])
			must(w.t, err)
			if err := w.engine().Resume(w.t.Context(), p); err == nil {
				return
			}
		}
	}
}

// shellHook writes a shell script that is a hook.
func shellHook(t *testing.T, at HookPoint, body string) Hook {
	t.Helper()
	path := filepath.Join(t.TempDir(), string(at))
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700))
	return Hook{At: at, Run: []string{path}, Timeout: 5 * time.Second}
}

// unlessCheck makes a script do nothing in the preflight.
const unlessCheck = `read line; case "$line" in *'"check":true'*) exit 0;; esac; `

func TestHooksReadTheirOrderAndAreCheckedInThePreflight(t *testing.T) {
	w := newWorld(t)
	seen := filepath.Join(t.TempDir(), "seen")
	for _, at := range HookPoints() {
		w.runs = append(w.runs, shellHook(t, at, "cat >> "+seen+"; echo said"))
	}
	if got := w.refusals(w.engine()); len(got) != 0 {
		t.Fatal(got)
	}
	p, err := w.promote(cloud)
	must(t, err)
	w.settled(cloud, 2)
	text, err := os.ReadFile(seen)
	must(t, err)
	var checked, run []HookPoint
	for line := range strings.Lines(string(text)) {
		var in hookInput
		must(t, json.Unmarshal([]byte(line), &in))
		if in.Shard != alpha || in.From != legacy || in.To != cloud || in.FromServer != w.a.Addr() || in.ToServer != w.b.Addr() || in.Epoch != 1 || in.Version != 1 {
			t.Errorf("it read %s", line)
		}
		if in.Check {
			checked = append(checked, in.At)
		} else {
			run = append(run, in.At)
			if in.Move != p.Record.Move {
				t.Errorf("it read %s", line)
			}
		}
	}
	if fmt.Sprint(checked) != fmt.Sprint(HookPoints()) {
		t.Errorf("checked: %v", checked)
	}
	if want := []HookPoint{BeforeFreeze, BeforeCommit, AfterCommit, AfterPromote, AfterReverse}; fmt.Sprint(run) != fmt.Sprint(want) {
		t.Errorf("run: %v, want %v", run, want)
	}
	entries, err := journal.Open(w.server(cloud)).Entries(t.Context(), p.Record.Move)
	must(t, err)
	notes := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Note, "hook ") && strings.HasSuffix(e.Note, ": said") {
			notes++
		}
	}
	if notes != 5 {
		t.Errorf("the journal has %d notes of hooks, want 5: %+v", notes, entries)
	}
	w.runs = []Hook{shellHook(t, AfterPromote, "echo no room; exit 3")}
	results, err := w.engine().Preflight(t.Context(), Plan{Shard: alpha, Target: legacy})
	must(t, err)
	if refused := preflight.Errors(results); len(refused) != 1 || refused[0].Name != CheckHooks || !strings.Contains(refused[0].Reason, "no room") {
		t.Errorf("a hook that fails its check: %v", refused)
	}
}

func TestAHookThatFailsBeforeTheCommitPointUndoesEverythingAndAfterItWarns(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	undone := filepath.Join(t.TempDir(), "undone")
	for _, at := range []HookPoint{BeforeFreeze, BeforeCommit} {
		for _, body := range []string{"exit 7", "sleep 60"} {
			hook := shellHook(t, at, unlessCheck+body)
			hook.Timeout = 200 * time.Millisecond
			w.runs = []Hook{hook, shellHook(t, AfterAbort, "echo x >> "+undone)}
			began := time.Now()
			p, err := w.promote(cloud)
			if !errors.Is(err, ErrHook) || p.State() != Aborted {
				t.Fatalf("%s, %s: %v; it is %s", at, body, err, p.State())
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("%s, %s: it took %s", at, body, took)
			}
			w.writable(legacy)
			w.settled(legacy, 1)
		}
	}
	if text, err := os.ReadFile(undone); err != nil || string(text) != "x\nx\nx\nx\n" {
		t.Errorf("after_abort: %q, %v", text, err)
	}
	w.runs = nil
	for _, at := range []HookPoint{AfterCommit, AfterPromote, AfterReverse} {
		w.runs = append(w.runs, shellHook(t, at, unlessCheck+"exit 7"))
	}
	_, err := w.promote(cloud)
	must(t, err)
	w.settled(cloud, 2)
	if notes := strings.Join(w.notes(), "\n"); strings.Count(notes, "failed: ") < 3 {
		t.Errorf("no warnings: %s", notes)
	}
	ws.waitAcked(10)
	ws.check(cloud)
}

func TestAHookIsKilledWithAllItsChildrenAndItsOutputIsBounded(t *testing.T) {
	t.Parallel()
	child := filepath.Join(t.TempDir(), "child")
	gone := func() {
		t.Helper()
		text, err := os.ReadFile(child)
		must(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		must(t, err)
		process, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			return
		}
		must(t, err)
		defer func() { _ = unix.Close(process) }()
		// It can be read once the process has ended.
		for ended := 0; ended == 0; {
			ended, err = unix.Poll([]unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}, 5000)
			if errors.Is(err, unix.EINTR) {
				ended = 0
				continue
			}
			must(t, err)
			if ended == 0 {
				t.Fatal("a child of the hook is still there")
			}
		}
	}
	hook := shellHook(t, BeforeFreeze, "sleep 60 & echo $! > "+child+"; wait")
	hook.Timeout = 300 * time.Millisecond
	if _, err := hook.call(t.Context(), hookInput{}); !errors.Is(err, ErrHook) {
		t.Errorf("a hook that hangs: %v", err)
	}
	gone()
	hook = shellHook(t, BeforeFreeze, "sleep 60 & echo $! > "+child+"; exit 0")
	if _, err := hook.call(t.Context(), hookInput{}); err != nil {
		t.Errorf("a hook that leaves a child behind: %v", err)
	}
	gone()
	hook = shellHook(t, BeforeFreeze, "yes word | head -c 3000000; echo the end")
	output, err := hook.call(t.Context(), hookInput{})
	if err != nil || len(output) > hookOutputMax || !strings.HasSuffix(output, "the end") {
		t.Errorf("%d bytes of output: %v", len(output), err)
	}
	if _, err := (Hook{At: AfterAbort, Run: []string{"/no/such/program"}, Timeout: time.Second}).call(t.Context(), hookInput{}); !errors.Is(err, ErrHook) {
		t.Errorf("no program: %v", err)
	}
}
