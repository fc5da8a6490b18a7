package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/migrator/internal/campaign"
	"drover/migrator/internal/slo"
)

// lostHistory is a store whose history cannot be read.
type lostHistory struct{ store }

func (lostHistory) History(context.Context) ([]bucketmap.Record, error) {
	return nil, errors.New("the disk is gone")
}

func TestTheMapsHistorySaysBetweenWhichMomentsUsersWereMoved(t *testing.T) {
	t.Parallel()
	opened, err := file.Open(t.TempDir(), file.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, opened.Close()) })
	d := bucketmap.NewDraft(64)
	d.Version = 1
	d.Datacenters = []bucketmap.Datacenter{"cloud", "legacy"}
	d.Default = bucketmap.Default{Datacenter: "legacy"}
	must(t, d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy", Epoch: 1}))
	must(t, d.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "cloud", Epoch: 1}))
	must(t, d.SetHome(0, 63, "alpha"))
	snap, err := d.Snapshot()
	must(t, err)
	times := []time.Time{time.Now()} // times[v] is just after version v came
	must(t, opened.Publish(t.Context(), snap, bucketmap.Change{Who: "a", Why: "b"}))
	times = append(times, time.Now())
	for _, edit := range []func(d *bucketmap.Draft) error{
		2: func(d *bucketmap.Draft) error { d.Default = bucketmap.Default{Datacenter: "cloud"}; return nil },
		3: func(d *bucketmap.Draft) error { return d.SetHome(3, 3, "gamma") },
		4: func(d *bucketmap.Draft) error { return d.SetHome(3, 3, "alpha") },
		5: func(d *bucketmap.Draft) error { d.Whitelist["ann"] = "cloud"; return nil },
		6: func(d *bucketmap.Draft) error {
			return d.PutShard(bucketmap.Shard{Name: "delta", Datacenter: "cloud", Epoch: 1})
		},
		7: func(d *bucketmap.Draft) error {
			shard, _ := d.Shard("alpha")
			shard.Datacenter, shard.Epoch = "cloud", shard.Epoch+1
			return d.PutShard(shard)
		},
	}[2:] {
		_, err := bucketmap.Update(t.Context(), opened, bucketmap.Change{Who: "a", Why: "b"}, edit)
		must(t, err)
		times = append(times, time.Now())
	}
	m := movedUsers{maps: opened}
	for _, c := range []struct {
		from, to int // just after these versions came; 0 is before the first
		want     bool
	}{{0, 0, false}, {0, 1, false}, {0, 2, false}, {1, 2, false}, {2, 3, true}, {0, 3, true}, {2, 4, true}, {3, 4, true},
		{4, 5, true}, {5, 6, false}, {6, 7, true}, {7, 7, false}, {0, 7, true}} {
		for range 2 { // and from what is kept
			if got, err := m.between(t.Context(), times[c.from], times[c.to]); err != nil || got != c.want {
				t.Errorf("between versions %d and %d: %v, %v", c.from, c.to, got, err)
			}
		}
	}
	j := campaignJudge{moves: movedUsers{maps: lostHistory{opened}}}
	if !j.movedBetween(times[5], times[6]) {
		t.Error("without a history nobody was moved")
	}
}

func TestADefaultThatNobodyNeedsIsNotPopulated(t *testing.T) {
	t.Parallel()
	for last, want := range map[bucketmap.BucketID]string{63: "map[legacy:true]", 62: "map[cloud:true legacy:true]"} {
		d := bucketmap.NewDraft(64)
		d.Version = 1
		d.Datacenters = []bucketmap.Datacenter{"cloud", "legacy"}
		d.Default = bucketmap.Default{Datacenter: "cloud"}
		must(t, d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
		must(t, d.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "cloud"}))
		must(t, d.SetHome(0, last, "alpha"))
		snap, err := d.Snapshot()
		must(t, err)
		if got := fmt.Sprint(populatedBy(snap)); got != want {
			t.Errorf("homes of buckets 0 to %d: %s, want %s", last, got, want)
		}
	}
}

func TestUsersAreExpectedAmongTheMovedAsLongAsTheProxiesCountThemAndInTheTargetWhileTheyBake(t *testing.T) {
	t.Parallel()
	window := time.Duration(0)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE drover_proxy_responses_total counter\ndrover_proxy_responses_total{datacenter=\"cloud\",class=\"2xx\"} 1\n")
		if window != 0 {
			fmt.Fprintf(w, "drover_proxy_cohort_known_since_timestamp_seconds 1\ndrover_proxy_cohort_window_seconds %g\n", window.Seconds())
		}
	}))
	t.Cleanup(page.Close)
	c := slo.Default()
	c.Source.Kind, c.Source.URLs = slo.KindProxies, []string{page.URL}
	c.Objectives = []slo.Objective{{Name: "availability", Kind: slo.Availability, Target: 0.999, MinEvents: 100}}
	j := &campaignJudge{to: "cloud", moved: map[campaign.StepID]time.Time{}, baking: map[campaign.StepID]bool{}, populated: map[string]bool{"legacy": true}}
	var err error
	j.evaluator, err = slo.New(c, slo.Options{Expect: j.expect, Moved: j.movedBetween})
	must(t, err)
	t.Cleanup(j.close)
	wants := func(what string, all, moved bool) {
		t.Helper()
		j.evaluator.Evaluate(t.Context())
		if a, m := j.expect("cloud", slo.All), j.expect("cloud", slo.Moved); a != all || m != moved {
			t.Errorf("%s: somebody is expected in cloud: %v, moved there: %v", what, a, m)
		}
		if !j.expect("legacy", slo.All) || j.expect("legacy", slo.Moved) || j.expect("mars", slo.All) {
			t.Errorf("%s: expected elsewhere", what)
		}
	}
	step := func(state campaign.StepState, ago time.Duration) {
		j.heard(campaign.Entry{Kind: campaign.EntryStep, Step: "a/1", State: state, At: time.Now().Add(-ago)})
	}
	wants("before", false, false)
	step(campaign.Baking, 30*time.Minute)
	wants("while they bake", true, true)
	step(campaign.Passed, 0)
	wants("proxies that do not say how long", false, true)
	window = 10 * time.Minute
	wants("10 minutes at the proxies", false, false)
	window = 40 * time.Minute
	wants("40 minutes at the proxies", false, true)
	step(campaign.Returned, 0)
	wants("they are home", false, false)
	step(campaign.Baking, 2*time.Hour)
	wants("they bake for longer than they count as moved", true, false)
}

func TestACampaignWhoseConfigurationHasNoObjectivesIsHeldAndOneWithMistakesIsRefused(t *testing.T) {
	d := ready(t)
	text, err := os.ReadFile(d.path("migrator.yaml"))
	must(t, err)
	d.want(0, []string{"campaign", "plan", "--to", "cloud", "--out", d.path("plan.yaml")})
	d.want(0, []string{"campaign", "apply", d.path("plan.yaml")})
	d.write("migrator.yaml", string(text)+"slo: {significanse: 4}\n")
	d.unchanged(exitUsage, []string{"campaign", "run"}, "significanse")
	d.write("migrator.yaml", string(text)+"slo: {objectives: [{name: a, kind: availability, target: 1.5}]}\n")
	d.unchanged(exitUsage, []string{"campaign", "run"}, "slo.source.kind", "slo.objectives[0].target")
	d.write("migrator.yaml", string(text))
	d.want(exitUsage, []string{"slo", "check"}, "has no objectives", "docs/slo.md")
	ended := make(chan ran, 1)
	go func() {
		var out, errOut bytes.Buffer
		code := Run(t.Context(), Environment{Args: []string{"campaign", "run", "--every", "100ms"}, Out: &out, Err: &errOut, Who: "runner", Config: d.path("migrator.yaml")})
		ended <- ran{code, out.String(), errOut.String()}
	}()
	d.until("the hold", func(s campaign.Status) bool { return s.Phase == campaign.PhaseHeld })
	d.want(exitHeld, []string{"campaign", "status"}, "no objectives are configured")
	d.want(0, []string{"campaign", "abort"}, "in force after")
	if r := <-ended; r.code != exitAborted || !strings.Contains(r.err, "nobody moves until there are some") {
		t.Errorf("%d %s%s", r.code, r.out, r.err)
	}
}
