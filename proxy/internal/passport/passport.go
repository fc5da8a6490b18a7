package passport

import (
	"net/netip"
	"time"

	"drover/bucketmap"
)

// stampsMax bounds the stamps of one request. The usual request has seven; one
// that is re-routed six times with three tries each would have more than a
// hundred. Those past the bound count as overflow, and their time goes to the
// last state but one.
const stampsMax = 32 // × 8 bytes × 10,000 connections = 2.6 MB

// Instant is a moment of the monotonic clock, in ns since the program began.
type Instant int64

// base is where instants count from.
var base = time.Now()

// Now returns this moment. Whoever has just asked passes it to StampAt, since
// the clock is most of what a stamp costs.
func Now() Instant { return Instant(time.Since(base)) }

// Sub returns the time from earlier to i.
func (i Instant) Sub(earlier Instant) time.Duration { return time.Duration(i - earlier) }

// stamp is a state in the upper 8 bits, and the ns since the request began in
// the lower 56: two years.
type stamp uint64

const (
	stampShift = 56
	stampMask  = 1<<stampShift - 1
)

func (s stamp) state() State      { return State(s >> stampShift) }
func (s stamp) at() time.Duration { return time.Duration(s & stampMask) }

func stampOf(s State, at time.Duration) stamp {
	return stamp(s)<<stampShift | stamp(max(at, 0))&stampMask
}

// Facts is what the edge fills in, each as it becomes known.
type Facts struct {
	Method    string // a constant, or memory of its own: it outlives the request
	Path      []byte // without the query; aliases the connection's buffer, valid until End
	Protocol  string // HTTP/1.0, HTTP/1.1 or HTTP/2.0
	Secure    bool   // over TLS
	Peer      netip.AddrPort
	UserAgent []byte // these two only if Office.WantsHeaders; nil: there was none
	Referer   []byte

	Status   int   // 0: the client got no answer
	BytesIn  int64 // of the request's body
	BytesOut int64 // of the answer's body, as far as it was written

	Bucket     bucketmap.BucketID
	HasBucket  bool
	Cohort     Cohort               // of the user, at the last decision
	Datacenter bucketmap.Datacenter // the last one it was sent to, or decided for
	Reason     string               // of the decision, or failover
	MapVersion bucketmap.Version
	Upstream   string // host:port, the last one tried; outlives the request
	InQueue    bool   // while it waits for one of its upstream's connections

	Attempts int // how often it was sent upstream, or tried to be
	Retries  int // how many of them were second tries within a datacenter
	Reroutes int // how often it was answered 421 and sent again

	End  string  // one of Ends
	Code EndCode // zero: derived from End and the stamps
}

// Passport is one request's.
type Passport struct {
	Facts

	begun    Instant
	headSent time.Duration // since begun; 0: not told
	parked   time.Duration
	times    Times // by settle

	stamps   [stampsMax]stamp
	stamped  uint8
	shard    uint8 // 0: none yet; stays with the memory
	overflow uint16
	sampled  bool
	open     bool // between Begin and End
	settled  bool
}

// begin makes the passport the next request's. The stamps of the last one are
// not cleared: stamped says how many count.
func (p *Passport) begin(s State, at Instant) {
	p.Facts = Facts{}
	p.begun, p.headSent, p.parked = at, 0, 0
	p.stamps[0] = stampOf(s, 0)
	p.stamped, p.overflow = 1, 0
	p.sampled, p.open, p.settled = false, true, false
}

// Stamp says that the request enters a state now.
func (p *Passport) Stamp(s State) { p.StampAt(s, Now()) }

// StampAt says that the request entered a state at that moment, which is not
// before the last stamp's.
func (p *Passport) StampAt(s State, at Instant) {
	next := stampOf(s, at.Sub(p.begun))
	if p.stamped == stampsMax {
		p.stamps[stampsMax-1] = next
		if p.overflow < 1<<16-1 {
			p.overflow++
		}
		return
	}
	p.stamps[p.stamped] = next
	p.stamped++
}

// HeadSent says that the answer's head, and what there was of its body, has
// been handed to the client's socket. It is wanted only of an answer whose
// last byte does not go out with the head.
func (p *Passport) HeadSent() {
	if p.headSent == 0 {
		p.headSent = Now().Sub(p.begun)
	}
}

// ToHead returns the time from the first stamp until HeadSent, and to the last
// stamp when HeadSent was not called.
func (p *Passport) ToHead() time.Duration {
	if p.headSent != 0 {
		return p.headSent
	}
	return p.Elapsed()
}

// Parked says that for this long, in a state that counts as the edge's own
// time, the edge waited for somebody else: a dial, the queue for a connection,
// a socket that took no more.
func (p *Passport) Parked(d time.Duration) { p.parked += d }

// Begun returns when the request began.
func (p *Passport) Begun() Instant { return p.begun }

// State returns the state that the request is in.
func (p *Passport) State() State {
	if p.stamped == 0 {
		return Identifying
	}
	return p.stamps[p.stamped-1].state()
}

// Elapsed returns the time from the first stamp to the last.
func (p *Passport) Elapsed() time.Duration {
	if p.stamped == 0 {
		return 0
	}
	return p.stamps[p.stamped-1].at()
}

// Overflow returns how many stamps were more than the passport holds.
func (p *Passport) Overflow() int { return int(p.overflow) }

// Shard is a small number that stays with the passport's memory: counters
// kept apart by it are seldom written by two processors at once.
func (p *Passport) Shard() uint8 { return p.shard }

// Visits calls yield with each state the request was in, in order, and when:
// from and to are since it began. Wanted after Finish.
func (p *Passport) Visits(yield func(s State, from, to time.Duration) bool) {
	for i := 0; i+1 < int(p.stamped); i++ {
		if !yield(p.stamps[i].state(), p.stamps[i].at(), p.stamps[i+1].at()) {
			return
		}
	}
}
