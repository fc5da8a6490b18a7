package testservers

import (
	"bufio"
	"context"
	"drover/internal/testrun"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// childVariable makes the test binary another program: one to kill, or one of
// several that do the same at once.
const childVariable = "DROVER_TESTSERVERS_CHILD"

func TestMain(m *testing.M) {
	switch role := os.Getenv(childVariable); role {
	case "":
		if err := testrun.Parallel(parallelism); err != nil {
			exitWith(err)
		}
		os.Exit(m.Run())
	case "owner":
		exitWith(ownFleet(context.Background()))
	case "stranger":
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "install":
		exitWith(Install(context.Background(), func(format string, args ...any) { fmt.Printf(format+"\n", args...) }))
	default:
		exitWith(fmt.Errorf("%s=%s", childVariable, role))
	}
}

// parallelism is how many tests run at once. Each waits for servers more than it
// computes.
const parallelism = 4

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ownedFleet is what the child tells of its fleet.
type ownedFleet struct {
	Dir         string
	PIDs        []int
	WatchdogPID int
}

// ownFleet starts a fleet, one server of it paused, tells of it, and waits to be
// killed or for the end of its input.
func ownFleet(ctx context.Context) error {
	fleet, err := New(ctx, Options{Keep: os.Getenv("KEEP") != ""})
	if err != nil {
		return err
	}
	databases, err := fleet.MariaDBs(ctx, "a", "b")
	if err != nil {
		return err
	}
	cache, err := fleet.Memcached(ctx, "m")
	if err != nil {
		return err
	}
	if err := databases[1].Pause(); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(ownedFleet{
		Dir:         fleet.Dir(),
		PIDs:        []int{databases[0].PID(), databases[1].PID(), cache.PID()},
		WatchdogPID: fleet.watchdog.command.Process.Pid,
	}); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return errors.Join(err, fleet.Close())
	}
	return fleet.Close()
}

// startOwner starts a child that owns a fleet, and returns it once its servers
// answer.
func startOwner(t *testing.T, environment ...string) (*exec.Cmd, ownedFleet) {
	t.Helper()
	command := child(t, "owner", environment...)
	if _, err := command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() }) // most have ended
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var owned ownedFleet
	if err := json.Unmarshal(line, &owned); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return command, owned
}

func child(t *testing.T, role string, environment ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program)
	command.Env = append(append(os.Environ(), childVariable+"="+role), environment...)
	command.Stderr = os.Stderr
	return command
}

// kill ends the process by SIGKILL and waits for it.
func kill(t *testing.T, command *exec.Cmd) {
	t.Helper()
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // it says that it was killed
}

// eventually polls until the condition holds; what is not true within half a
// minute never will be.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// alive says whether there is such a process that is not a zombie.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err != nil && !errors.Is(err, os.ErrNotExist) || len(line) > 0
}

// ownTemp gives the test a temporary folder, and so a base folder, of its own.
func ownTemp(t *testing.T) {
	t.Helper()
	cache, err := cacheFolder() // which may depend on the temporary folder
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DROVER_CACHE", cache)
	t.Setenv("TMPDIR", t.TempDir())
}
