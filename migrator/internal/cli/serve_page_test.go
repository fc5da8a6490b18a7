package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/migrator/internal/campaign"
	"drover/migrator/internal/slo"
	"drover/tools/testservers"
)

// staged is a campaign whose moves are maps and nothing else, and whose objectives
// are what the test says. A step of stagedWaits users or more never comes to its
// end, so that the campaign is where the test wants it.
type staged struct {
	d     *desktop
	store *file.Store
	well  atomic.Bool
}

const stagedWaits = 8

func (s *staged) Evaluate(context.Context) slo.Verdict {
	if s.well.Load() {
		return slo.Verdict{Level: slo.Healthy, Reason: "the objectives are met", At: time.Now()}
	}
	return slo.Verdict{Level: slo.Unknown, Reason: "unknown: the metrics of edge-1 are not to be had", At: time.Now()}
}

func (s *staged) Forward(ctx context.Context, step campaign.Step) error {
	if step.Users >= stagedWaits {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.publish(ctx, step, step.To, "cloud")
}

func (s *staged) Back(ctx context.Context, step campaign.Step) error {
	return s.publish(ctx, step, step.From, "")
}
func (s *staged) Abandon(context.Context, campaign.Step) error              { return nil }
func (s *staged) Default(context.Context, bucketmap.Datacenter, bool) error { return nil }
func (s *staged) Load(ctx context.Context) (*bucketmap.Snapshot, error)     { return s.store.Load(ctx) }
func (s *staged) publish(ctx context.Context, step campaign.Step, to bucketmap.ShardName, dc bucketmap.Datacenter) error {
	_, err := bucketmap.Update(context.WithoutCancel(ctx), s.store, bucketmap.Change{Who: "stage"}, func(d *bucketmap.Draft) error {
		for _, b := range step.Buckets.Buckets {
			if err := d.SetHome(b, b, to); err != nil {
				return err
			}
		}
		for _, id := range step.IDs {
			if delete(d.Whitelist, id); dc != "" {
				d.Whitelist[id] = dc
			}
		}
		return nil
	})
	return err
}

// begin applies a plan and runs it until the test's end: one user of the
// whitelist, two single buckets, batches of 2, 4 and 8.
func (s *staged) begin() {
	t := s.d.t
	snap := s.d.load()
	plan, err := campaign.Build(snap, campaign.Options{To: "cloud", Users: []string{"ann"}, Singles: 2, BatchMax: stagedWaits, Bake: 50 * time.Millisecond,
		Takes: func(campaign.Step) time.Duration { return time.Second }, Pace: campaign.Pace{Start: 100_000, Add: 1000, Min: 100, Max: 200_000}})
	must(t, err)
	dir := s.d.path("campaign")
	_, err = campaign.Apply(t.Context(), dir, plan, snap, nil, "tester", "", time.Now())
	must(t, err)
	r := &campaign.Runner{Executor: s, Maps: s, Judge: s, Watch: campaign.WatchFiles, Who: "runner", Every: 100 * time.Millisecond}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, dir) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, campaign.ErrAborted) {
			t.Errorf("the run ended with %v, and the test aborts it", err)
		}
	})
}

// orders are the words of operators in the journal, with who and why.
func (s *staged) orders() []string {
	var all []string
	for _, e := range s.d.campaignStatus().Journal {
		if e.Kind == campaign.EntryCommand {
			all = append(all, fmt.Sprintf("%s by %s: %s", e.Command, e.Who, e.Why))
		}
	}
	return all
}

// wellPage serves the metrics of a proxy that is well, until dead says that it is
// not there.
func wellPage(t *testing.T, dead *atomic.Bool) string {
	t.Helper()
	began := time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if dead.Load() {
			http.Error(w, "the proxy is not well", http.StatusInternalServerError)
			return
		}
		n := 1000 + time.Since(began).Milliseconds() // a thousand requests a second
		fmt.Fprintln(w, "# TYPE drover_proxy_responses_total counter")
		for _, d := range []string{"legacy", "cloud"} {
			fmt.Fprintf(w, "drover_proxy_responses_total{datacenter=%q,class=\"2xx\"} %d\n", d, n)
			fmt.Fprintf(w, "drover_proxy_responses_total{datacenter=%q,class=\"5xx\"} 0\n", d)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// tracedEdge serves what tracers ask, as a proxy of map 1 does that sends everybody
// to legacy, where an application of served answers.
func tracedEdge(t *testing.T, served *atomic.Value) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range map[string]string{"Drover-Map-Version": "1", "Drover-Datacenter": "legacy", "Drover-Route": "bucket", "Served-By": served.Load().(string)} {
			w.Header().Set(name, value)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// watched adds objectives and tracers to the configuration, with windows of
// seconds.
func (d *desktop) watched(url, edge string) {
	d.t.Helper()
	text, err := os.ReadFile(d.path("migrator.yaml"))
	must(d.t, err)
	d.write("migrator.yaml", fmt.Sprintf(`%s
slo:
  source: {kind: proxies, urls: [%q]}
  windows:
    page: [{burn: 14.4, long: 4s, short: 2s}]
    ticket: [{burn: 1, long: 8s, short: 2s}]
  objectives:
    - {name: availability, kind: availability, target: 0.999, cohorts: [all]}
tracers:
  proxies: [{name: edge1, url: %q}]
  rate: 20
  headers: {X-User-Id: "{user}"}
  read: {method: GET, path: /, datacenter: "header:Served-By"}
`, text, url, edge))
}

func TestTheConsoleShowsACampaignAndWhyItIsHeldAndItsOrdersAreObeyed(t *testing.T) {
	d := ready(t)
	browser, err := testservers.InstallBrowser(t.Context(), t.Logf)
	must(t, err)
	var dead atomic.Bool
	var served atomic.Value
	served.Store("legacy")
	d.watched(wellPage(t, &dead), tracedEdge(t, &served))
	s := &staged{d: d, store: d.fileProxy()}
	url := d.serveConsole("--trace")
	given := func(want string) error {
		if orders := s.orders(); len(orders) == 0 || orders[len(orders)-1] != want {
			return fmt.Errorf("the orders are %q; the last is to be %q", orders, want)
		}
		return nil
	}
	input := map[string]string{"url": url, "operator": operatorToken, "reader": readerToken}
	input["test"] = d.assistant(map[string]func() error{
		"/begin": func() error { s.begin(); return nil },
		"/well":  func() error { s.well.Store(true); return nil },
		"/dead":  func() error { dead.Store(true); return nil },
		"/wrong": func() error { served.Store("cloud"); return nil },
		"/no-orders": func() error {
			if orders := s.orders(); len(orders) != 0 {
				return fmt.Errorf("the orders are %q", orders)
			}
			return nil
		},
		"/paused": func() error { return given("pause by ann on the console of server: lunch") },
		"/rated":  func() error { return given("rate by ann on the console of server: a quiet night") },
		"/everybody-is-home": func() error {
			if n := d.load().BucketsOf("alpha"); n != 64 || d.load().WhitelistLen() != 0 {
				return fmt.Errorf("%d buckets on alpha, %d on the whitelist", n, d.load().WhitelistLen())
			}
			return given("return by ann on the console of server: ")
		},
		"/aborted": func() error {
			if status := d.campaignStatus(); status.Phase != campaign.PhaseAborted || !strings.Contains(status.Reason, "ann") {
				return fmt.Errorf("%s: %s", status.Phase, status.Reason)
			}
			return nil
		},
	})
	if dir := os.Getenv("DROVER_CONSOLE_PICTURES"); dir != "" {
		input["pictures"] = dir
	}
	var result struct{ Good bool }
	if err := browser.Run(t.Context(), filepath.Join("testdata", "campaign.mjs"), input, &result); err != nil || !result.Good {
		t.Fatal(err)
	}
}
