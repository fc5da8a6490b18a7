package slo

import (
	"math/rand/v2"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
)

// readingOf gives every window of a key the same counts.
func readingOf(c *Config, r reading, k key, t tally) {
	for _, w := range c.Windows.all() {
		r.set(k, w, t)
	}
}

func TestTheVerdictIsTheTableOfDocGo(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Objectives = []Objective{availability(), latency()}
	c.Objectives[0].Cohorts, c.Objectives[1].Cohorts = []Cohort{All}, []Cohort{All}
	tallies := map[Level]tally{
		Healthy:   {counts: counts{10_000, 0}},
		Unhealthy: {counts: counts{10_000, 20}},
		Burning:   {counts: counts{10_000, 5000}},
		Unknown:   {counts: counts{10_000, 5000}, why: "half of it is missing"},
	}
	// One objective's level, the other's, and the verdict's.
	for _, row := range [][3]Level{
		{Healthy, Healthy, Healthy},
		{Healthy, Unhealthy, Unhealthy},
		{Healthy, Burning, Burning},
		{Healthy, Unknown, Unknown},
		{Unhealthy, Burning, Burning},
		{Unhealthy, Unknown, Unknown},
		{Burning, Unknown, Burning},
		{Unknown, Unknown, Unknown},
	} {
		for _, turn := range []bool{false, true} {
			one, other := row[0], row[1]
			if turn {
				one, other = other, one
			}
			r := reading{}
			readingOf(&c, r, key{0, group{"cloud", All}}, tallies[one])
			second := tallies[other]
			if other == Unhealthy {
				second.bad = 200 // the latency's budget is ten times as large
			}
			readingOf(&c, r, key{1, group{"cloud", All}}, second)
			j := judge{config: &c}
			if v := j.verdict(time.Now(), r, c.wanted([]string{"cloud"})); v.Level != row[2] || v.Figures[0].Level != row[2] || v.Reason == "" {
				t.Errorf("%s and %s: %s, want %s", one, other, v.Reason, row[2])
			}
		}
	}
}

func TestAWindowThatIsUnknownKeepsItsPairFromBurning(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Windows.Page, c.Windows.Ticket = c.Windows.Page[:1], nil
	c.Objectives = []Objective{availability()}
	c.Objectives[0].Cohorts = []Cohort{All}
	k := key{0, group{"cloud", All}}
	for _, short := range []tally{{counts: counts{99, 99}}, {counts: counts{1000, 1000}, why: "x"}, {counts: counts{1000, 1000}, seen: time.Minute}} {
		r := reading{}
		r.set(k, time.Hour, tally{counts: counts{1000, 1000}})
		r.set(k, 5*time.Minute, short)
		j := judge{config: &c}
		want(t, j.verdict(time.Now(), r, []key{k}), Unknown)
	}
}

func TestFewerThanFiveBadRequestsNeitherBurnNorKeepATicketFromBeingTold(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Objectives = []Objective{availability()}
	c.Objectives[0].Cohorts = []Cohort{All}
	k := key{0, group{"cloud", All}}
	for _, row := range []struct {
		of, bad float64
		level   Level
		words   []string
	}{
		{200, 4, Unknown, []string{"4 of 200 requests were bad", "fewer than 5"}}, // 20 x the budget
		{200, 5, Burning, nil},
		{2000, 4, Unhealthy, []string{"burns its budget 2x"}}, // no page's burn
		{20_000, 4, Healthy, nil},
	} {
		r := reading{}
		readingOf(&c, r, k, tally{counts: counts{row.of, row.bad}})
		j := judge{config: &c}
		want(t, j.verdict(time.Now(), r, []key{k}), row.level, row.words...)
	}
}

func TestNothingToJudgeIsUnknown(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Objectives = []Objective{availability()}
	nobody := func(string, Cohort) bool { return false }
	j := judge{config: &c, expect: nobody}
	want(t, j.verdict(time.Now(), reading{}, nil), Unknown, "nothing could be judged")
	r := reading{}
	for _, k := range c.wanted([]string{"cloud"}) {
		readingOf(&c, r, k, tally{})
	}
	want(t, j.verdict(time.Now(), r, c.wanted([]string{"cloud"})), Unknown, "nothing could be judged")
	// A datacenter of the map that nobody told of.
	want(t, j.verdict(time.Now(), r, c.wanted([]string{"cloud", "legacy"})), Unknown, "legacy", "there is no drover_proxy")
}

func TestTheComparisonNeedsMoreThanChance(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Objectives = []Objective{availability()}
	for _, row := range []struct {
		moved, stayed counts
		want          Level
	}{
		{counts{100, 2}, counts{100_000, 10}, Healthy},        // two are luck
		{counts{1000, 20}, counts{100_000, 10}, Burning},      // 2 % against 0.01 %
		{counts{1000, 20}, counts{100_000, 2000}, Healthy},    // everybody has 2 %
		{counts{100_000, 300}, counts{100_000, 0}, Unhealthy}, // 3 times the budget more
		{counts{100_000, 50}, counts{100_000, 0}, Healthy},    // half of the budget
		{counts{1000, 1000}, counts{1000, 1000}, Healthy},
		{counts{1000, 1000}, counts{1000, 0}, Burning},
	} {
		j := judge{config: &c}
		r := reading{}
		moved, stayed := key{0, group{"cloud", Moved}}, key{0, group{"legacy", Stayed}}
		r.set(moved, 5*time.Minute, tally{counts: row.moved})
		r.set(stayed, 5*time.Minute, tally{counts: row.stayed})
		got := j.compare([]key{moved, stayed}, r)
		if len(got) != 1 || got[0].Level != row.want || got[0].Why == "" {
			t.Errorf("%v against %v: %+v, want %s", row.moved, row.stayed, got, row.want)
		}
	}
}

func TestAnIncreaseIsThatOfTheWindowToASixtyFourth(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for range 20 {
		r := newRing(time.Duration(1+random.IntN(1000))*time.Second, 0)
		at, began := time.Unix(0, 0), time.Unix(0, 0)
		for range 2000 {
			r.add(mark{at: at})
			if len(r.marks) > ringMax {
				t.Fatalf("%d marks", len(r.marks))
			}
			m, ok := r.before(at)
			span := at.Sub(m.at)
			most := r.window + r.window/ringSteps + 2*r.window/200
			if !ok || at.Sub(began) >= r.window && (span < r.window || span > most) || at.Sub(began) < r.window && m.at != began {
				t.Fatalf("after %v: %v of a window of %v", at.Sub(began), span, r.window)
			}
			at = at.Add(time.Duration(random.Int64N(int64(r.window / 200))))
		}
	}
}

func TestTheMetricsAreThoseOfTheLastVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nil)
	registry := prom.NewPedanticRegistry()
	registry.MustRegister(w)
	gather := func() (families map[string]*dto.MetricFamily) {
		all, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if problems, err := promlint.NewWithMetricFamilies(all).Lint(); err != nil || len(problems) != 0 {
			t.Errorf("%v, %v", problems, err)
		}
		families = map[string]*dto.MetricFamily{}
		for _, f := range all {
			families[f.GetName()] = f
		}
		return families
	}
	level := func(l Level) float64 {
		for _, m := range gather()[levelMetric].GetMetric() {
			if m.GetLabel()[0].GetValue() == string(l) {
				return m.GetGauge().GetValue()
			}
		}
		return -1
	}
	burns := func() int { return len(gather()[burnMetric].GetMetric()) }
	if level(Unknown) != 1 || level(Healthy) != 0 {
		t.Error("not unknown before the first look")
	}
	w.steps(6*time.Minute, well)
	if level(Unknown) != 0 || level(Healthy) != 1 || burns() == 0 {
		t.Errorf("unknown %v, healthy %v, %d burns", level(Unknown), level(Healthy), burns())
	}
	w.proxies[0].set(func(string) string { return "" }, nil)
	w.step(well)
	if burns() != 0 || level(Unknown) != 1 {
		t.Errorf("%d burns of no data", burns())
	}
}
