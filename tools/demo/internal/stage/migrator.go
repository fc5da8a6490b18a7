package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// interruptWaitMax is how long a command may take to end after an interrupt.
const interruptWaitMax = 10 * time.Second

// CommandError is a command of the migrator's that failed.
type CommandError struct {
	Command string
	Output  string // standard error
	Log     string // path
	Err     error
}

// Error says everything that an operator would see.
func (e *CommandError) Error() string {
	return fmt.Sprintf("%s: %v; it said:\n%s\n(all of it is in %s)", e.Command, e.Err, strings.TrimSpace(e.Output), e.Log)
}

// Last returns the last line of what it said: the reason.
func (e *CommandError) Last() string {
	output := strings.TrimSpace(e.Output)
	return output[strings.LastIndexByte(output, '\n')+1:]
}

// Unwrap returns the cause.
func (e *CommandError) Unwrap() error { return e.Err }

// Migrator runs the migrator as an operator would, writes what it says into a
// log of its own, and returns its standard output. The error is a
// *CommandError.
func (s *Stage) Migrator(ctx context.Context, args ...string) ([]byte, error) {
	path := s.LogPath(fmt.Sprintf("migrator-%02d-%s", s.commands.Add(1), strings.Join(words(args), "-")))
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.CommandContext(ctx, s.MigratorCommand()[0], append(s.MigratorCommand()[1:], args...)...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = interruptWaitMax
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = io.MultiWriter(&stdout, log), io.MultiWriter(&stderr, log)
	began := time.Now()
	fmt.Fprintf(log, "$ %s\n", strings.Join(command.Args, " "))
	if err = command.Start(); err == nil {
		pid := command.Process.Pid
		err = errors.Join(s.watchdog.add(pid), command.Wait(), s.watchdog.drop(pid))
	}
	fmt.Fprintf(log, "# %v, %v\n", command.ProcessState, time.Since(began).Round(time.Millisecond))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, &CommandError{Command: "migrator " + strings.Join(args, " "), Output: stderr.String(), Log: path, Err: err}
	}
	return stdout.Bytes(), nil
}

// MigratorCommand returns the migrator and its configuration, as to be typed
// before a command.
func (s *Stage) MigratorCommand() []string {
	return []string{filepath.Join(s.bin, migratorProgram), "--config", s.migratorConfig}
}

// words are the first two arguments: what the command is called.
func words(args []string) []string {
	n := 0
	for n < min(len(args), 2) && !strings.HasPrefix(args[n], "-") {
		n++
	}
	return args[:n]
}

// check runs migrator check and counts the warnings.
func (s *Stage) check(ctx context.Context) error {
	output, err := s.Migrator(ctx, "check", "--output", "json")
	if err != nil {
		return err
	}
	var results []struct {
		Verdict string `json:"verdict"`
	}
	if err := json.Unmarshal(output, &results); err != nil {
		return fmt.Errorf("migrator check: %w", err)
	}
	for _, r := range results {
		if r.Verdict == "warning" {
			s.Warnings++
		}
	}
	return nil
}
