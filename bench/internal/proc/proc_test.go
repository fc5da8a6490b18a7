package proc

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStatIsReadBehindANameWithBrackets(t *testing.T) {
	s, err := parseStat("42 (a) R (b) S 7 1 1 0 -1 4194304 98 0 0 0 123 45 6 7 20 0 1 0 1392127 3133440")
	if err != nil {
		t.Fatal(err)
	}
	if want := (stat{parent: 7, user: 1230 * time.Millisecond, system: 450 * time.Millisecond}); s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
	for _, bad := range []string{"", "42 (a) S 7", "42 (a) S x 1 1 0 -1 4194304 98 0 0 0 123 45 6 7"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestMachineTimeLeavesOutIdleAndWaiting(t *testing.T) {
	busy, err := parseMachine("cpu  1 2 4 1000 2000 8 16 4000 0 0\ncpu0 9 9 9 9 9 9 9\n", busyFields[:]...)
	if err != nil || busy != 31*tick {
		t.Errorf("busy %v, %v", busy, err)
	}
	stolen, err := parseMachine("cpu  1 2 4 1000 2000 8 16 4000 0 0\ncpu0 9 9 9 9 9 9 9\n", stolenField)
	if err != nil || stolen != 4000*tick {
		t.Errorf("stolen %v, %v", stolen, err)
	}
	if _, err := parseMachine("intr 1 2 3", stolenField); err == nil {
		t.Error("a line that is not the machine's was taken")
	}
}

func TestStatusIsReadByItsKeys(t *testing.T) {
	m, err := parseStatus("Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t    300 kB\nVmRSS:\t    200 kB\nThreads:\t1\n")
	if err != nil || m != (Memory{NowKiB: 200, PeakKiB: 300}) {
		t.Errorf("got %+v, %v", m, err)
	}
	if _, err := parseStatus("Name:\tx\nState:\tZ (zombie)\n"); err == nil {
		t.Error("a process without memory was taken")
	}
}

func TestCPUClockAgreesWithTheTicks(t *testing.T) {
	before, err := CPUOf([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 100*time.Millisecond; {
	}
	after, err := CPUOf([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	used := after.Sub(before)
	ticks := used.User + used.System
	if used.Total <= 0 || used.Total > ticks+2*tick || used.Total < ticks-2*tick {
		t.Errorf("clock %v, ticks %v", used.Total, ticks)
	}
	if user, system := used.Split(); user+system != used.Total {
		t.Errorf("%v and %v are not %v", user, system, used.Total)
	}
}

func TestPinnedBindsWhatIsStartedAndTreeFindsIt(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := Pinned(0, cmd.Start); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // killed
	}()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(cmd.Process.Pid, &set); err != nil || set.Count() != 1 || !set.IsSet(0) {
		t.Errorf("the process may use %d cores, %v", set.Count(), err)
	}
	tree, err := Tree(os.Getpid())
	if err != nil || !slices.Contains(tree, cmd.Process.Pid) {
		t.Errorf("tree %v, %v", tree, err)
	}
}

func TestTheClockOfAProcessThatIsGoneIsAnError(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := Clock(cmd.Process.Pid); err == nil {
		t.Error("it has one")
	}
	before, err := Clock(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after, err := Clock(os.Getpid()); err != nil || after < before {
		t.Errorf("%v after %v, %v", after, before, err)
	}
}
