package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/internal/testrun"
	"drover/migrator/internal/slo"
	"drover/migrator/internal/tracer"
)

// adds adds a section to the configuration.
func (d *desktop) adds(section string) {
	d.t.Helper()
	text, err := os.ReadFile(d.path("migrator.yaml"))
	must(d.t, err)
	d.write("migrator.yaml", string(text)+section)
}

type sloSaid struct {
	Off string
	sloValue
}

func TestTheConsoleLooksAtTheObjectivesAndRemembersWhatItSaw(t *testing.T) {
	d := ready(t)
	var broken atomic.Bool
	good := edgePage(t, 1000, 2)
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			http.Error(w, "gone", http.StatusInternalServerError)
			return
		}
		answer, err := http.Get(good)
		if err == nil {
			defer answer.Body.Close()
			_, err = io.Copy(w, answer.Body)
		}
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(pages.Close)
	hears(d.listens(d.serveConsole()), "slo", "no objectives", func(s sloSaid) bool { return strings.Contains(s.Off, "docs/slo.md") })

	d.adds(fmt.Sprintf(`slo:
  source: {kind: proxies, urls: [%q]}
  windows: {scale: 0.01, page: [{burn: 14.4, long: 400s, short: 200s}, {burn: 6, long: 800s, short: 400s}], ticket: [{burn: 1, long: 800s, short: 200s}]}
  objectives: [{name: availability, kind: availability, target: 0.999, cohorts: [all]}]
`, pages.URL))
	page := d.serveConsole()
	listens := d.listens(page)
	first := hears(listens, "slo", "the first look", func(sloSaid) bool { return true })
	if first.Point != nil || len(first.History) == 0 || first.Objectives[0] != (sloObjective{"availability", slo.Availability, 0.999, 0}) ||
		first.PageBurn != 14.4 || first.Window != 2*time.Second || len(first.Windows) != 3 || first.Windows[1] != (sloWindow{slo.Page, 6, 8 * time.Second, 4 * time.Second}) {
		t.Errorf("the first event has %+v", first)
	}
	judged := hears(listens, "slo", "a verdict", func(s sloSaid) bool { return s.Verdict.Level == slo.Unhealthy })
	if judged.Point == nil || len(judged.History) != 0 || judged.Point.Level != slo.Unhealthy || len(judged.Point.Series) != 2 {
		t.Fatalf("a following event has %+v", judged)
	}
	if s := judged.Point.Series[0]; s.Datacenter != "cloud" || s.Cohort != "all" || s.Ratio == nil || math.Abs(*s.Ratio-2./1002) > 1e-6 || math.Abs(*s.Burn-2000./1002) > 1e-6 || s.Events < 1000 {
		t.Errorf("the figure is %+v", s)
	}
	broken.Store(true)
	held := hears(listens, "slo", "no page", func(s sloSaid) bool { return s.Verdict.Level == slo.Unknown })
	if !strings.Contains(held.Verdict.Reason, "500") || held.Point.Level != slo.Unknown || len(held.Point.Series) != 0 {
		t.Errorf("without a page it says %+v", held)
	}
	// Who comes later gets all that was seen.
	late := hears(d.listens(page), "slo", "the past", func(s sloSaid) bool { return true })
	if n := len(late.History); n < 5 || late.History[0].At.After(late.History[n-1].At) || late.History[n-1].Level != slo.Unknown {
		t.Errorf("who comes later gets %d points", n)
	}
}

func TestWhatIsRememberedOfTheObjectivesStaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	for _, series := range []int{0, 12, 480, 40_000} {
		var h sloHistory
		begin, figures := time.Now(), make([]sloFigure, series)
		for i := range 5000 {
			h.add(sloPoint{At: begin.Add(time.Duration(i) * time.Second), Series: figures})
			if n := len(h.points); n > sloPointsMax || n > 1 && n*series > sloValuesMax || h.points[n-1].At != begin.Add(time.Duration(i)*time.Second) {
				t.Fatalf("%d series, %d looks: %d points, the newest at %s", series, i+1, n, h.points[n-1].At.Sub(begin))
			}
		}
		// Far back, and no gap beside the others.
		if reach := h.points[len(h.points)-1].At.Sub(h.points[0].At); series == 12 && (reach < 70*time.Minute || len(h.points) < sloPointsMax/3) {
			t.Errorf("%d points reach back %s", len(h.points), reach)
		}
	}
}

func TestAFigureThatIsNoNumberIsNotKnown(t *testing.T) {
	t.Parallel()
	v := slo.Verdict{Level: slo.Unknown, Figures: []slo.Figure{
		{Objective: "a", Datacenter: "legacy", Window: time.Minute, Severity: slo.Page, Level: slo.Unknown, Ratio: math.NaN(), Burn: math.Inf(1), Events: math.NaN()},
		{Objective: "a", Datacenter: "cloud", Cohort: "moved", Window: time.Minute, Severity: slo.Page, Level: slo.Healthy},
		{Objective: "a", Datacenter: "cloud", Cohort: "moved", Window: time.Minute, Severity: slo.Page, Level: slo.Burning, Limit: 6},
		{Objective: "a", Datacenter: "cloud", Window: time.Hour, Severity: slo.Page, Level: slo.Healthy},
		{Objective: "a", Datacenter: "cloud", Window: time.Minute, Severity: slo.Compare, Level: slo.Healthy},
	}}
	p := pointOf(v, time.Minute)
	text, err := json.Marshal(p)
	must(t, err)
	if want := `"series":[{"objective":"a","datacenter":"cloud","cohort":"moved","ratio":0,"burn":0,"events":0},{"objective":"a","datacenter":"legacy","cohort":"all","events":0}]}`; !strings.HasSuffix(string(text), want) {
		t.Errorf("%s", text)
	}
	e, err := slo.New(slo.Config{Source: slo.Source{Kind: slo.KindProxies, URLs: []string{"http://127.0.0.1:1"}, Timeout: time.Second, MaxAge: 30 * time.Second, AnswerMax: 1 << 20},
		Objectives: []slo.Objective{{Name: "a", Kind: slo.Availability, Target: 0.9, MinEvents: 1}}, Windows: slo.Default().Windows, Significance: 4}, slo.Options{})
	must(t, err)
	defer e.Close()
	if _, err := json.Marshal(sloValueOf(slo.Config{Windows: slo.Default().Windows}, e, v)); err != nil {
		t.Error(err)
	}
}

func TestTheConsoleSendsTracersAndShowsHowTheyDo(t *testing.T) {
	d := ready(t)
	var served atomic.Value
	served.Store("legacy")
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range map[string]string{"Drover-Map-Version": "1", "Drover-Datacenter": "legacy", "Drover-Route": "bucket", "Served-By": served.Load().(string)} {
			w.Header().Set(name, value)
		}
	}))
	t.Cleanup(edge.Close)
	hears(d.listens(d.serveConsole()), "tracers", "none", func(s struct{ Off string }) bool { return strings.Contains(s.Off, "--trace") })
	operators := []string{"serve", "--token-file", d.write("token", operatorToken+"\n")}
	d.want(exitUsage, append(operators, "--trace"), "has no tracers")
	d.want(exitUsage, append(operators, "--trace-proxy", "edge1"), "without --trace")
	d.adds(fmt.Sprintf(`tracers:
  proxies: [{name: edge1, url: %q}]
  rate: 100
  headers: {X-User-Id: "{user}"}
  read: {method: GET, path: /, datacenter: "header:Served-By"}
`, edge.URL))
	d.want(exitUsage, append(operators, "--trace", "--trace-proxy", "edge9"), "not in tracers.proxies")
	listens := d.listens(d.serveConsole("--trace"))
	hears(listens, "tracers", "all is right", func(s tracer.Status) bool {
		return len(s.Proxies) == 1 && s.Proxies[0].Outcomes[tracer.Right] > 0 && s.Bad() == 0 && len(s.Users) == 1
	})
	served.Store("cloud")
	hears(listens, "tracers", "what is wrong", func(s tracer.Status) bool {
		return s.Bad() > 0 && strings.Contains(s.Recent[0].Why, "an application of cloud answered")
	})
}

func TestTheSharedMapTellsEverybodyWhatTheStoreTells(t *testing.T) {
	t.Parallel()
	opened, err := file.Open(t.TempDir(), file.Options{})
	must(t, err)
	shared := newSharedMap(opened)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- shared.run(ctx) }()
	if _, err := shared.Load(ctx); !errors.Is(err, bucketmap.ErrNoMap) {
		t.Fatalf("before the first map: %v", err)
	}
	draft := bucketmap.NewDraft(64)
	draft.Version = 1
	draft.Default = bucketmap.Default{Datacenter: "legacy"}
	must(t, draft.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	first, err := draft.Snapshot()
	must(t, err)
	must(t, opened.Publish(ctx, first, bucketmap.Change{Who: "tester"}))
	for range 2 {
		watching, enough := context.WithCancel(ctx)
		err := shared.Watch(watching, func(snap *bucketmap.Snapshot, err error) {
			if err == nil && snap.Version() == 1 {
				enough()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	snap, err := shared.Load(ctx)
	if err != nil || snap.Version() != 1 {
		t.Errorf("%v, %v", snap, err)
	}
	// A store that has failed is said to have, and nobody gets what was before.
	must(t, opened.Close())
	testrun.Until(t, "the end of the store", func() error {
		if snap, err := shared.Load(ctx); err == nil {
			return fmt.Errorf("version %d is told", snap.Version())
		}
		return nil
	})
	cancel()
	must(t, <-ended)
	if _, err := newSharedMap(opened).Load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody runs it: %v", err)
	}
}
