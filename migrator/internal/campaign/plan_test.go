package campaign

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/slo"
)

func TestAPlanIsReadAsItWasWrittenAndSaysWhatItsKeysMean(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	p := f.plan(t)
	half := 0.001
	p.Waves[0].Gate.Parity = &half
	p.Quiet = Quiet{Zone: "Europe/Berlin", Hours: []string{"22:00-06:00"}}
	text, err := EncodePlan(p)
	must(t, err)
	again, err := DecodePlan(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	must(t, Check(again, f.snap, weight))
	second, err := EncodePlan(again)
	must(t, err)
	if string(text) != string(second) || !strings.Contains(string(text), "# ") {
		t.Errorf("written\n%s\nand then\n%s", text, second)
	}
	var names []string
	for _, w := range p.Waves {
		names = append(names, w.Name)
	}
	if want := []string{"whitelist", "singles", "batches-2", "batches-4", "batches-8", "shards-1", "shards-2"}; !slices.Equal(names[:3], want[:3]) || names[len(names)-1] != "shards-2" && names[len(names)-1] != "shards-1" {
		t.Errorf("waves %v", names)
	}
	for words, want := range map[string][]bucketmap.BucketID{"17 # the first": {17}, `"17"`: {17}, "'3-4,9'": {3, 4, 9}, "3-4,9": {3, 4, 9}} {
		one, err := DecodePlan([]byte("format: 1\nwaves:\n- name: a\n  steps:\n  - buckets: " + words + "\n"))
		if err != nil || !slices.Equal(one.Waves[0].Steps[0].Buckets.Buckets, want) {
			t.Errorf("%s: %+v %v", words, one, err)
		}
	}
}

func TestAPlanOfAMillionBucketsInNoOrderIsReadAgain(t *testing.T) {
	t.Parallel()
	p := &Plan{Format: Format, Waves: []Wave{{Name: "batches", Kind: KindBuckets, Steps: make([]Step, 200)}}}
	for b := bucketmap.BucketID(0); b < bucketmap.BucketsMax; b++ {
		s := &p.Waves[0].Steps[b%200] // no two beside each other: 7 bytes each
		s.Buckets.Buckets = append(s.Buckets.Buckets, b)
	}
	text, err := EncodePlan(p)
	must(t, err)
	again, err := DecodePlan(text)
	must(t, err)
	for i, s := range p.Waves[0].Steps {
		if !slices.Equal(again.Waves[0].Steps[i].Buckets.Buckets, s.Buckets.Buckets) {
			t.Fatalf("step %d of %d bytes is not as it was", i, len(text))
		}
	}
}

func TestUsersOfTheWhitelistAreAmongThoseOfTheirBuckets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		p := f.plan(t)
		var listed, all uint64
		for _, w := range p.Waves {
			if w.Kind == KindWhitelist {
				listed += w.Users
			} else {
				all += w.Users
			}
		}
		if listed == 0 || p.Users() != all {
			t.Errorf("%d users on the whitelist, %d in all: want %d in all", listed, p.Users(), all)
		}
		if alone := (&Plan{Waves: p.Waves[:1]}).Users(); alone != listed {
			t.Errorf("%d users, want those of the whitelist, %d, where nothing else moves", alone, listed)
		}
		dir := f.apply(t, p)
		ended := start(t.Context(), f.runner(nil), dir)
		reach(t, dir, "those of the whitelist over", func(s Status) bool { return s.Whitelisted == Count{listed, listed} && s.Users == Count{0, all} })
		reach(t, dir, "done", func(s Status) bool { return s.Phase == PhaseDone })
		must(t, <-ended)
		s := read(t, dir)
		if s.Users != (Count{all, all}) || s.Moved[len(s.Moved)-1].Users != all || s.Whitelisted != (Count{listed, listed}) {
			t.Errorf("at the end %+v, %+v, and %+v", s.Users, s.Whitelisted, s.Moved[len(s.Moved)-1])
		}
	})
}

func TestAPlanIsRefusedForEveryReasonAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for name, c := range map[string]struct {
		change func(*Plan)
		says   string
	}{
		"a wave twice":          {func(p *Plan) { p.Waves[1].Name = p.Waves[0].Name }, "no other wave"},
		"a bucket twice":        {func(p *Plan) { p.Waves[1].Steps[0] = p.Waves[1].Steps[1] }, "each bucket once"},
		"lives there":           {func(p *Plan) { p.Waves[1].Steps[0].From = "gamma" }, "live in cloud already"},
		"another home":          {func(p *Plan) { p.Waves[1].Steps[0].From = "beta" }, "its home is \"alpha\""},
		"no such bucket":        {func(p *Plan) { p.Waves[1].Steps[0].Buckets.Buckets[0] = 64 }, "0 to 63"},
		"a shard and buckets":   {func(p *Plan) { last(p).Steps[0].Shard = "alpha"; last(p).Steps[0].Datacenter = "" }, "no step takes buckets from"},
		"a shard twice":         {func(p *Plan) { last(p).Steps = append(last(p).Steps, last(p).Steps[0]) }, "each shard once"},
		"a shard that is there": {func(p *Plan) { last(p).Steps[0].Shard = "gamma" }, "lives in cloud already"},
		"a user twice":          {func(p *Plan) { p.Waves[0].Steps[0].IDs = []string{"ann", "ann"} }, "each user once"},
		"no steps":              {func(p *Plan) { p.Waves[1].Steps = nil }, "one or more"},
		"no pace":               {func(p *Plan) { p.Pace.Min = 0 }, "pace.min"},
		"too many an hour":      {func(p *Plan) { p.Pace.UsersMax = 100 }, "users_an_hour_max at most"},
		"a policy":              {func(p *Plan) { p.Burning = "panic" }, "hold, stop or return"},
		"a kind":                {func(p *Plan) { p.Waves[1].Kind = KindShards }, "a shard and nothing else"},
		"always quiet":          {func(p *Plan) { p.Quiet.Hours = []string{"00:00-24:00"} }, "some time in a week"},
		"another map":           {func(p *Plan) { p.Map.Version++ }, "made for another map"},
		"other homes":           {func(p *Plan) { p.Map.Digest = "00" }, "made for another map"},
	} {
		p := f.plan(t)
		for i := range p.Waves {
			for n := range p.Waves[i].Steps {
				p.Waves[i].Steps[n].Buckets.Buckets = slices.Clone(p.Waves[i].Steps[n].Buckets.Buckets)
			}
		}
		c.change(p)
		dir := t.TempDir()
		_, err := Apply(t.Context(), dir, p, f.snap, weight, "", "", time.Now())
		if !IsProblem(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if files, _ := os.ReadDir(dir); len(files) != 0 {
			t.Errorf("%s: it left %v", name, files)
		}
	}
	for _, text := range []string{"formt: 1\n", "format: 1\nformat: 1\n", "waves:\n- name: a\n  gat: {}\n", "waves:\n- steps:\n  - buckets: 9-1\n",
		"waves:\n- steps:\n  - buckets: [1, 2]\n", "waves:\n- steps:\n  - buckets: {1: 2}\n"} {
		if _, err := DecodePlan([]byte(text)); !errors.Is(err, ErrPlan) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func last(p *Plan) *Wave { return &p.Waves[len(p.Waves)-1] }

func TestOneCampaignAtATimeAndItsPlanStaysAsItWas(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	dir := f.apply(t, f.plan(t))
	if _, err := Apply(t.Context(), dir, f.plan(t), f.snap, weight, "", "", time.Now()); !errors.Is(err, ErrRefused) {
		t.Errorf("a second campaign: %v", err)
	}
	folder, err := current(dir)
	must(t, err)
	text, err := os.ReadFile(filepath.Join(folder, planName))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(folder, planName), append(text, "# later\n"...), 0o600))
	if _, err := Read(dir, time.Now()); !errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("a changed plan: %v", err)
	}
	if _, err := Read(t.TempDir(), time.Now()); !errors.Is(err, ErrNone) {
		t.Errorf("no campaign: %v", err)
	}
}

func TestALineThatWasHalfWrittenIsNoLineAndTheNextOneTakesItsPlace(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	dir := f.apply(t, f.plan(t))
	folder, err := current(dir)
	must(t, err)
	path := filepath.Join(folder, journalName)
	torn, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = torn.WriteString(`{"seq":2,"kind":"command","command":"pause","why":"` + strings.Repeat("long ", 100))
	must(t, errors.Join(err, torn.Close()))
	if s := read(t, dir); s.Phase != PhaseReady || len(s.Journal) != 1 {
		t.Errorf("%s, %d lines", s.Phase, len(s.Journal))
	}
	order(t, dir, Order{Command: Pause})
	if s := read(t, dir); s.Phase != PhasePaused || len(s.Journal) != 2 {
		t.Errorf("%s, %d lines", s.Phase, len(s.Journal))
	}
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), "long") {
		t.Errorf("%s, %v", text, err)
	}
}

// brief leaves a plan with three waves, of a step or two, and bakes of 2 s.
func brief(p *Plan) *Plan {
	p.Waves = []Wave{p.Waves[0], p.Waves[1], *last(p)}
	p.Waves[1].Steps = p.Waves[1].Steps[:1]
	for i := range p.Waves {
		p.Waves[i].Gate.Bake = 2 * time.Second
	}
	return p
}

// What a kill leaves is the folder and the map as they are at the point: another
// run goes on with a copy of both.
func TestARunKilledAtAnyPointIsGoneOnWith(t *testing.T) {
	t.Parallel()
	points := func() []crash.Point {
		f := newFleet(t)
		var c crash.Points
		synctest.Test(t, func(t *testing.T) {
			dir := f.apply(t, brief(f.plan(t)))
			r := f.runner(nil)
			r.Crash = &c
			must(t, r.Run(t.Context(), dir))
		})
		return c.Seen()
	}()
	if len(points) < 10 {
		t.Fatalf("points %v", points)
	}
	for _, p := range points {
		for _, pass := range []string{"", "#3"} {
			t.Run(string(p)+pass, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { killed(t, string(p)+pass) })
			})
		}
	}
}

func killed(t *testing.T, point string) {
	f, left := newFleet(t), newFleet(t)
	dir := f.apply(t, brief(f.plan(t)))
	grave := filepath.Join(t.TempDir(), "campaign")
	var c crash.Points
	dead := false
	must(t, c.ArmFunc(point, func() {
		dead = true
		left.snap, _ = f.Load(t.Context())
		if err := os.CopyFS(grave, os.DirFS(dir)); err != nil {
			t.Error(err)
		}
	}))
	r := f.runner(nil)
	r.Crash = &c
	must(t, r.Run(t.Context(), dir))
	if !dead {
		return // the point is not passed so often
	}
	must(t, left.runner(nil).Run(t.Context(), grave))
	s := read(t, grave)
	if s.Phase != PhaseDone || s.Users.Moved != s.Users.All || left.snap.WhitelistLen() != 2 || left.snap.BucketsOf("alpha") != 15 {
		t.Errorf("%s: %s, %s", point, s.Phase, states(s))
	}
	for _, done := range left.done {
		if !strings.HasPrefix(done, "forward") {
			t.Errorf("%s: %s", point, done)
		}
	}
}

func TestASimulationRunsInSecondsAndIsTheSameForTheSameSeed(t *testing.T) {
	t.Parallel()
	m := DefaultModel()
	m.Runs = 10
	p, err := m.Plan(Options{})
	must(t, err)
	begin := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	first, err := Simulate(p, m, begin)
	must(t, err)
	second, err := Simulate(p, m, begin)
	must(t, err)
	if first != second {
		t.Errorf("%+v\n%+v", first, second)
	}
	if first.Users != 100_000_000 || first.Steps < 200 || first.TookMedian < 24*time.Hour || first.TookP90 < first.TookMedian ||
		first.Worst.Requests <= 0 || first.Link.Peak < first.Link.Mean || first.Link.Mean < first.Link.Base {
		t.Errorf("%+v", first)
	}
	calm := m
	calm.BurnsAfter, calm.UnhealthyAfter, calm.Fails, calm.Blind = 0, 0, 0, 0
	best, err := Simulate(p, calm, begin)
	must(t, err)
	if best.TookMedian > first.TookMedian || best.Returns != 0 {
		t.Errorf("without faults %s, with them %s", best.TookMedian, first.TookMedian)
	}
	bad := m
	bad.BurnsAfter, bad.Runs = -1, 0
	if err := bad.Check(); !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), "runs") || !strings.Contains(err.Error(), "burns_after_step") {
		t.Error(err)
	}
}

func TestAGateWithParityHoldsWithoutItAndGoesBackWhenAnswersDiffer(t *testing.T) {
	t.Parallel()
	most := 0.001
	g := Gate{Parity: &most}
	f := &fleet{level: func() slo.Level { return slo.Healthy }}
	for _, c := range []struct {
		parity Parity
		want   slo.Level
		cause  Cause
	}{
		{nil, slo.Unknown, CauseParity},
		{says(slo.Unknown), slo.Unknown, CauseParity},
		{says(slo.Healthy), slo.Healthy, ""},
		{says(slo.Burning), slo.Burning, CauseParity},
	} {
		if v := ask(t.Context(), g, f, c.parity, Since{}, time.Minute); v.level != c.want || v.cause != c.cause {
			t.Errorf("%v: %+v", c.parity, v)
		}
	}
	f.level = func() slo.Level { return slo.Unknown }
	if v := ask(t.Context(), g, f, says(slo.Healthy), Since{}, time.Minute); v.level != slo.Unknown || v.cause != "" {
		t.Errorf("unknown objectives: %+v", v)
	}
}

type says slo.Level

func (s says) Parity(context.Context, float64, Since) slo.Verdict {
	return slo.Verdict{Level: slo.Level(s), Reason: "as it is", At: time.Now()}
}

func TestWhatAKilledRunLeftIsFinishedThoughTheCampaignIsPaused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.takes = 10 * time.Second
		dir := f.apply(t, f.plan(t))
		folder, err := current(dir)
		must(t, err)
		j, err := openJournal(folder, nil)
		must(t, err)
		for _, e := range []Entry{{Kind: EntryRun}, {Kind: EntryStep, Step: "whitelist/1", State: Running}} {
			e.At = time.Now()
			must(t, j.append(t.Context(), &e, nil))
		}
		order(t, dir, Order{Command: Pause})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.runner(nil).Run(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if s := read(t, dir); !strings.HasPrefix(states(s), "baking waiting ") || s.Phase != PhasePaused {
			t.Errorf("%s: %s", s.Phase, states(s))
		}
	})
}
