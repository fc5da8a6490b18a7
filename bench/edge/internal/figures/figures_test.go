package figures

import (
	"math"
	"testing"
)

func TestMedianOfOddEvenAndNone(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{9, 1, 5}, Spread{5, 1, 9}},
		{[]float64{4, 1, 2, 8}, Spread{3, 1, 8}},
	} {
		if got := Of(test.values); got != test.want {
			t.Errorf("%v: got %+v, want %+v", test.values, got, test.want)
		}
	}
}

const page = `# HELP a b
# TYPE own_seconds histogram
own_seconds_bucket{dc="x",le="0.001"} 10
own_seconds_bucket{dc="y",le="0.001"} 40
own_seconds_bucket{dc="x",le="0.002"} 20
own_seconds_bucket{dc="y",le="0.002"} 70
own_seconds_bucket{dc="x",le="+Inf"} 20
own_seconds_bucket{dc="y",le="+Inf"} 80
holds_total{outcome="released"} 4
holds_total{outcome="full"} 3
go_memstats_mallocs_total 1.5e+06
`

func TestQuantileInterpolatesOverAllLabels(t *testing.T) {
	p := Parse(page)
	for _, test := range []struct{ q, want float64 }{
		{0.25, 0.0005}, {0.5, 0.001}, {0.7, 0.0015}, {0.99, 0.002},
	} {
		if got, ok := p.Quantile(test.q, "own_seconds"); !ok || math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%v: got %v, %v; want %v", test.q, got, ok, test.want)
		}
	}
	if _, ok := p.Quantile(0.5, "other_seconds"); ok {
		t.Error("a histogram that is not there has a quantile")
	}
	if _, ok := p.Since(p).Quantile(0.5, "own_seconds"); ok {
		t.Error("a histogram that counted nothing has a quantile")
	}
}

func TestSumAndBySeeEveryLabel(t *testing.T) {
	p := Parse(page)
	if v, ok := p.Sum("holds_total"); !ok || v != 7 {
		t.Errorf("got %v, %v", v, ok)
	}
	if v, ok := p.Sum("go_memstats_mallocs_total"); !ok || v != 1.5e6 {
		t.Errorf("got %v, %v", v, ok)
	}
	if _, ok := p.Sum("holds"); ok {
		t.Error("part of a name was taken for it")
	}
	if by := p.By("holds_total", "outcome"); len(by) != 2 || by["released"] != 4 || by["full"] != 3 {
		t.Errorf("got %v", by)
	}
}
