package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// Unwrap returns the cause.
func (e *CommandError) Unwrap() error { return e.Err }

// Migrator runs the migrator as an operator would, writes what it says into a
// log of its own, and returns its standard output. The error is a
// *CommandError.
func (s *Stage) Migrator(ctx context.Context, args ...string) ([]byte, error) {
	path := s.LogPath(fmt.Sprintf("migrator-%02d-%s", s.commands.Add(1), strings.Join(words(args), "-")))
	command := exec.CommandContext(ctx, s.MigratorCommand()[0], append(s.MigratorCommand()[1:], args...)...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = interruptWaitMax
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	began := time.Now()
	err := command.Start()
	if err == nil {
		pid := command.Process.Pid
		err = errors.Join(s.watchdog.add(pid), command.Wait(), s.watchdog.drop(pid))
	}
	text := fmt.Appendf(nil, "$ %s\n%s%s# %v, %v\n", strings.Join(command.Args, " "), &stderr, &stdout,
		command.ProcessState, time.Since(began).Round(time.Millisecond))
	if logErr := os.WriteFile(path, text, 0o600); err == nil && logErr != nil {
		return nil, logErr
	}
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
