package cli

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/migrator/internal/tracer"
)

func TestTracersFindAStaleProxyAWrongMapEntryAndAnApplicationOfTheWrongDatacenter(t *testing.T) {
	w := newTraceWorld(t)
	good := w.proxy("edge-good", edgeOptions{})
	report := func(what string, took time.Duration) { t.Logf("found in %s: %s", took.Round(time.Millisecond), what) }

	t.Run("one now", func(t *testing.T) {
		w := w.in(t)
		w.tracers(good)
		w.want(0, []string{"trace"}, "bucket", "decision", "(bucket), by version 2 of the map", "shard alpha", "legacy-1 in legacy", "right")
		w.want(0, []string{"trace", "tracer-cloud", "--proxy", "edge-good"}, "cloud (whitelist)", "read of tracer-cloud")
		var results []tracer.Result
		w.reads(&results, "trace", "tracer-cloud", "--write")
		if len(results) != 2 || results[0].Served.Datacenter != "cloud" || results[0].Served.Shard == "" || results[0].Count != 1 || results[1].Count != 1 {
			t.Errorf("results %+v", results)
		}
		w.want(2, []string{"trace", "--proxy", "edge-9"}, "not in tracers.proxies")
		w.want(2, []string{"trace", "--watch"}, "for --all")
		w.want(0, []string{"trace", "--all"}, "map version 2, 3 tracers")
		w.want(0, []string{"trace", "--all", "--for", "300ms", "--metrics", "127.0.0.1:0"}, "metrics at http://127.0.0.1:", "edge-good")
	})

	t.Run("on a terminal", func(t *testing.T) {
		w := w.in(t)
		w.tracers(good)
		screen, terminal, err := pty.Open()
		must(t, err)
		drawn := make(chan string, 1)
		go func() {
			text, _ := io.ReadAll(screen) // ends with an error when the terminal is closed
			drawn <- string(text)
		}()
		code := Run(t.Context(), Environment{Args: []string{"trace", "--all", "--watch", "--for", "1200ms"}, Out: terminal, Err: io.Discard, Who: "tester", Config: w.path("migrator.yaml")})
		must(t, terminal.Close())
		text := <-drawn
		must(t, screen.Close())
		if code != 0 || strings.Count(text, "\x1b[H\x1b[2J") < 2 || !strings.Contains(text, "edge-good") {
			t.Errorf("exit code %d, and the terminal has %q", code, text)
		}
	})

	t.Run("a bucket moves and returns beside them, and nothing is called wrong", func(t *testing.T) {
		w := w.in(t)
		w.rate, w.grace = "200", "100ms" // nothing is forgiven for long
		user, bucket := w.tracerOf("alpha")
		r := w.watch(good)
		at := func(dc bucketmap.Datacenter) func(tracer.Result) bool {
			return func(r tracer.Result) bool { return r.User == user && r.Served.Datacenter == dc }
		}
		r.until("the tracer lands at home", at("legacy"))
		w.want(0, []string{"bucket", "move", fmt.Sprint(bucket), "--to", "gamma"})
		r.until("the tracer follows its bucket", at("cloud"))
		for _, dc := range []bucketmap.Datacenter{"legacy", "cloud", "legacy"} {
			w.want(0, []string{"bucket", "return", fmt.Sprint(bucket)})
			r.until("the tracer follows its bucket again", at(dc))
		}
		if code := r.end(); code != 0 || len(r.bad()) != 0 {
			t.Errorf("exit code %d, and of %d results these are not right: %+v\n%s", code, len(r.results), r.bad(), &r.errOut)
		}
		t.Logf("%d results, all right", len(r.results))
	})

	t.Run("a proxy whose store is cut off", func(t *testing.T) {
		w := w.in(t)
		r := w.watch(good, w.proxy("edge-stale", edgeOptions{dir: w.copied("cut-off"), headersOnly: true}))
		r.until("all is right", outcome("edge-stale", tracer.Right, ""))
		w.want(0, []string{"whitelist", "add", "--to", "cloud", "somebody"})
		report("a stale proxy", r.until("the stale proxy is found", outcome("edge-stale", tracer.Stale, "newer ones are published")))
		if code := r.end(); code != 1 || strings.Contains(fmt.Sprint(r.bad()), "edge-good") {
			t.Errorf("exit code %d, not right: %+v", code, r.bad())
		}
	})

	t.Run("a proxy with another map", func(t *testing.T) {
		w := w.in(t)
		_, bucket := w.tracerOf("alpha")
		other := w.otherMap("other", bucket)
		far := w.otherMap("far", bucket+1) // where no tracer lives
		w.want(0, []string{"whitelist", "add", "--to", "cloud", "somebody-else"})
		r := w.watch(good, w.proxy("edge-other", edgeOptions{dir: other, headersOnly: true}), w.proxy("edge-far", edgeOptions{dir: far, hidden: true}))
		report("a wrong map entry, by where a tracer landed", r.until("the other map is found", outcome("edge-other", tracer.Misrouted, "the map says legacy")))
		report("a wrong map entry where no tracer lives, by the digest", r.until("the digest is found", outcome("edge-far", tracer.Misrouted, "runs another map than the published one")))
		if code := r.end(); code != 1 || strings.Contains(fmt.Sprint(r.bad()), "edge-good") {
			t.Errorf("exit code %d, not right: %+v", code, r.bad())
		}
	})

	t.Run("an application of the wrong datacenter", func(t *testing.T) {
		w := w.in(t)
		r := w.watch(good,
			w.proxy("edge-app", edgeOptions{cloud: w.app("legacy")}),
			w.proxy("edge-swapped", edgeOptions{legacy: w.apps["cloud"], cloud: w.apps["legacy"], hidden: true}))
		report("an application started with a wrong datacenter", r.until("the application is found", outcome("edge-app", tracer.Wrong, "sent it to cloud, and an application of legacy answered")))
		report("swapped upstreams of a proxy that hides its headers", r.until("the upstreams are found", outcome("edge-swapped", tracer.Misrouted, "the map says")))
		if code := r.end(); code != 1 || strings.Contains(fmt.Sprint(r.bad()), "edge-good") {
			t.Errorf("exit code %d, not right: %+v", code, r.bad())
		}
	})

	t.Run("a live proxy that no tracer goes through", func(t *testing.T) {
		w := w.in(t)
		id := strings.TrimPrefix(strings.Split(w.proxy("edge-unknown", edgeOptions{}), ",")[0], "{name: ")
		testrun.Until(t, "the proxy acknowledges", func() error {
			if w.run("map", "status").code != 0 {
				return fmt.Errorf("not yet")
			}
			return nil
		})
		w.tracers(good)
		w.want(2, []string{"trace", "--all"}, "proxy "+id+": it is alive, and not in tracers.proxies")
	})
}
