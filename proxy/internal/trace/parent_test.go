package trace

import (
	"strings"
	"testing"
)

const (
	sampledParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	quietParent   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	traceText     = "4bf92f3577b34da6a3ce929d0e0e4736"
)

// counting gives 1, 2, 3 and so on.
func counting() func() uint64 {
	n := uint64(0)
	return func() uint64 { n++; return n }
}

func tracer(t testing.TB, o Options) *Tracer {
	t.Helper()
	if o.Endpoint == "" {
		o.Endpoint = "http://127.0.0.1:1"
	}
	if o.Random == nil {
		o.Random = counting()
	}
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestTheTraceThatCameGoesOn(t *testing.T) {
	tr := tracer(t, Options{Ratio: 0})
	var s Span
	tr.Begin([]byte(sampledParent), &s)
	if got := string(s.Header(nil)); got != "00-"+traceText+"-0000000000000001-01" || !s.Sampled() || s.Fresh() {
		t.Errorf("sampled: got %s, sampled %v, fresh %v", got, s.Sampled(), s.Fresh())
	}
	tr = tracer(t, Options{Ratio: 1})
	tr.Begin([]byte(quietParent), &s)
	if got := string(s.Header(nil)); got != quietParent || s.Sampled() || s.Fresh() {
		t.Errorf("not sampled: got %s, sampled %v, fresh %v", got, s.Sampled(), s.Fresh())
	}
}

func TestWhatIsNoTraceparentBeginsATrace(t *testing.T) {
	tr := tracer(t, Options{Ratio: 1})
	for _, bad := range []string{
		"", "00", strings.ToUpper(sampledParent), strings.Replace(sampledParent, "00-", "ff-", 1), sampledParent + "-x",
		sampledParent + " ", strings.Replace(sampledParent, traceText, strings.Repeat("0", 32), 1),
		strings.Replace(sampledParent, "00f067aa0ba902b7", strings.Repeat("0", 16), 1),
		strings.Replace(sampledParent, "4bf9", "4bg9", 1), strings.ReplaceAll(sampledParent, "-", "_"),
		strings.Replace(sampledParent, "00-", "01-", 1) + "x",
	} {
		var s Span
		tr.Begin([]byte(bad), &s)
		if got := string(s.Header(nil)); strings.Contains(got, traceText) || len(got) != parentBytes || !s.Fresh() || !s.Sampled() {
			t.Errorf("%q: got %s, fresh %v", bad, got, s.Fresh())
		}
	}
}

func TestALaterVersionIsReadAsThisOne(t *testing.T) {
	tr := tracer(t, Options{})
	var s Span
	tr.Begin([]byte(strings.Replace(sampledParent, "00-", "cc-", 1)+"-what-the-future-will-be-like"), &s)
	if got := string(s.Header(nil)); got != "00-"+traceText+"-0000000000000001-01" {
		t.Errorf("got %s", got)
	}
}

func TestNewTracesAreSampledByTheRatioOfTheirIDs(t *testing.T) {
	for _, c := range []struct {
		ratio float64
		low   uint64
		want  bool
	}{{0, 1, false}, {1, 1<<64 - 1, true}, {.5, 1<<63 - 2, true}, {.5, 1<<63 + 2, false}} {
		tr := tracer(t, Options{Ratio: c.ratio, Random: func() uint64 { return c.low }})
		var s Span
		tr.Begin(nil, &s)
		if s.Sampled() != c.want {
			t.Errorf("ratio %v, id %x: sampled %v", c.ratio, c.low, s.Sampled())
		}
		if want := map[bool]string{true: "-03", false: "-02"}[c.want]; !strings.HasSuffix(string(s.Header(nil)), want) {
			t.Errorf("ratio %v: got %s", c.ratio, s.Header(nil))
		}
	}
}

func TestWithoutATracerNothingIsDone(t *testing.T) {
	var tr *Tracer
	var s Span
	tr.Begin([]byte(sampledParent), &s)
	if got := s.Header(nil); got != nil || s.Fresh() || s.Sampled() {
		t.Errorf("got %s", got)
	}
	tr.End(&s, nil)
	if s != (Span{}) {
		t.Errorf("got %+v", s)
	}
}

func TestBeginAndHeaderAllocateNothing(t *testing.T) {
	tr := tracer(t, Options{Ratio: 1})
	var s Span
	header := make([]byte, 0, 64)
	incoming := []byte(sampledParent)
	if n := testing.AllocsPerRun(100, func() {
		tr.Begin(incoming, &s)
		header = s.Header(header[:0])
		tr.Begin(nil, &s)
		header = s.Header(header[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParent(f *testing.F) {
	f.Add(sampledParent)
	f.Add(quietParent)
	f.Add("cc" + sampledParent[2:] + "-more")
	f.Fuzz(func(t *testing.T, text string) {
		var s Span
		if !s.parse([]byte(text)) {
			return
		}
		// What was read is written as it came, but for version, reserved flags
		// and what a later version has behind it.
		s.begun, s.id = true, s.parent
		if got := string(s.Header(nil)); got[2:53] != text[2:53] {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func TestWhatIsNoCollectorIsRefused(t *testing.T) {
	for _, o := range []Options{
		{Endpoint: "collector:4318"}, {Endpoint: "grpc://x"}, {Endpoint: "http://"}, {Endpoint: "http://x", Ratio: 2},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
