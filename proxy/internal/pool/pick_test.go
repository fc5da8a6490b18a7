package pool

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"drover/bucketmap"
)

// world is a pool whose clock and dice are the test's. Nothing listens.
type world struct {
	*Pool
	rig *rig
	at  time.Time
}

func newWorld(t testing.TB, hosts int, change func(*Settings, *Datacenter)) *world {
	t.Helper()
	settings := testSettings()
	dc := Datacenter{}
	for i := range hosts {
		dc.Upstreams = append(dc.Upstreams, fmt.Sprintf("127.0.0.1:%d", 1+i))
	}
	other := Datacenter{Upstreams: []string{"127.0.0.1:1"}}
	if change != nil {
		change(&settings, &dc)
	}
	r := newRig(t, map[bucketmap.Datacenter]Datacenter{"east": dc, "west": other}, settings)
	w := &world{Pool: r.Of("east"), rig: r, at: r.base.Add(time.Hour)}
	r.clock = func() int64 { return r.instant(w.at) }
	const seed = 11
	r.random = rand.New(rand.NewPCG(seed, seed)).Uint64
	return w
}

func withFailover(_ *Settings, dc *Datacenter) { dc.Failover = []bucketmap.Datacenter{"west"} }

func withSlowStart(d time.Duration) func(*Settings, *Datacenter) {
	return func(_ *Settings, dc *Datacenter) { dc.SlowStart = d }
}

// eject makes a host fail until it is ejected, or has failed n times.
func (w *world) fail(h *Host, n int) {
	for range n {
		h.Failed(w.at)
	}
}

// picks returns each host's share of n picks, in which load plays no part
// unless the requests stay under way.
func (w *world) picks(n int, not *Host) map[*Host]float64 {
	shares := map[*Host]float64{}
	for range n {
		shares[w.Pick(not)] += 1 / float64(n)
	}
	return shares
}

func (w *world) up() (hosts []*Host) {
	for _, h := range w.Hosts() {
		if h.Up(w.at) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func near(a, b, by float64) bool { return math.Abs(a-b) <= by }

const many = 40_000 // 3 σ of a share of a tenth is 0.0045

func TestHostsThatAreUpGetEqualShares(t *testing.T) {
	w := newWorld(t, 5, nil)
	for h, share := range w.picks(many, nil) {
		if !near(share, 0.2, 0.01) {
			t.Errorf("%s got %v", h.Address(), share)
		}
	}
}

func TestTheLessLoadedOfTwoIsPicked(t *testing.T) {
	w := newWorld(t, 2, nil)
	a, b := w.Hosts()[0], w.Hosts()[1]
	a.Begin()
	if got := w.picks(1000, nil); got[b] < 0.999 {
		t.Errorf("the idle one of two got %v", got[b])
	}
	b.Begin()
	b.Begin()
	if got := w.picks(1000, nil); got[a] < 0.999 {
		t.Errorf("the less loaded of two got %v", got[a])
	}
	a.End()
	b.End()
	b.End()
	// With requests that stay, the most loaded is never far from the mean.
	w = newWorld(t, 10, nil)
	for range 10_000 {
		w.Pick(nil).Begin()
	}
	for _, h := range w.Hosts() {
		if n := h.load.Load(); n < 980 || n > 1020 {
			t.Errorf("%s has %d of 10000 requests", h.Address(), n)
		}
	}
}

func TestAHostThatIsDownIsNeverPickedWhileAnotherIsUp(t *testing.T) {
	for hosts := 1; hosts <= 12; hosts++ {
		for _, change := range []func(*Settings, *Datacenter){nil, withFailover, withSlowStart(time.Second)} {
			w := newWorld(t, hosts, change)
			dice := rand.New(rand.NewPCG(3, uint64(hosts)))
			for range 400 {
				h := w.Hosts()[dice.IntN(hosts)]
				switch dice.IntN(4) {
				case 0:
					w.fail(h, 3)
				case 1:
					h.checked(dice.IntN(2) == 0, nil)
				case 2:
					h.Succeeded()
				default:
					w.at = w.at.Add(time.Duration(dice.IntN(2000)) * time.Millisecond)
				}
				up := w.up()
				for range 5 {
					got := w.Pick(nil)
					if len(up) != 0 && !got.Up(w.at) {
						t.Fatalf("%d of %d hosts are up, and one that is not was picked", len(up), hosts)
					}
					if len(up) == 0 && (got == nil) != (len(w.Failover()) != 0) {
						t.Fatalf("no host is up: got %v with failover %v", got, w.Failover())
					}
					if again := w.Pick(h); again == h && (len(up) > 1 || len(up) == 1 && up[0] != h) {
						t.Fatalf("%d of %d are up, and the one not wanted was picked", len(up), hosts)
					}
				}
			}
		}
	}
}

func TestTheHostThatFailedIsTriedAgainWhenItIsTheOnlyOneUp(t *testing.T) {
	w := newWorld(t, 2, withFailover)
	a, b := w.Hosts()[0], w.Hosts()[1]
	w.fail(b, 3)
	if got := w.Pick(a); got != a {
		t.Errorf("got %v", got)
	}
	w.fail(a, 3)
	if got := w.Pick(a); got != nil {
		t.Errorf("all ejected, with a failover: got %v", got)
	}
}

func TestAHostThatComesBackHasAShareThatGrowsFromATenth(t *testing.T) {
	w := newWorld(t, 4, withSlowStart(10*time.Second))
	h := w.Hosts()[0]
	w.fail(h, 3)
	back := w.at.Add(time.Second) // eject_first
	for _, step := range []struct {
		after time.Duration
		share float64
	}{{0, 0.1}, {time.Second, 0.19}, {5 * time.Second, 0.55}, {9 * time.Second, 0.91}, {10 * time.Second, 1}, {time.Minute, 1}} {
		w.at = back.Add(step.after)
		want := step.share / (3 + step.share)
		if got := w.picks(many, nil)[h]; !near(got, want, 0.01) {
			t.Errorf("after %v: got %.4f, want %.4f", step.after, got, want)
		}
	}
}

func TestAHostInSlowStartDoesNotGetMoreForBeingIdle(t *testing.T) {
	w := newWorld(t, 2, withSlowStart(10*time.Second))
	h, other := w.Hosts()[0], w.Hosts()[1]
	h.checked(false, nil)
	h.checked(true, nil)
	for range 50 {
		other.Begin()
	}
	want := 0.1 / 1.1
	if got := w.picks(many, nil)[h]; !near(got, want, 0.01) {
		t.Errorf("idle beside a busy one: got %.4f, want %.4f", got, want)
	}
	for range 51 {
		h.Begin()
	}
	if got := w.picks(many, nil)[h]; got != 0 {
		t.Errorf("with more requests than the other: got %.4f", got)
	}
}

func TestWithMostHostsDownTheSharesStayRight(t *testing.T) {
	w := newWorld(t, 40, withSlowStart(10*time.Second))
	for _, h := range w.Hosts()[2:] {
		h.checked(false, nil)
	}
	slow := w.Hosts()[0]
	slow.checked(false, nil)
	slow.checked(true, nil)
	got := w.picks(many, nil)
	if want := 0.1 / 1.1; len(got) != 2 || !near(got[slow], want, 0.01) {
		t.Errorf("got %d hosts, the slow one %.4f, want %.4f", len(got), got[slow], want)
	}
}

func TestWithEveryHostSickOneIsPickedAllTheSame(t *testing.T) {
	w := newWorld(t, 3, nil)
	for _, h := range w.Hosts() {
		h.checked(false, nil)
	}
	if got := w.picks(1000, w.Hosts()[0]); len(got) < 2 || got[nil] != 0 {
		t.Errorf("got %v", got)
	}
}

func TestTheBudgetIsARatioOfTheRequestsAboveAReserve(t *testing.T) {
	w := newWorld(t, 1, func(s *Settings, _ *Datacenter) { s.RetryRatio, s.RetryMin = 0.25, 10 })
	spent := func() (n int) {
		for w.Spend() {
			n++
		}
		return n
	}
	if n := spent(); n != 10 {
		t.Errorf("the reserve is %d", n)
	}
	for range 20 {
		w.Earn()
	}
	if n := spent(); n != 5 {
		t.Errorf("20 requests earned %d tries", n)
	}
	for range 1000 {
		w.Earn()
	}
	if n := spent(); n != 10 {
		t.Errorf("%d tries were saved up", n)
	}
	none := newWorld(t, 1, func(s *Settings, _ *Datacenter) { s.RetryRatio, s.RetryMin = 0, 0 })
	none.Earn()
	if none.Spend() {
		t.Error("a budget of nothing was spent")
	}
	w.Retried()
	if v, _ := w.rig.sample(t, "drover_proxy_retries_total", "east"); v != 1 {
		t.Errorf("%v retries counted", v)
	}
}
