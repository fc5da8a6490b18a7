package faults

import (
	"bufio"
	"drover/internal/testrun"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// client gives up, so that a program that hangs is a failure and no wait.
var client = &http.Client{Timeout: patience / 2}

// edge is one proxy process.
type edge struct {
	t       testing.TB
	cmd     *exec.Cmd
	clients string // address
	admin   string // address
	log     sync.WaitGroup
	ended   bool

	mu    sync.Mutex
	lines []string
}

// listening is the line of the log that has the addresses.
type listening struct {
	Msg     string   `json:"message"`
	Clients []string `json:"clients"`
	Admin   string   `json:"admin"`
}

// startEdge starts the proxy, as another user when asked, with no room on the
// disk when full, and waits until it listens.
func startEdge(t testing.TB, config string, as *syscall.Credential, full bool) *edge {
	t.Helper()
	e := &edge{t: t}
	e.cmd = exec.Command(shared.proxy, "run", "--config", config)
	if full {
		// A file may have no byte: what a write to a full disk comes to.
		e.cmd = exec.Command("/bin/sh", "-c", `ulimit -f 0; exec "$0" "$@"`, shared.proxy, "run", "--config", config)
	}
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	e.cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	stderr, err := e.cmd.StderrPipe()
	must(t, err)
	must(t, e.cmd.Start())
	found := make(chan listening, 1)
	e.log.Go(func() { e.read(stderr, found) })
	t.Cleanup(e.kill)
	select {
	case l := <-found:
		e.clients, e.admin = l.Clients[0], l.Admin
	case <-time.After(patience):
		t.Fatalf("the proxy does not listen\n%s", e.text())
	}
	return e
}

func (e *edge) read(stderr io.Reader, found chan<- listening) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l listening
		if json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == "listening" && len(l.Clients) == 1 {
			found <- l
		}
		e.mu.Lock()
		e.lines = append(e.lines, lines.Text())
		e.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, stderr) // so that it never blocks
}

func (e *edge) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.lines, "\n")
}

// kill ends the proxy without a word, as a power cut does. Again it does
// nothing.
func (e *edge) kill() {
	if e.ended {
		return
	}
	e.ended = true
	_ = e.cmd.Process.Kill() // it may be gone
	e.log.Wait()
	_ = e.cmd.Wait() // killed
	if e.t.Failed() {
		e.t.Logf("the proxy's log:\n%s", e.text())
	}
}

// state is what the admin server says.
type state struct {
	Version    uint64 `json:"version"`
	StoreError string `json:"store_error"`
	Refused    struct {
		Rule   string `json:"rule"`
		Reason string `json:"reason"`
	} `json:"last_refusal"`
}

func (e *edge) state() state {
	e.t.Helper()
	var s state
	if err := json.Unmarshal([]byte(e.adminGet("/map")), &s); err != nil {
		e.t.Fatal(err)
	}
	return s
}

func (e *edge) adminGet(path string) string {
	e.t.Helper()
	resp, err := client.Get("http://" + e.admin + path)
	if err != nil {
		e.t.Fatalf("the proxy's admin server is gone: %v\n%s", err, e.text())
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(e.t, err)
	return string(text)
}

// cacheErrors is how often the cache could not be written or used.
func (e *edge) cacheErrors() bool {
	e.t.Helper()
	const name = "drover_proxy_map_cache_errors_total "
	for line := range strings.SplitSeq(e.adminGet("/metrics"), "\n") {
		if value, ok := strings.CutPrefix(line, name); ok {
			return value != "0"
		}
	}
	e.t.Fatalf("no metric %s", name)
	return false
}

// react waits until the proxy has said something that was not there before, that
// stays, and that the page's cell knows, or for as long as limit, and returns
// what it says. A machine that is slow between two things that the proxy says of
// one fault thus changes nothing. A cell that is empty knows everything.
func (e *edge) react(before state, limit time.Duration, cell string) state {
	e.t.Helper()
	end, last, since := time.Now().Add(limit), before, time.Now()
	looks := testrun.NewPace(pace)
	defer looks.Stop()
	for {
		now := e.state()
		if now.class() != last.class() {
			last, since = now, time.Now()
		}
		said := last.class() != before.class() && time.Since(since) >= stable && now.isIn(cell)
		if said || time.Now().After(end) || !looks.Wait(e.t.Context()) {
			return now
		}
	}
}

// class is what of a state tells one from another.
func (s state) class() string { return fmt.Sprint(s.Version, s.Refused.Rule, s.StoreError != "") }

// isIn says whether a cell of the page can be about this state.
func (s state) isIn(cell string) bool {
	want := ""
	switch {
	case cell == "":
	case s.Version == 0:
		want = "no map"
	case s.Version != good:
		want = fmt.Sprint(s.Version)
	case s.Refused.Rule != "":
		want = "`" + s.Refused.Rule + "`"
	case s.StoreError != "":
		want = "cannot read the store"
	}
	return strings.Contains(cell, want)
}

// await waits for a version.
func (e *edge) await(version uint64) {
	e.t.Helper()
	for end := time.Now().Add(patience); e.state().Version != version; time.Sleep(poll) {
		if time.Now().After(end) {
			e.t.Fatalf("version %d is not in force: %+v\n%s", version, e.state(), e.text())
		}
	}
}

// ask makes one request, with no user when user is empty.
func (e *edge) ask(user string) (int, string, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+e.clients+"/", nil)
	if err != nil {
		return 0, "", err
	}
	if user != "" {
		req.Header.Set("X-User-Id", user)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}
