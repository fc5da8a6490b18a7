package times

import (
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// down are n times, from n ms to 1 ms.
func down(n int) Times {
	var t Times
	for i := range n {
		t = append(t, time.Duration(n-i)*ms)
	}
	return t
}

func TestAQuantileIsTheTimeOfTheNearestRank(t *testing.T) {
	for _, c := range []struct {
		times Times
		share float64
		want  time.Duration
	}{
		{nil, 0.5, 0},
		{Times{}, 1, 0},
		{Times{7 * ms}, 0, 7 * ms},
		{Times{7 * ms}, 0.5, 7 * ms},
		{Times{7 * ms}, 1, 7 * ms},
		{down(2), 0.5, 1 * ms},
		{down(3), 0.5, 2 * ms},
		{down(4), 0.5, 2 * ms},
		{down(10), 0.99, 10 * ms},
		{down(100), 0.99, 99 * ms},
		{down(101), 0.99, 100 * ms},
		{down(200), 0, 1 * ms},
		{down(200), 0.5, 100 * ms},
		{down(200), 0.99, 198 * ms},
		{down(200), 1, 200 * ms},
		{down(200), 2, 200 * ms},
		{down(200), -1, 1 * ms},
		{Times{5 * ms, 5 * ms, 5 * ms, 9 * ms}, 0.75, 5 * ms},
	} {
		if got := c.times.At(c.share); got != c.want {
			t.Errorf("%v of %d: %v, want %v", c.share, len(c.times), got, c.want)
		}
	}
}

func TestEveryHundredthOfAHundredTimesIsItsOwn(t *testing.T) {
	hundred := down(100)
	for n := 1; n <= 100; n++ {
		if got := hundred.At(float64(n) / 100); got != time.Duration(n)*ms {
			t.Errorf("%d of 100: %v", n, got)
		}
	}
}

func TestAQuantileLeavesTheTimesInTheirOrder(t *testing.T) {
	all := down(5)
	before := slices.Clone(all)
	all.At(0.5)
	_ = all.Spread()
	if !slices.Equal(all, before) {
		t.Errorf("got %v", all)
	}
}

func TestTimesArePrintedInMilliseconds(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Times{}.String(), "never"},
		{Times{}.Spread(), "never"},
		{Times{1500 * time.Microsecond}.String(), "p50    1.5 ms  p99    1.5 ms  max    1.5 ms  (1)"},
		{down(200).String(), "p50  100.0 ms  p99  198.0 ms  max  200.0 ms  (200)"},
		{Times{1500 * ms, 662*ms + 400*time.Microsecond, 700 * ms}.Spread(), "   700ms (662ms, 1.5s)"},
		{Ms(49 * time.Microsecond), "0.0 ms"},
		{Ms(1234567 * time.Microsecond), "1234.6 ms"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	if got := InMs(2500 * time.Microsecond); got != 2.5 {
		t.Errorf("got %v", got)
	}
}
