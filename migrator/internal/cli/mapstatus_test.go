package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"

	"drover/bucketmap"
)

func TestStatusSaysWhoRunsWhatAndWhy(t *testing.T) {
	d := ready(t)
	d.want(0, []string{"map", "status"}, "map version 1", "no live proxy")
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "emp-1"})
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "emp-2"})
	snap := d.load()
	for _, ack := range []bucketmap.Ack{
		{Proxy: "a", Version: 3, Digest: snap.Digest()},
		{Proxy: "b", Version: 3}, // an older edge, which knows no digests
		{Proxy: "c", Version: 3, Digest: bucketmap.Digest{1}},
		{Proxy: "d", Version: 1, Refused: 2, Reason: "no such\x1b[2Jplace" + strings.Repeat("!", 10_000)},
		{Proxy: "e", Version: 4, Digest: bucketmap.Digest{1}},
		{Proxy: "f", Refused: 3, Reason: "none yet"},
	} {
		must(t, d.fileProxy().Ack(t.Context(), ack))
	}
	var s fleetStatus
	r := d.want(1, []string{"map", "status", "--json"})
	must(t, json.Unmarshal([]byte(r.out), &s))
	var states []string
	for _, p := range s.Proxies {
		states = append(states, p.Proxy+" "+p.state())
	}
	if got, want := strings.Join(states, ", "), "a current, b current, c differs, d behind by 2, e ahead, f no map"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s.Current || s.Version != 3 || s.Digest != snap.Digest() || len(s.Proxies[3].Reason) < 10_000 {
		t.Errorf("got %+v", s)
	}
	r = d.want(1, []string{"map", "status"}, snap.Digest().String()[:12], "2: no such [2Jplace", "not every live proxy")
	if strings.Contains(r.out, "\x1b") || len(r.out) > 5000 {
		t.Errorf("a proxy steers the terminal: %q", r.out)
	}
}

// lines gives what is written line by line.
type lines struct {
	mu    sync.Mutex
	rest  string
	lines chan string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest += string(p)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			return len(p), nil
		}
		l.lines <- line
		l.rest = rest
	}
}

// await reads lines until one has all the words.
func (l *lines) await(t *testing.T, words ...string) {
	t.Helper()
	for line := range l.lines {
		missing := false
		for _, word := range words {
			missing = missing || !strings.Contains(line, word)
		}
		if !missing {
			return
		}
	}
	t.Fatalf("no line with %q", words)
}

func TestWatchedStatusShowsEachChangeUntilInterrupted(t *testing.T) {
	d := ready(t)
	proxy := d.fileProxy()
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 1}))
	ctx, cancel := context.WithCancel(t.Context())
	out := &lines{lines: make(chan string, 1000)}
	code := make(chan int, 1)
	var errOut bytes.Buffer
	go func() {
		code <- Run(ctx, Environment{Args: []string{"map", "status", "--watch"}, Out: out, Err: &errOut, Who: "tester", Config: d.path("migrator.yaml")})
		close(out.lines)
	}()
	out.await(t, "map version 1")
	out.await(t, "p1 runs version 1", "current")
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "emp-1"})
	out.await(t, "map version 2")
	out.await(t, "p1 runs version 1", "behind by 1")
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 1, Refused: 2, Reason: "not here"}))
	out.await(t, "p1", "refused 2: not here")
	must(t, proxy.Close())
	out.await(t, "p1 is gone")
	cancel()
	if c := <-code; c != 0 {
		t.Fatalf("code %d after an interrupt with no proxy behind: %s", c, errOut.String())
	}
}

func TestWatchedStatusIsAnObjectALineForPrograms(t *testing.T) {
	d := ready(t)
	must(t, d.fileProxy().Ack(t.Context(), bucketmap.Ack{Proxy: "p1"}))
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, Environment{Args: []string{"map", "status", "--watch", "-o", "json"}, Out: writer, Err: io.Discard, Config: d.path("migrator.yaml")})
		_ = writer.Close()
	}()
	decoder := json.NewDecoder(reader)
	var s fleetStatus
	must(t, decoder.Decode(&s))
	if s.Version != 1 || s.Current || len(s.Proxies) != 1 || s.Proxies[0].State != fleetNone {
		t.Errorf("got %+v", s)
	}
	cancel()
	if c := <-code; c != 1 {
		t.Fatalf("code %d, want 1: a proxy has no map", c)
	}
}

func TestHistoryHasDigestsAndALimit(t *testing.T) {
	d := ready(t)
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "emp-1", "--why", "first"})
	var history []historyLine
	d.reads(&history, "map", "history", "--limit", "1")
	if len(history) != 1 || history[0].Digest != d.load().Digest() || history[0].Why != "first" {
		t.Fatalf("got %+v", history)
	}
	d.want(0, []string{"map", "history"}, d.load().Digest().String()[:12])
	d.want(2, []string{"map", "history", "--limit", "-1"})
}

func TestExplainSaysWhereWhyAndSinceWhen(t *testing.T) {
	d := ready(t)
	id := "u-1"
	bucket := bucketmap.Bucket([]byte(id), 64)
	d.want(0, []string{"map", "explain", id}, "user u-1 goes to legacy: its bucket's home is there", "shard alpha in legacy", "since version 1", "never otherwise")
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "other"})
	d.want(0, []string{"whitelist", "add", "--to", "cloud", id, "--why", "a colleague"})
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "another"})
	d.want(0, []string{"map", "explain", id}, "goes to cloud: the user is on the whitelist", "since version 3", "a colleague", "before: legacy (bucket), home alpha in legacy")
	next := d.edited("next.yaml", "version: 4\n", "version: 0\nholds:\n  - {shard: alpha, move: m-1, until: 2126-11-21T10:00:00.000Z}\n")
	d.want(0, []string{"map", "push", next})
	var e explanation
	d.reads(&e, "map", "explain", id)
	if e.Bucket != bucket || e.Since != 3 || e.Change == nil || e.Change.Why != "a colleague" || e.Before == nil ||
		e.Before.Datacenter != "legacy" || e.Hold == nil || e.Hold.Move != "m-1" || e.Reason != "whitelist" || e.Shard != "alpha" {
		t.Fatalf("got %+v", e)
	}
	d.want(0, []string{"map", "explain", id}, "hold: shard alpha, by m-1, until 2126")
	d.want(0, []string{"map", "explain", id, "--version", "2"}, "goes to legacy", "since version 1")
	d.want(0, []string{"map", "explain", id, "--depth", "2"}, "back to version 4, the oldest looked at")
	d.want(0, []string{"map", "explain", "hex:ff00"}, "user hex:ff00 goes to legacy")
	d.want(0, []string{"map", "explain", "--", "-u"}, "user -u goes")
	for _, args := range [][]string{{""}, {"hex:f"}, {strings.Repeat("x", 257)}, {}, {"a", "b"}, {"u-1", "--depth", "0"}, {"u-1", "--version", "9"}} {
		d.want(2, append([]string{"map", "explain"}, args...))
	}
}

func TestExplainOfABucketWithoutAHomeNamesTheDefault(t *testing.T) {
	d := newDesktop(t)
	d.want(0, []string{"init", "--buckets", "64", "--shard", "alpha=legacy", "--home", "alpha=0", "--default", "legacy"})
	id := "u-1"
	for bucketmap.Bucket([]byte(id), 64) == 0 {
		id += "1"
	}
	d.want(0, []string{"map", "explain", id}, "no home, and this is the default (unmapped)", "no home\n")
}
