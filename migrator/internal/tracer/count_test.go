package tracer

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"
)

func TestAnAcknowledgedWriteThatIsNotThereIsLostAndToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.want(Right, "")
	w.front.counts.add(w.view.list()[0].id, -1)
	w.wantOne(KindWrite, Lost, "the count is 1, and 2 writes are acknowledged")
	w.want(Right, "")
	w.front.set(func() { w.front.count = func(n int64) int64 { return n - 1 } })
	if results := w.once(); results[0].Outcome != Lost || results[1].Outcome != Right {
		t.Errorf("%+v", results)
	}
}

func TestAReadOfAReplicaThatCatchesUpWithinTheGraceTimeLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Write.Count = Field{} })
	w.want(Right, "")
	reads := 0
	w.front.set(func() {
		w.front.count = func(n int64) int64 {
			if reads++; reads <= 3 { // the write's answer, and two reads
				return n - 1
			}
			return n
		}
	})
	w.want(Right, "")
	if reads < 4 {
		t.Errorf("the count was asked for %d times", reads)
	}
}

func TestAWriteThatIsThereTwiceIsDuplicated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.want(Right, "")
	w.front.counts.add(w.view.list()[0].id, 1)
	w.wantOne(KindWrite, Duplicated, "the count is 3, and of the writes 2 are acknowledged, 0 under way and 0 of unknown outcome")
	w.want(Right, "")
	w.front.set(func() { w.front.again = true })
	w.wantOne(KindWrite, Duplicated, "somebody has sent it twice")
}

func TestAWriteOfUnknownOutcomeMayBeThereOrNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.want(Right, "")
	broken := func(done bool) func() {
		return func() {
			w.front.answer = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost {
					return false
				}
				if done {
					w.front.counts.add(r.Header.Get("X-User-Id"), 1)
				}
				rw.WriteHeader(http.StatusBadGateway)
				return true
			}
		}
	}
	for _, done := range []bool{true, false} {
		w.front.set(broken(done))
		w.wantOne(KindWrite, Failed, "status 502")
		w.wantOne(KindRead, Right, "")
		w.front.set(func() { w.front.answer = nil })
		w.want(Right, "")
	}
}

func TestWritesOfUnknownOutcomeAreForgottenAndBounded(t *testing.T) {
	c := &count{known: true}
	for range 3 * maybeMax {
		c.begin(true)
		c.end(false)
	}
	if len(c.maybe) != maybeMax || !c.loose {
		t.Errorf("%d are remembered, want %d and that there were more", len(c.maybe), maybeMax)
	}
	if o, why := c.take(c.begin(false), 2*maybeMax, time.Minute); o != Right || len(c.maybe) != 0 || c.loose {
		t.Errorf("%s %s, %d left", o, why, len(c.maybe))
	}
	c.begin(true)
	c.end(false)
	if o, _ := c.take(c.begin(false), 2*maybeMax, 0); o != Right || len(c.maybe) != 0 {
		t.Errorf("%s, %d left, of whom nobody may still come", o, len(c.maybe))
	}
	if o, _ := c.take(c.begin(false), 2*maybeMax+1, 0); o != Duplicated {
		t.Errorf("%s, want duplicated: no write of unknown outcome can explain it", o)
	}
}

func TestRequestsOfOneTracerThatOverlapAreComparedWithWhatTheyMayHaveSeen(t *testing.T) {
	c := &count{known: true}
	before := c.begin(false) // a read that hangs
	first := c.begin(true)
	second := c.begin(true)
	c.end(true) // the second, which may have come before the first or after it
	if o, why := c.take(second, 1, time.Minute); o != Right {
		t.Errorf("%s %s", o, why)
	}
	c.end(true)
	if o, why := c.take(first, 2, time.Minute); o != Right {
		t.Errorf("%s %s", o, why)
	}
	for n := range int64(3) { // a read that began before them may have any
		if o, why := c.take(before, n, time.Minute); o != Right {
			t.Errorf("%d: %s %s", n, o, why)
		}
	}
	after := c.begin(false)
	if o, _ := c.take(after, 1, time.Minute); o != Lost {
		t.Errorf("%s, want lost: both were acknowledged before", o)
	}
	if o, _ := c.take(after, 1, time.Minute); o != Right {
		t.Errorf("%s: a loss is told once", o)
	}
	if o, _ := c.take(c.begin(false), 2, time.Minute); o != Duplicated {
		t.Errorf("%s, want duplicated: nobody has written since", o)
	}
}

func TestAnyOrderOfWritesThatKeepTheirPromiseIsRight(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		c := &count{}
		c.begins(true)
		type request struct {
			m    mark
			done bool // it was carried out
			n    int64
		}
		var open []*request
		var database int64
		limbo := 0 // writes that were given up and may yet be carried out
		for range 200 {
			switch step := r.IntN(4); {
			case step == 0 && limbo > 0 && r.IntN(2) == 0:
				limbo--
				database++
			case step == 0 && len(open) < 8:
				open = append(open, &request{m: c.begin(r.IntN(2) == 0)})
			case step == 1 && len(open) != 0: // the database does what one asks for
				if q := open[r.IntN(len(open))]; !q.done {
					if q.m.write {
						database++
					}
					q.done, q.n = true, database
				}
			case step > 1 && len(open) != 0: // an answer, or none
				i := r.IntN(len(open))
				q := open[i]
				open = append(open[:i], open[i+1:]...)
				answered := q.done && r.IntN(5) != 0
				if q.m.write {
					c.end(answered)
				}
				if !answered {
					if q.m.write && !q.done {
						limbo++
					}
					continue
				}
				if o, why := c.take(q.m, q.n, time.Hour); o != Right {
					t.Fatalf("%s: %s", o, why)
				}
			}
		}
	}
}
