package passport

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTimersAddUpAllVisitsOfAState(t *testing.T) {
	p := &Passport{}
	ms := int64(time.Millisecond)
	for _, s := range []stamp{
		{Identifying, 0}, {Deciding, 1 * ms}, {Connecting, 2 * ms}, {Sending, 4 * ms}, {Waiting, 5 * ms},
		{Rerouting, 15 * ms}, {Deciding, 115 * ms}, {Connecting, 116 * ms}, {Sending, 117 * ms}, {Waiting, 118 * ms},
		{Responding, 120 * ms}, {Done, 130 * ms},
	} {
		p.stampAt(s.state, s.at)
	}
	got := newLine(p, time.Time{}, p.Elapsed(), p.timers()).TimersMS
	for name, want := range map[string]float64{
		"identifying": 1, "deciding": 2, "holding": -1, "rerouting": 100, "connecting": 3, "sending": 2,
		"waiting": 12, "responding": 10,
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	if p.Elapsed() != 130*time.Millisecond {
		t.Errorf("elapsed %s", p.Elapsed())
	}
}

func TestStampsPastTheBoundLoseNoTime(t *testing.T) {
	p := &Passport{}
	for i := range 3 * stampsMax {
		p.stampAt(Connecting, int64(i)*int64(time.Millisecond))
	}
	p.stampAt(Done, int64(time.Second))
	if p.Elapsed() != time.Second || p.State() != Done {
		t.Fatalf("elapsed %s, state %s", p.Elapsed(), p.State())
	}
}

func TestOnlyTheSlowFailedAndSampledLeaveALine(t *testing.T) {
	for _, c := range []struct {
		name         string
		slow         time.Duration
		sample       float64
		end          string
		status       int
		line, recent bool
	}{
		{"good", time.Hour, 0, EndAnswered, 200, false, false},
		{"slow", time.Nanosecond, 0, EndAnswered, 200, true, true},
		{"slow is off", 0, 0, EndAnswered, 200, false, false},
		{"failed", time.Hour, 0, EndFailed, 502, true, true},
		{"application failed", time.Hour, 0, EndAnswered, 500, true, true},
		{"sampled", time.Hour, 1, EndAnswered, 200, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			o := NewOffice(Options{Slow: c.slow, Sample: c.sample, Recent: 2, Out: &out})
			p := o.Open()
			p.Method, p.Path, p.Status, p.End = "GET", "/x", c.status, c.end
			o.Close(p)
			if (out.Len() != 0) != c.line || (len(o.Recent()) != 0) != c.recent {
				t.Fatalf("line %q, recent %v", out.String(), o.Recent())
			}
			if !c.line {
				return
			}
			var line map[string]any
			if err := json.Unmarshal(out.Bytes(), &line); err != nil || strings.Count(out.String(), "\n") != 1 {
				t.Fatalf("want one JSON line, got %q: %v", out.String(), err)
			}
			if line["end"] != c.end || line["bucket"] != -1.0 {
				t.Fatalf("got %v", line)
			}
		})
	}
}

func TestTheRingKeepsTheNewestFirst(t *testing.T) {
	o := NewOffice(Options{Recent: 3})
	for _, path := range []string{"/1", "/2", "/3", "/4", "/5"} {
		p := o.Open()
		p.Path, p.End = path, EndFailed
		o.Close(p)
	}
	var paths []string
	for _, line := range o.Recent() {
		paths = append(paths, line.Path)
	}
	if !slices.Equal(paths, []string{"/5", "/4", "/3"}) {
		t.Fatalf("got %v", paths)
	}
}

func TestEveryStateHasANameAndARowAndEndsInDone(t *testing.T) {
	for _, s := range append(States(), Done) {
		if s.String() == "" || s.String() == "unknown" {
			t.Errorf("state %d has no name", s)
		}
		row, ok := Next[s]
		if !ok {
			t.Errorf("%s has no row", s)
		}
		if s != Done && !slices.Contains(row, Done) {
			t.Errorf("%s cannot end", s)
		}
	}
}
