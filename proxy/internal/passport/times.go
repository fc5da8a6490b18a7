package passport

import "time"

// Times is what a request's stamps add up to.
type Times struct {
	Total time.Duration
	// Own is the time that the edge itself took: all of Identifying, Deciding,
	// Connecting and Sending, and Responding until the answer's head was handed
	// to the client's socket (to the end, if HeadSent was not called); less
	// what was Parked. Receiving, Holding, Rerouting, Waiting and the answer's
	// body behind its head are somebody else's time.
	Own time.Duration
	// In is the time in each state, all visits together; negative for a state
	// that the request never was in.
	In [stateCount]time.Duration
}

// own says in which states the edge works and does not wait.
var own = [stateCount]bool{Identifying: true, Deciding: true, Connecting: true, Sending: true}

// Finish stamps Done, if that was not done, and adds the times up. Office.End
// calls it; who needs the times before then may.
func (p *Passport) Finish() {
	if p.settled {
		return
	}
	p.settled = true
	if p.State() != Done {
		p.Stamp(Done)
	}
	p.settle()
}

// Times returns what the stamps add up to. Wanted after Finish.
func (p *Passport) Times() *Times { return &p.times }

// settle goes over the stamps once.
func (p *Passport) settle() {
	t := &p.times
	t.Total, t.Own = p.Elapsed(), -p.parked
	for i := range t.In {
		t.In[i] = -1
	}
	for i := 0; i+1 < int(p.stamped); i++ {
		s, from, to := p.stamps[i].state(), p.stamps[i].at(), p.stamps[i+1].at()
		t.In[s] = max(t.In[s], 0) + to - from
		switch {
		case own[s]:
			t.Own += to - from
		case s == Responding:
			if p.headSent > from {
				to = min(to, p.headSent)
			}
			t.Own += to - from
		}
	}
	t.Own = max(t.Own, 0)
}
