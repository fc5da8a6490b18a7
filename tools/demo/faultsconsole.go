package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"drover/tools/demo/internal/faults"
	"drover/tools/demo/internal/stage"
)

const (
	// eventMax bounds an event of the console: the status of a campaign with 31 steps
	// and 100 lines of its journal has some 60 KB.
	eventMax = 4 << 20
	// serveWait bounds the start of the console, and showWait what it takes to show
	// what campaign status says already.
	serveWait, showWait = 30 * time.Second, 10 * time.Second
)

// shown is the campaign as the console's page has it, as much of it as matters
// here.
type shown struct {
	Phase  string `json:"phase"`
	Reason string `json:"reason"`
}

// watcher is somebody who looks at the console of a campaign.
type watcher struct {
	feed    *faults.Feed[shown]
	process *stage.Program
	leave   context.CancelFunc
	reading sync.WaitGroup
}

// end closes the page, and ends the console.
func (w *watcher) end() {
	w.leave()
	w.reading.Wait()
	w.process.Stop()
}

// watch serves the console of the campaign in dir, and opens its page.
func (t *trial) watch(ctx context.Context, dir string) (*watcher, error) {
	starting, cancel := context.WithTimeoutCause(ctx, serveWait, fmt.Errorf("not within %v", serveWait))
	defer cancel()
	token, err := os.ReadFile(t.stage.ConsoleToken)
	if err != nil {
		return nil, err
	}
	served := faults.NewFeed(func(line []byte) (url string, ok bool) { return strings.CutPrefix(string(line), "the console is at ") })
	w := &watcher{feed: faults.NewFeed(func(line []byte) (shown, bool) {
		var said struct{ Value shown }
		err := json.Unmarshal(line, &said)
		return said.Value, err == nil && said.Value.Phase != ""
	})}
	w.process, err = t.stage.Start("console-faults", served, t.stage.MigratorCommand()[0], "serve", "--listen", "127.0.0.1:0",
		"--token-file", t.stage.ConsoleToken, "--campaign", dir, "--config", t.config)
	if err != nil {
		return nil, err
	}
	at, err := served.Until(starting, 0, "the console listens", func(string) bool { return true })
	if err != nil {
		w.process.Stop()
		return nil, err
	}
	looking, leave := context.WithCancel(context.WithoutCancel(ctx))
	w.leave = leave
	if err := w.open(looking, at+"events", strings.TrimSpace(string(token))); err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

// open reads the page's events until the context ends.
func (w *watcher) open(ctx context.Context, url, token string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	w.reading.Go(func() {
		defer w.feed.End()
		defer answer.Body.Close()
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, eventMax)
		for topic := ""; lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				topic = name
			}
			if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); ok && topic == "campaign" {
				w.feed.Line(data)
			}
		}
	})
	return nil
}

// shows waits until the page says the phase, with one of the words as its reason.
func (w *watcher) shows(ctx context.Context, row *faultRow, from int, phase string, words []string) {
	ctx, cancel := context.WithTimeoutCause(ctx, showWait, fmt.Errorf("not within %v", showWait))
	defer cancel()
	_, err := w.feed.Until(ctx, from, fmt.Sprintf("the console says %s, and one of %q", phase, words),
		func(s shown) bool { return s.Phase == phase && containsAny(s.Reason, words) })
	if err != nil {
		row.not("%v", err)
	}
}
