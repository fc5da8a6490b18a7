package passport

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// visit is a stamp of a test: a state, and when it was entered.
type visit struct {
	state State
	at    time.Duration
}

// stamped returns a finished passport with these stamps.
func stamped(visits ...visit) *Passport {
	p := &Passport{}
	p.begin(visits[0].state, Instant(time.Hour))
	for _, v := range visits[1:] {
		p.StampAt(v.state, Instant(time.Hour+v.at))
	}
	return p
}

var rerouted = []visit{
	{Identifying, 0}, {Deciding, 1 * ms}, {Connecting, 2 * ms}, {Sending, 4 * ms}, {Waiting, 5 * ms},
	{Rerouting, 15 * ms}, {Deciding, 115 * ms}, {Connecting, 116 * ms}, {Sending, 117 * ms}, {Receiving, 118 * ms},
	{Waiting, 138 * ms}, {Responding, 140 * ms}, {Done, 150 * ms},
}

func TestTimersAddUpAllVisitsOfAState(t *testing.T) {
	p := stamped(rerouted...)
	p.Finish()
	var sum time.Duration
	for s, want := range map[State]time.Duration{
		Receiving: 20 * ms, Identifying: 1 * ms, Deciding: 2 * ms, Holding: -1, Rerouting: 100 * ms, Connecting: 3 * ms,
		Sending: 2 * ms, Waiting: 12 * ms, Responding: 10 * ms, Done: -1,
	} {
		if got := p.Times().In[s]; got != want {
			t.Errorf("%s: got %v, want %v", s, got, want)
		}
		sum += max(p.Times().In[s], 0)
	}
	if p.Elapsed() != 150*ms || p.Times().Total != 150*ms || sum != 150*ms {
		t.Errorf("elapsed %s, total %s, sum %s", p.Elapsed(), p.Times().Total, sum)
	}
}

func TestOwnTimeIsWithoutWhatOthersTook(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(p *Passport)
		want time.Duration
	}{
		{"identify, decide, connect, send, respond", func(*Passport) {}, 1*ms + 2*ms + 3*ms + 2*ms + 10*ms},
		{"less a dial", func(p *Passport) { p.Parked(1500 * time.Microsecond) }, 16500 * time.Microsecond},
		{"less the body behind the answer's head", func(p *Passport) { p.headSent = 141 * ms }, 9 * ms},
		{"less a head that was told too late", func(p *Passport) { p.headSent = time.Hour }, 18 * ms},
		{"never less than nothing", func(p *Passport) { p.Parked(time.Hour) }, 0},
	} {
		p := stamped(rerouted...)
		c.do(p)
		p.Finish()
		if got := p.Times().Own; got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestTheFirstHeadSentCounts(t *testing.T) {
	p := &Passport{}
	p.begin(Responding, Now()-1)
	p.HeadSent()
	first := p.headSent
	for Now().Sub(p.begun) <= first {
	}
	p.HeadSent()
	if first <= 0 || p.headSent != first {
		t.Errorf("first %s, then %s", first, p.headSent)
	}
}

func TestStampsPastTheBoundAreCountedAndLoseNoTime(t *testing.T) {
	p := stamped(visit{Identifying, 0})
	for i := range 3 * stampsMax {
		p.StampAt(Connecting, Instant(time.Hour+time.Duration(i)*ms))
	}
	p.StampAt(Done, Instant(time.Hour+time.Second))
	p.Finish()
	if p.Elapsed() != time.Second || p.State() != Done || p.Times().In[Connecting] != time.Second {
		t.Errorf("elapsed %s, state %s, connecting %s", p.Elapsed(), p.State(), p.Times().In[Connecting])
	}
	if want := 2*stampsMax + 2; p.Overflow() != want {
		t.Errorf("overflow %d, want %d", p.Overflow(), want)
	}
}

func TestAPassportUsedAgainKeepsNothingOfTheLast(t *testing.T) {
	o := NewOffice(Options{})
	var p Passport
	o.BeginAt(&p, Now())
	shard := p.Shard()
	for range 2 * stampsMax {
		p.Stamp(Rerouting)
	}
	p.Parked(time.Hour)
	p.HeadSent()
	p.Path, p.End, p.Status, p.HasBucket, p.Attempts = []byte("/x"), EndFailed, 502, true, 7
	o.End(&p)
	o.Begin(&p)
	if a, b := asJSON(t, p.Facts), asJSON(t, Facts{}); a != b || shard == 0 || p.shard != shard || p.headSent != 0 || p.parked != 0 ||
		p.stamped != 1 || p.overflow != 0 || p.settled || !p.open || p.State() != Identifying {
		t.Errorf("got %+v", p)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAPassportIsCountedOnce(t *testing.T) {
	var counted recorder
	o := NewOffice(Options{Recorder: &counted})
	var p Passport
	o.End(&p) // never begun
	o.Begin(&p)
	o.End(&p)
	o.End(&p)
	if counted != 1 {
		t.Errorf("counted %d times", counted)
	}
}

type recorder int

func (r *recorder) Request(*Passport) { *r++ }

func TestTheHeadThatComesInPartsIsReceivedFirst(t *testing.T) {
	o := NewOffice(Options{})
	var p Passport
	first := Now() - Instant(time.Second)
	o.BeginAt(&p, first)
	if p.State() != Receiving || p.Begun() != first {
		t.Errorf("state %s, begun %d", p.State(), p.Begun())
	}
	p.Stamp(Identifying)
	p.StampAt(Done, Now())
	o.End(&p)
	if p.Times().In[Receiving] < time.Second || p.Times().Own > p.Times().Total-time.Second {
		t.Errorf("got %+v", p.Times())
	}
}

func TestVisitsAreTheStatesInOrder(t *testing.T) {
	var got []visit
	p := stamped(rerouted...)
	p.Visits(func(s State, from, to time.Duration) bool {
		if to < from {
			t.Errorf("%s from %s to %s", s, from, to)
		}
		got = append(got, visit{s, from})
		return true
	})
	if !slices.Equal(got, rerouted[:len(rerouted)-1]) {
		t.Errorf("got %v", got)
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
			p.Method, p.Path, p.Status, p.End = "GET", []byte("/x"), c.status, c.end
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
		p.Path, p.End = []byte(path), EndFailed
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
