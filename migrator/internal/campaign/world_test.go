package campaign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/migrator/internal/slo"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fleet is a map and an executor that moves at once, or as long as takes says,
// and whatever else a test wants.
type fleet struct {
	mu      sync.Mutex
	snap    *bucketmap.Snapshot
	takes   time.Duration
	fails   func(what string, s Step) error // called before the move
	lost    bool                            // Forward moves and then says that it failed
	done    []string
	at      []time.Time
	level   func() slo.Level
	verdict func() slo.Verdict // in the place of level
}

// newFleet has alpha, beta and delta in legacy, and gamma, new, in cloud; 64
// buckets.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	d := bucketmap.NewDraft(64)
	d.Version = 7
	d.Datacenters = []bucketmap.Datacenter{"cloud", "legacy"}
	d.Default = bucketmap.Default{Datacenter: "legacy", Auto: true, Source: "legacy", Target: "cloud"}
	for i, name := range []bucketmap.ShardName{"alpha", "beta", "delta"} {
		must(t, d.PutShard(bucketmap.Shard{Name: name, Datacenter: "legacy"}))
		must(t, d.SetHome(bucketmap.BucketID(i*16), bucketmap.BucketID(i*16+15), name))
	}
	must(t, d.SetHome(48, 63, "delta"))
	must(t, d.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "cloud"}))
	snap, err := d.Snapshot()
	must(t, err)
	return &fleet{snap: snap, level: func() slo.Level { return slo.Healthy }}
}

func weight(b bucketmap.BucketID) uint64 { return 10 }

func (f *fleet) Load(context.Context) (*bucketmap.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snap, nil
}

func (f *fleet) edit(edit func(*bucketmap.Draft) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.snap.Edit()
	d.Version++
	if err := edit(d); err != nil {
		return err
	}
	d.ResolveDefault(weight)
	snap, err := d.Snapshot()
	if err == nil {
		f.snap = snap
	}
	return err
}

func (f *fleet) move(ctx context.Context, what string, s Step, there bool) error {
	if f.fails != nil {
		if err := f.fails(what, s); err != nil {
			return err
		}
	}
	if f.takes > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.takes):
		}
	}
	f.mu.Lock()
	f.done, f.at = append(f.done, what+" "+s.String()), append(f.at, time.Now())
	f.mu.Unlock()
	err := f.edit(func(d *bucketmap.Draft) error {
		switch s.Kind() {
		case KindShards:
			shard, _ := d.Shard(s.Shard)
			if shard.Datacenter = s.Datacenter; there {
				shard.Datacenter = "cloud"
			}
			return d.PutShard(shard)
		case KindBuckets:
			to := s.From
			if there {
				to = s.To
			}
			for _, b := range s.Buckets.Buckets {
				if err := d.SetHome(b, b, to); err != nil {
					return err
				}
			}
		default:
			for _, text := range s.IDs {
				id, err := bucketmap.ParseUserID(text)
				if err != nil {
					return err
				}
				if delete(d.Whitelist, string(id)); there {
					d.Whitelist[string(id)] = "cloud"
				}
			}
		}
		return nil
	})
	if err == nil && there && f.lost {
		return errors.New("the connection was lost")
	}
	return err
}

func (f *fleet) Forward(ctx context.Context, s Step) error { return f.move(ctx, "forward", s, true) }
func (f *fleet) Back(ctx context.Context, s Step) error    { return f.move(ctx, "back", s, false) }
func (f *fleet) Abandon(context.Context, Step) error       { return nil }
func (f *fleet) Default(_ context.Context, to bucketmap.Datacenter, auto bool) error {
	if auto {
		return nil
	}
	return f.edit(func(d *bucketmap.Draft) error { d.Default = bucketmap.Default{Datacenter: to}; return nil })
}

func (f *fleet) Evaluate(context.Context) slo.Verdict {
	if f.verdict != nil {
		return f.verdict()
	}
	return slo.Verdict{Level: f.level(), Reason: "as the test says", At: time.Now()}
}

// plan is two users, three single buckets and a batch of alpha, then beta and
// delta whole.
func (f *fleet) plan(t *testing.T) *Plan {
	t.Helper()
	p, err := Build(f.snap, Options{To: "cloud", Users: []string{"ann", "bob"}, Weight: weight, Bake: 15 * time.Second, Takes: func(Step) time.Duration { return time.Second }, BatchMax: 13,
		Replicated: func(s bucketmap.ShardName) bool { return s != "alpha" },
		Pace:       Pace{Start: 100_000, Add: 1000, Min: 100, Max: 200_000}})
	must(t, err)
	return p
}

// apply begins a campaign and returns its folder's folder.
func (f *fleet) apply(t *testing.T, p *Plan) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "campaign")
	_, err := Apply(t.Context(), dir, p, f.snap, weight, "tester", "", time.Now())
	must(t, err)
	return dir
}

// runner runs a campaign; report is told of its lines, by its goroutine.
func (f *fleet) runner(report func(Entry)) *Runner {
	return &Runner{Executor: f, Maps: f, Judge: f, Watch: testWatch, Who: "tester", Every: time.Second, Report: report}
}

// testWatch says every 400 ms that something may have changed: the file system's
// own word comes from outside of a bubble of synctest.
func testWatch(ctx context.Context, dir string) (<-chan struct{}, error) {
	changed := make(chan struct{}, 1)
	go func() {
		defer close(changed)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(400 * time.Millisecond):
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, nil
}

// order sends an order from beside a run, and wants it taken in within a second.
func order(t *testing.T, dir string, o Order) Receipt {
	t.Helper()
	o.Who, o.Why = "operator", "a test"
	r, err := Send(t.Context(), dir, o, 5*time.Second, testWatch)
	if err != nil {
		t.Errorf("%s: %v", o.Command, err)
	}
	if r.Live && (!r.Obeyed || r.After > time.Second) {
		t.Errorf("%s: taken in: %v, after %s", o.Command, r.Obeyed, r.After)
	}
	return r
}

func read(t *testing.T, dir string) Status {
	t.Helper()
	s, err := Read(dir, time.Now())
	must(t, err)
	return s
}

const (
	// lookEvery is between two looks at a campaign, and reachMax when what must
	// come is given up: both by the bubble's clock, which waits for nobody.
	lookEvery = time.Second
	reachMax  = 30 * time.Minute
)

// reach waits until a campaign is as is wants it.
func reach(t *testing.T, dir, what string, is func(Status) bool) Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), reachMax)
	defer cancel()
	looks := testrun.NewPace(lookEvery)
	defer looks.Stop()
	for {
		s := read(t, dir)
		if is(s) {
			return s
		}
		if !looks.Wait(ctx) {
			t.Fatalf("never %s: %s, %s; %s", what, s.Phase, states(s), s.Reason)
		}
	}
}

// stays looks for so long, and wants the campaign in the phase each time, and no
// step more made there or back.
func (f *fleet) stays(t *testing.T, dir string, phase Phase, lasting time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasting)
	defer cancel()
	looks := testrun.NewPace(lookEvery)
	defer looks.Stop()
	for made := f.made(); looks.Wait(ctx); {
		if s := read(t, dir); s.Phase != phase || f.made() != made {
			t.Fatalf("%s, %d steps made: %s; want %s for %s, and %d", s.Phase, f.made(), s.Reason, phase, lasting, made)
		}
	}
}

// made counts the steps that were made, there or back.
func (f *fleet) made() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.done)
}

// start runs a campaign beside the test; the channel has how it ended.
func start(ctx context.Context, r *Runner, dir string) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, dir) }()
	return ended
}

// states are the steps' states, in order.
func states(s Status) string {
	text := ""
	for _, w := range s.Waves {
		for _, t := range w.Steps {
			text += fmt.Sprintf("%s ", t.State)
		}
	}
	return text
}

func readJournal(t *testing.T, dir string) []Entry {
	t.Helper()
	folder, err := current(dir)
	must(t, err)
	var all []Entry
	_, err = openJournal(folder, func(_ *State, e Entry) { all = append(all, e) })
	must(t, err)
	return all
}

func TestMain(m *testing.M) { os.Exit(m.Run()) }
