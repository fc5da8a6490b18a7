package testservers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestClosedFleetLeavesNothing(t *testing.T) {
	t.Parallel()
	fleet, err := New(t.Context(), Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	databases, err := fleet.MariaDBs(t.Context(), "a", "b", "c", "d")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := fleet.Memcached(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	if err := databases[3].Pause(); err != nil {
		t.Fatal(err)
	}
	pids := []int{cache.PID(), fleet.watchdog.command.Process.Pid}
	ids := make(map[uint32]bool)
	for _, database := range databases {
		pids = append(pids, database.PID())
		ids[database.ServerID()] = true
	}
	if len(ids) != len(databases) {
		t.Errorf("server ids %v: want %d", ids, len(databases))
	}
	for range 2 {
		if err := fleet.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is alive", pid)
		}
	}
	if exists(fleet.Dir()) {
		t.Errorf("%s is there", fleet.Dir())
	}
	if _, err := fleet.MariaDB(t.Context(), "e", MariaDBOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a server of a closed fleet: %v", err)
	}
	if err := databases[0].Restart(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a restart in a closed fleet: %v", err)
	}
}

func TestKeptFolderStaysUntilItIsSwept(t *testing.T) {
	ownTemp(t)
	fleet, err := New(t.Context(), Options{Log: t.Logf, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	database, err := fleet.MariaDB(t.Context(), "a", MariaDBOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := fleet.Close(); err != nil {
		t.Fatal(err)
	}
	if alive(database.PID()) {
		t.Error("the server is alive")
	}
	if log := database.logTail(0); !strings.Contains(log, "Shutdown complete") {
		t.Errorf("the server did not end in order:\n%s", log)
	}
	if swept, err := Sweep(t.Context(), false); err != nil || len(swept) > 0 || !exists(fleet.Dir()) {
		t.Errorf("a sweep took %v: %v", swept, err)
	}
	if swept, err := Sweep(t.Context(), true); err != nil || len(swept) != 1 || exists(fleet.Dir()) {
		t.Errorf("a sweep of what was kept took %v: %v", swept, err)
	}
}

func TestServerNamesAreCheckedAndUnique(t *testing.T) {
	fleet := Start(t)
	for _, name := range []string{"", "..", ".hidden", "a/b", "a b", strings.Repeat("x", 65)} {
		if _, err := fleet.Memcached(t.Context(), name); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
	if _, err := fleet.Memcached(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := fleet.Memcached(t.Context(), "a"); err == nil {
		t.Error("two servers have one name")
	}
}

func TestServersOfKilledProgramAreGone(t *testing.T) {
	t.Parallel()
	owner, owned := startOwner(t)
	for _, pid := range owned.PIDs {
		if !alive(pid) {
			t.Fatalf("server process %d is not alive", pid)
		}
		// Ctrl-C goes to the foreground's process group.
		if group, err := syscall.Getpgid(pid); err != nil || group != pid {
			t.Errorf("server process %d is in the group %d: %v", pid, group, err)
		}
	}
	kill(t, owner)
	expectGone(t, owned)
}

func TestSweepEndsWhatIsLeftWhenTheWatchdogWasKilledToo(t *testing.T) {
	ownTemp(t)
	bystander := Start(t)
	cache, err := bystander.Memcached(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	owner, owned := startOwner(t)
	if err := syscall.Kill(owned.WatchdogPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the watchdog is gone", func() bool { return !alive(owned.WatchdogPID) })
	kill(t, owner)
	for _, pid := range owned.PIDs {
		if !alive(pid) {
			t.Fatalf("server process %d ended by itself: this test proves nothing", pid)
		}
	}

	// What the next fleet does first.
	fleet, err := New(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fleet.Close() }()
	expectGone(t, owned)
	if !alive(cache.PID()) || !exists(bystander.Dir()) {
		t.Error("the sweep took a fleet whose owner is alive")
	}
}

func TestServersOfKilledProgramEndThoughTheirFolderIsKept(t *testing.T) {
	ownTemp(t)
	owner, owned := startOwner(t, "KEEP=1")
	kill(t, owner)
	for _, pid := range owned.PIDs {
		eventually(t, "the servers are gone", func() bool { return !alive(pid) })
	}
	// Waits for the watchdog's end: it keeps its folder only from the sweep.
	eventually(t, "the watchdog is gone", func() bool { return !alive(owned.WatchdogPID) })
	if !exists(filepath.Join(owned.Dir, serversFolder, "a", "data")) {
		t.Error("the data is gone")
	}
}

func expectGone(t *testing.T, owned ownedFleet) {
	t.Helper()
	for _, pid := range owned.PIDs {
		eventually(t, "the servers are gone", func() bool { return !alive(pid) })
	}
	eventually(t, owned.Dir+" is gone", func() bool { return !exists(owned.Dir) })
}

func TestSweepSparesStrangersThatGotARecordedPid(t *testing.T) {
	ownTemp(t)
	stranger := child(t, "stranger") // its command line names no fleet
	if _, err := stranger.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer kill(t, stranger)

	base, err := baseFolder()
	if err != nil {
		t.Fatal(err)
	}
	dir, owner, err := makeFleetFolder(t.Context(), base, false)
	if err != nil {
		t.Fatal(err)
	}
	owner.Close()
	if err := os.WriteFile(filepath.Join(dir, runFolder, itoa(stranger.Process.Pid)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Sweep(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if exists(dir) {
		t.Error("the folder is there")
	}
	if !alive(stranger.Process.Pid) {
		t.Error("the stranger is gone")
	}
}

func TestServerLaunchedAfterTheWatchdogTookOverDoesNotStart(t *testing.T) {
	fleet := Start(t)
	if err := os.Rename(filepath.Join(fleet.Dir(), runFolder), filepath.Join(fleet.Dir(), "ended")); err != nil {
		t.Fatal(err)
	}
	started := filepath.Join(fleet.Dir(), "started")
	if err := fleet.launcher("/bin/sh", "-c", ": >\"$0\"", started).Run(); err == nil {
		t.Error("the launch went well")
	}
	if exists(started) {
		t.Error("the program ran")
	}
}

func TestAFleetIsMadeBesideWhatCannotBeSwept(t *testing.T) {
	ownTemp(t)
	base, err := baseFolder()
	if err != nil {
		t.Fatal(err)
	}
	// Its lock is none: nobody can say whether its owner is alive.
	if err := os.MkdirAll(filepath.Join(base, "fleet-0", ownerLockFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Sweep(t.Context(), false); err == nil {
		t.Fatal("it was swept")
	}
	told := ""
	fleet, err := New(t.Context(), Options{Log: func(format string, args ...any) { told += fmt.Sprintf(format, args...) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := fleet.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(told, "fleet-0") {
		t.Errorf("it said %q", told)
	}
}
