package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/internal/testrun"
	"drover/tools/testservers"
)

const (
	operatorToken = "operators-0123456789abcdef"
	readerToken   = "readers-0123456789abcdef"
)

// words is a writer that may be read meanwhile.
type words struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// serveConsole runs migrator serve until the test's end, and returns where it is.
func (d *desktop) serveConsole(args ...string) string {
	d.t.Helper()
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--token-file", d.write("operators", operatorToken+"\n"),
		"--reader-token-file", d.write("readers", readerToken+"\n")}, args...)
	ctx, cancel := context.WithCancel(context.WithoutCancel(d.t.Context()))
	var out, errOut words
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, Environment{Args: args, Out: &out, Err: &errOut, Who: "server", Config: d.path("migrator.yaml")})
	}()
	d.t.Cleanup(func() {
		cancel()
		if code := <-code; code != 0 {
			d.t.Errorf("migrator serve: exit code %d\n%s%s", code, &out, &errOut)
		}
	})
	const said = "the console is at "
	testrun.Until(d.t, "the console", func() error {
		if !strings.Contains(out.String(), said) {
			return fmt.Errorf("%s%s", &out, &errOut)
		}
		return nil
	})
	return strings.TrimSpace(strings.TrimPrefix(out.String(), said))
}

// assistant does for the browser what its page cannot.
func (d *desktop) assistant(does map[string]func() error) string {
	mux := http.NewServeMux()
	for path, do := range does {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if err := do(); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	server := httptest.NewServer(mux)
	d.t.Cleanup(server.Close)
	return server.URL
}

func (d *desktop) ok(args ...string) error {
	if r := d.run(args...); r.code != 0 {
		return fmt.Errorf("migrator %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return nil
}

func TestTheConsoleShowsAMoveAsItHappensAndOperatorsAlonePressItsButtons(t *testing.T) {
	d := ready(t)
	browser, err := testservers.InstallBrowser(t.Context(), t.Logf)
	must(t, err)
	proxy := d.fileProxy()
	acknowledge := func() error {
		snap, err := proxy.Load(t.Context())
		if err != nil {
			return err
		}
		return proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "edge1", Version: snap.Version(), Digest: snap.Digest()})
	}
	input := map[string]string{"url": d.serveConsole(), "operator": operatorToken, "reader": readerToken}
	input["test"] = d.assistant(map[string]func() error{
		"/move": func() error {
			err := d.ok("bucket", "move", "17", "--to", "gamma", "--why", "the first one")
			if err != nil {
				return err
			}
			old, err := proxy.At(t.Context(), 1)
			if err != nil {
				return err
			}
			return proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "edge1", Version: 1, Digest: old.Digest()})
		},
		"/acknowledge": acknowledge,
		"/whitelisted": func() error {
			snap := d.load()
			for _, id := range []bucketmap.UserID{"bob", "eve"} {
				if dc, ok := snap.Whitelisted().Lookup([]byte(id)); !ok || dc != "cloud" {
					return fmt.Errorf("%s is sent to %q", id, dc)
				}
			}
			records, err := proxy.History(t.Context())
			if err == nil && (records[0].Who != "ann on the console of server" || records[0].Why != "the first two") {
				err = fmt.Errorf("the history has %+v", records[0])
			}
			return err
		},
	})
	if dir := os.Getenv("DROVER_CONSOLE_PICTURES"); dir != "" {
		input["pictures"] = dir
	}
	var result struct{ Good bool }
	if err := browser.Run(t.Context(), filepath.Join("testdata", "console.mjs"), input, &result); err != nil || !result.Good {
		t.Fatal(err)
	}
}

func TestTheConsoleIsServedToNobodyInClearTextAndWithoutAToken(t *testing.T) {
	d := ready(t)
	token := d.write("token", operatorToken+"\n")
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "nobody could come in"},
		{[]string{"--token-file", d.path("none")}, "no such file"},
		{[]string{"--token-file", d.write("empty", "\n")}, "is empty"},
		{[]string{"--token-file", d.write("short", "secret\n")}, "16 bytes or more"},
		{[]string{"--token-file", token, "--reader-token-file", token}, "every reader would be an operator"},
		{[]string{"--token-file", token, "--listen", "0.0.0.0:0"}, "not loopback"},
		{[]string{"--token-file", token, "--listen", "[::]:0"}, "not loopback"},
		{[]string{"--token-file", token, "--listen", "9920"}, "want host:port"},
		{[]string{"--token-file", token, "--operator", "ann"}, "named by their certificates"},
		{[]string{"--token-file", token, "--tls-cert", token}, "both"},
		{[]string{"--client-ca", token}, "both"},
	} {
		d.want(exitUsage, append([]string{"serve"}, c.args...), c.says)
	}
}

func TestTheConsoleSaysWhichJournalsCannotBeRead(t *testing.T) {
	d := ready(t)
	d.write("shards.yaml", fmt.Sprintf("database: %s\nshards:\n  alpha: {legacy: %q}\n  gamma: {cloud: \"127.0.0.1:1\"}\n", d.database, d.alpha.Addr()))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.serveConsole()+"events", nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+readerToken)
	answer, err := http.DefaultClient.Do(request)
	must(t, err)
	defer answer.Body.Close()
	var said strings.Builder
	part := make([]byte, 4096)
	for !strings.Contains(said.String(), "\nevent: moves\n") || !strings.Contains(said.String(), "\nevent: journal\n") ||
		strings.Count(said.String(), `"unreachable":[{"shard":"gamma"`) < 2 {
		n, err := answer.Body.Read(part)
		said.Write(part[:n])
		if err != nil && err != io.EOF {
			t.Fatalf("%v in\n%s", err, &said)
		}
		if err == io.EOF {
			t.Fatalf("the stream ended:\n%s", &said)
		}
	}
}

func TestTheConsoleFollowsAMapOfAMillionBuckets(t *testing.T) {
	d := newDesktop(t)
	browser, err := testservers.InstallBrowser(t.Context(), t.Logf)
	must(t, err)
	store := d.fileProxy()
	draft := bucketmap.NewDraft(bucketmap.BucketsMax)
	draft.Version = 1
	draft.Default = bucketmap.Default{Datacenter: "legacy", Auto: true, Source: "legacy", Target: "cloud"}
	must(t, draft.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	must(t, draft.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "cloud"}))
	must(t, draft.SetHome(0, bucketmap.BucketsMax-1, "alpha"))
	snap, err := draft.Snapshot()
	must(t, err)
	must(t, store.Publish(t.Context(), snap, bucketmap.Change{Who: "tester"}))
	url := d.serveConsole()

	ctx, stop := context.WithCancel(t.Context())
	published := make(chan error, 1)
	go func() { published <- publishMoves(ctx, store, snap) }()
	var f struct {
		FirstPaint, P50, P99, Longest, LongestTask float64
		Versions, Painted                          int
	}
	err = browser.Run(t.Context(), filepath.Join("..", "..", "..", "bench", "console", "measure.mjs"),
		map[string]any{"url": url, "token": readerToken, "milliseconds": 1000, "versions": 3, "width": 1280}, &f)
	stop()
	must(t, errors.Join(err, <-published))
	t.Logf("first picture after %.0f ms; %d versions, %d pictures; frames p50 %.1f ms, p99 %.1f ms, longest %.1f ms; longest task %.0f ms",
		f.FirstPaint, f.Versions, f.Painted, f.P50, f.P99, f.Longest, f.LongestTask)
	if f.Versions < 3 || f.Painted < 2 {
		t.Errorf("%d versions were followed, in %d pictures", f.Versions, f.Painted)
	}
}

// publishMoves moves one bucket of alpha's after the other, ten versions a second
// at most, until ctx ends.
func publishMoves(ctx context.Context, store *file.Store, snap *bucketmap.Snapshot) error {
	pace := testrun.NewPace(100 * time.Millisecond)
	defer pace.Stop()
	for b := bucketmap.BucketID(0); pace.Wait(ctx); b += 4099 {
		next, err := snap.Apply(&bucketmap.Difference{FromVersion: snap.Version(), ToVersion: snap.Version() + 1,
			Homes: []bucketmap.HomeChange{{First: b, Last: b, From: "alpha", To: "gamma"}}})
		if err != nil {
			return err
		}
		if err := store.Publish(ctx, next, bucketmap.Change{Who: "tester"}); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		snap = next
	}
	return nil
}
