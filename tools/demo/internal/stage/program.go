package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	readyWaitMax = 30 * time.Second
	readyPoll    = 20 * time.Millisecond
	stopWaitMax  = 20 * time.Second // after SIGTERM, for a migrator in the middle of a step; then SIGKILL
	logTailBytes = 2 << 10          // of a program's log in an error
	portTries    = 10
)

// Program is one program that runs.
type Program struct {
	name    string
	log     string // path
	command *exec.Cmd
	ended   chan struct{} // closed once it has been waited for
}

// Start starts a program that may end before the stage is closed; Close ends it
// where its own Stop has not. What it says, to standard output and to standard
// error, goes to the log of its name, and line by line to reader.
func (s *Stage) Start(name string, reader Reader, args ...string) (*Program, error) {
	p, err := s.start(name, nil, reader, args...)
	if err == nil {
		s.endLater(p)
	}
	return p, err
}

// endLater has Close end a program that nobody misses when it ends before.
func (s *Stage) endLater(p *Program) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.others = append(s.mu.others, p)
}

// start executes a program in a process group of its own, its output in a file
// of its name in the logs folder. Where reader is nil nobody hears it.
func (s *Stage) start(name string, environment []string, reader Reader, args ...string) (*Program, error) {
	path := s.LogPath(name)
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	said := &lines{log: log, reader: reader}
	command := exec.Command(args[0], args[1:]...) //nolint:noctx // it outlives the call, and Stop is what ends it
	command.Dir, command.Stdout, command.Stderr = s.Dir, log, log
	if reader != nil {
		command.Stdout, command.Stderr = said, said
	}
	command.Env = append(os.Environ(), environment...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	p := &Program{name: name, log: path, command: command, ended: make(chan struct{})}
	err = s.watchdog.add(command.Process.Pid)
	s.waits.Go(func() {
		_ = command.Wait()                       // who asks looks at ProcessState
		_ = said.close()                         // a log that is not whole is nobody's error
		_ = s.watchdog.drop(command.Process.Pid) // a watchdog that is gone kills nobody
		close(p.ended)
	})
	if err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// Stop ends the program, in order or else with force, and returns its exit code;
// -1 when a signal has ended it.
func (p *Program) Stop() int {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopWaitMax):
		p.signal(syscall.SIGKILL)
		<-p.ended
	}
	return p.command.ProcessState.ExitCode()
}

// signal goes to the process group, unless it has ended.
func (p *Program) signal(signal syscall.Signal) {
	select {
	case <-p.ended:
	default:
		syscall.Kill(-p.command.Process.Pid, signal) //nolint:errcheck // it ended this moment
	}
}

// errExited says that a program ended that should run.
var errExited = errors.New("it ended")

// metricsBytesMax bounds what a program says of itself.
const metricsBytesMax = 16 << 20

// SaveMetrics writes what the applications and the edge have counted into the
// logs folder, so that it can be looked at when they are gone.
func (s *Stage) SaveMetrics(ctx context.Context) error {
	urls := map[string]string{"metrics-proxy": s.Admin + "/metrics", "recent-passports": s.Admin + "/passports"}
	for datacenter, addresses := range s.Applications {
		for i, address := range addresses {
			urls[fmt.Sprintf("metrics-%s-%d", datacenter, i+1)] = "http://" + address + "/metrics"
		}
	}
	var failures []error
	for name, url := range urls {
		text, err := get(ctx, url)
		if err == nil {
			err = os.WriteFile(s.LogPath(name), text, 0o600)
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// ready waits until the URL answers 200.
func (p *Program) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWaitMax, fmt.Errorf("not ready after %v", readyWaitMax))
	defer cancel()
	for {
		_, err := get(ctx, url)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("start %s: %w (%v); its log %s says:\n%s", p.name, errExited, p.command.ProcessState, p.log, tail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w: %w; its log %s says:\n%s", p.name, context.Cause(ctx), err, p.log, tail(p.log))
		case <-time.After(readyPoll):
		}
	}
}

func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, metricsBytesMax))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s says %s: %s", url, response.Status, bytes.TrimSpace(text[:min(len(text), logTailBytes)]))
	}
	return text, err
}

// onFreePorts starts a program that wants so many ports, on others when
// somebody was faster.
func (s *Stage) onFreePorts(ctx context.Context, count int, start func(ports []string) (*Program, string, error)) (*Program, error) {
	for try := 1; ; try++ {
		ports := make([]string, count)
		for i := range ports {
			var err error
			if ports[i], err = freeAddress(ctx); err != nil {
				return nil, err
			}
		}
		p, url, err := start(ports)
		if err != nil {
			return nil, err
		}
		if err = p.ready(ctx, url); err == nil {
			return p, nil
		}
		p.Stop()
		if !errors.Is(err, errExited) || !strings.Contains(tail(p.log), "address already in use") || try == portTries {
			return nil, err
		}
	}
}

// LogPath returns the path of a program's log.
func (s *Stage) LogPath(name string) string {
	return filepath.Join(s.Dir, logsFolder, name+".log")
}

// tail returns the end of a file, for an error.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-logTailBytes):]))
}
