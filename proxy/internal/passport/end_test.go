package passport

import (
	"slices"
	"testing"
)

func TestTheCodeSaysWhoEndedARequestAndWhere(t *testing.T) {
	sent := []State{Identifying, Deciding, Connecting, Sending}
	for _, c := range []struct {
		name   string
		states []State
		end    string
		queued bool
		want   string
	}{
		{"answered", append(sent, Waiting, Responding, Done), EndAnswered, false, "--"},
		{"refused head", []State{Identifying, Responding, Done}, EndRefused, false, "PR"},
		{"head that never came", []State{Receiving, Responding, Done}, EndRefused, false, "PR"},
		{"no map", []State{Identifying, Deciding, Responding, Done}, EndUnrouted, false, "PR"},
		{"refused body", append(sent, Receiving, Responding, Done), EndRefused, false, "PB"},
		{"client gone while held", []State{Identifying, Deciding, Holding, Done}, EndClientGone, false, "CH"},
		{"no connection", []State{Identifying, Deciding, Connecting, Responding, Done}, EndFailed, false, "SC"},
		{"no place", []State{Identifying, Deciding, Connecting, Responding, Done}, EndFailed, true, "SQ"},
		{"broke off while sending", append(sent, Responding, Done), EndFailed, false, "SS"},
		{"no answer", append(sent, Waiting, Responding, Done), EndFailed, false, "SW"},
		{"421 to the end", append(sent, Waiting, Rerouting, Responding, Done), EndMisdirected, false, "SH"},
		{"broken off", append(sent, Waiting, Responding, Done), EndTruncated, false, "SD"},
		{"client gone", append(sent, Waiting, Responding, Done), EndClientGone, false, "CD"},
		{"drained", append(sent, Waiting, Done), EndShuttingDown, false, "DW"},
		{"bug", []State{Identifying, Deciding, Responding, Done}, EndPanicked, false, "IR"},
	} {
		o := NewOffice(Options{})
		var p Passport
		o.begin(&p, c.states[0], Now())
		for _, s := range c.states[1:] {
			p.Stamp(s)
		}
		p.End, p.InQueue = c.end, c.queued
		o.End(&p)
		if p.Code.String() != c.want {
			t.Errorf("%s: got %s, want %s", c.name, p.Code, c.want)
		}
	}
}

func TestFailTakesWhereFromTheStateBeforeTheEdgesOwnAnswer(t *testing.T) {
	o := NewOffice(Options{})
	var p Passport
	o.Begin(&p)
	p.Stamp(Waiting)
	p.Fail(EndFailed, WhoServerTimeout)
	p.Stamp(Responding)
	o.End(&p)
	if p.Code != Code(WhoServerTimeout, WhereWaiting) || p.Code.String() != "sW" || p.End != EndFailed {
		t.Errorf("got %s, %s", p.Code, p.End)
	}
}

func TestEveryEndHasACodeOfKnownLetters(t *testing.T) {
	knows := func(letters []letter, b byte) bool {
		return slices.ContainsFunc(letters, func(l letter) bool { return l.letter == b })
	}
	for _, end := range Ends() {
		for s := range stateCount {
			p := &Passport{}
			p.begin(Identifying, Now())
			p.Stamp(s)
			p.End = end
			if c := p.code(); !knows(whos, byte(c.Who())) || !knows(wheres, byte(c.Where())) || (end == EndAnswered) != (c.Who() == WhoNobody) {
				t.Errorf("%s in %s: %s", end, s, c)
			}
		}
	}
}
