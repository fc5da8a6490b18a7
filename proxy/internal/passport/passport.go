package passport

import (
	"time"

	"drover/bucketmap"
)

// stampsMax bounds the stamps of one request: three tries of five states each
// for every re-route (at most 6) would be 105, but the usual request has six,
// and those past the bound add to the last state but one.
const stampsMax = 40 // × 16 bytes × 10,000 connections = 6.4 MB

// base is where monotonic stamps count from.
var base = time.Now()

type stamp struct {
	state State
	at    int64 // ns since base
}

// Passport is one request's.
type Passport struct {
	Method     string
	Path       string // without the query
	Status     int    // 0: the client got no answer
	Bucket     bucketmap.BucketID
	HasBucket  bool
	Datacenter bucketmap.Datacenter // the last one it was sent to, or decided for
	Reason     string               // of the decision, or failover
	MapVersion bucketmap.Version
	Attempts   int    // how often it was sent upstream, or tried to be
	Reroutes   int    // how often it was answered 421 and sent again
	End        string // of the closed set below

	stamps  [stampsMax]stamp
	stamped int
	sampled bool
}

// The ways in which a request ends.
const (
	EndAnswered     = "answered"      // by the application, to the last byte
	EndRefused      = "refused"       // by the edge: the client's request is at fault
	EndFailed       = "failed"        // by the edge: no upstream answered
	EndMisdirected  = "misdirected"   // 421 to the end
	EndTruncated    = "truncated"     // the upstream broke off its answer
	EndClientGone   = "client_gone"   // before the answer was written
	EndUnrouted     = "unrouted"      // no map yet
	EndPanicked     = "panicked"      // a bug of the edge
	EndShuttingDown = "shutting_down" // cut off at the end of a drain
)

// Ends lists every end.
func Ends() []string {
	return []string{EndAnswered, EndRefused, EndFailed, EndMisdirected, EndTruncated, EndClientGone, EndUnrouted,
		EndPanicked, EndShuttingDown}
}

// Stamp says that the request enters a state now.
func (p *Passport) Stamp(s State) { p.stampAt(s, int64(time.Since(base))) }

func (p *Passport) stampAt(s State, at int64) {
	if p.stamped == stampsMax {
		p.stamps[stampsMax-1] = stamp{s, at}
		return
	}
	p.stamps[p.stamped] = stamp{s, at}
	p.stamped++
}

// State returns the state that the request is in.
func (p *Passport) State() State {
	if p.stamped == 0 {
		return Identifying
	}
	return p.stamps[p.stamped-1].state
}

// timers returns how long the request was in each state, all visits together;
// negative for a state it never was in.
func (p *Passport) timers() (timers [stateCount]time.Duration) {
	for i := range timers {
		timers[i] = -1
	}
	for i := range p.stamped {
		from := p.stamps[i]
		if from.state == Done {
			break
		}
		var d time.Duration
		if i+1 < p.stamped {
			d = time.Duration(p.stamps[i+1].at - from.at)
		}
		timers[from.state] = max(timers[from.state], 0) + d
	}
	return timers
}

// Elapsed returns the time from the first stamp to the last.
func (p *Passport) Elapsed() time.Duration {
	if p.stamped == 0 {
		return 0
	}
	return time.Duration(p.stamps[p.stamped-1].at - p.stamps[0].at)
}
