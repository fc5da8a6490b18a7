package stage

import (
	"os/exec"
	"syscall"
	"testing"

	"drover/bucketmap"
)

// sleeper is a process group that would run for ever.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	command := exec.Command("sleep", "600")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	return command
}

func TestWatchdogEndsWhatADeadDemoLeft(t *testing.T) {
	w, err := startWatchdog()
	if err != nil {
		t.Fatal(err)
	}
	left, dropped, last := sleeper(t), sleeper(t), sleeper(t)
	for _, command := range []*exec.Cmd{left, dropped, last} {
		if err := w.add(command.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.drop(dropped.Process.Pid); err != nil {
		t.Fatal(err)
	}
	w.end() // the pipe closes, as it does when the demo is killed
	for _, command := range []*exec.Cmd{left, last} {
		command.Wait() //nolint:errcheck // killed, as it should be
		if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Errorf("process %d: %v; want killed", command.Process.Pid, command.ProcessState)
		}
	}
	if err := dropped.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the dropped process is gone: %v", err)
	}
	dropped.Process.Kill() //nolint:errcheck // it is there: the check before
	dropped.Wait()         //nolint:errcheck // as above
}

func TestFreeAddressIsOfLoopback(t *testing.T) {
	address, err := freeAddress(t.Context())
	if err != nil || address[:len("127.0.0.1:")] != "127.0.0.1:" {
		t.Errorf("%q, %v", address, err)
	}
}

func TestPopulationCountsByHomes(t *testing.T) {
	draft := bucketmap.NewDraft(2)
	draft.Datacenters = []bucketmap.Datacenter{Source, Target}
	draft.Default = bucketmap.Default{Datacenter: Source}
	for _, shard := range []bucketmap.Shard{{Name: Alpha, Datacenter: Source}, {Name: Gamma, Datacenter: Target}} {
		if err := draft.PutShard(shard); err != nil {
			t.Fatal(err)
		}
	}
	if err := draft.SetHome(0, 0, Alpha); err != nil {
		t.Fatal(err)
	}
	if err := draft.SetHome(1, 1, Gamma); err != nil {
		t.Fatal(err)
	}
	snap, err := draft.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	count := Population(snap, 1000)
	if count[Source]+count[Target] != 1000 || count[Source] < 300 || count[Target] < 300 {
		t.Errorf("%v; want about half each", count)
	}
}
