package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"drover/bucketmap"
)

const (
	listenMax = 30 * time.Second
	logMax    = 1 << 20 // bytes of a line
	errorsMax = 20      // lines of the log that are kept for an error
)

// addresses are those of the applications.
type addresses map[bucketmap.Datacenter]string

// origins are applications that say their datacenter, until there are no more
// questions.
func origins(in io.Reader, out io.Writer) error {
	at := addresses{}
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, dc) }))
		defer s.Close()
		at[dc] = s.Listener.Addr().String()
	}
	return serve(in, out, func(struct{}) (addresses, error) { return at, nil })
}

// edge is a proxy process.
type edge struct {
	cmd     *exec.Cmd
	address string
	log     sync.WaitGroup

	mu    sync.Mutex
	lines []string // the last of the log
}

// build builds the proxy into a folder.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "proxy")
	if output, err := exec.CommandContext(ctx, "go", "build", "-o", path, "drover/proxy").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the proxy: %w\n%s", err, output)
	}
	return path, nil
}

// startEdge starts a proxy with the store that the text says.
func startEdge(dir, program, store string, apps addresses) (*edge, error) {
	text := fmt.Sprintf(`listen: "127.0.0.1:0"
admin: {listen: "127.0.0.1:0"}
id: bench
map: {%s, cache: %q}
identity: [{header: X-User-Id}]
datacenters:
  legacy: {upstreams: [%q]}
  cloud: {upstreams: [%q]}
passport: {sample: 0}
log: {level: info, format: json}
`, store, filepath.Join(dir, "cache"), apps[legacy], apps[cloud])
	config := filepath.Join(dir, "proxy.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	e := &edge{cmd: exec.Command(program, "run", "--config", config)} //nolint:noctx // stop ends it, in order
	stderr, err := e.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := e.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	found := make(chan string, 1)
	e.log.Go(func() { e.read(stderr, found) })
	select {
	case e.address = <-found:
		return e, nil
	case <-time.After(listenMax):
		return nil, errors.Join(fmt.Errorf("the proxy does not listen:\n%s", e.text()), e.stop())
	}
}

func (e *edge) read(stderr io.Reader, found chan<- string) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, logMax)
	for lines.Scan() {
		var l struct {
			Message string   `json:"message"`
			Clients []string `json:"clients"`
		}
		if json.Unmarshal(lines.Bytes(), &l) == nil && l.Message == "listening" && len(l.Clients) == 1 {
			found <- l.Clients[0]
		}
		e.mu.Lock()
		e.lines = append(e.lines, lines.Text())
		e.lines = e.lines[max(0, len(e.lines)-errorsMax):]
		e.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, stderr) // so that it never blocks
}

func (e *edge) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.lines, "\n")
}

// stop ends the proxy in order, and waits.
func (e *edge) stop() error {
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("end the proxy: %w", err)
	}
	e.log.Wait()
	if err := e.cmd.Wait(); err != nil {
		return fmt.Errorf("the proxy: %w\n%s", err, e.text())
	}
	return nil
}
