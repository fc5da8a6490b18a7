package edge

import (
	"errors"
	"syscall"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/hold"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/upstream"
)

// route decides, holds and sends, until there is an answer.
func (r *request) route() {
	e := r.edge
	r.buildBase()
	r.body = upstream.NewBody(upstream.BodyOptions{
		Source: r.ctx.RequestBodyStream(), Conn: r.ctx.Conn(), Length: r.length, Limit: e.options.Limits.Body,
		KeepMax: e.options.ReplayBuffer, Idle: e.options.Timeouts.Idle, Deadline: r.deadline,
	})
	r.up.Head, r.up.Body, r.up.Gate = r.head, r.body, r
	r.up.IsHead, r.up.Idempotent = r.ctx.IsHead(), idempotent(r.passport.Method)
	r.up.Client, r.up.Header = r.ctx.Conn(), &r.ctx.Response.Header
	r.up.Deadline, r.up.Passport = r.deadline, r.passport
	for {
		r.passport.Stamp(passport.Deciding)
		r.snapshot = e.options.Table.Current()
		if r.snapshot == nil {
			r.refuse(noMap)
			return
		}
		r.decide()
		switch r.hold() {
		case waitAgain:
			continue
		case waitGone:
			r.gone()
			return
		case waitOver:
		}
		answer, err := e.options.Fleet.Do(e.over, r.decision.Datacenter, &r.up)
		if errors.Is(err, upstream.ErrMapChanged) {
			continue
		}
		if err != nil {
			r.failed(err)
			return
		}
		r.answer = answer
		r.passport.Reason = r.reason(answer.Datacenter)
		if r.isMisdirected() {
			if r.reroute() {
				continue
			}
			return
		}
		r.served()
		r.respond()
		return
	}
}

// decide asks the map.
func (r *request) decide() {
	if r.userErr != nil {
		r.decision = bucketmap.Decision{Datacenter: r.snapshot.Default().Datacenter, Reason: bucketmap.ReasonBadUser}
	} else {
		r.decision = r.snapshot.Decide(r.user)
	}
	p := r.passport
	p.Bucket, p.HasBucket = r.decision.Bucket, r.decision.HasBucket
	p.Datacenter, p.Reason, p.MapVersion = r.decision.Datacenter, r.decision.Reason.String(), r.snapshot.Version()
}

// wait is how a request goes on after asking for a hold.
type wait uint8

const (
	waitOver  wait = iota // go out
	waitAgain             // decide again
	waitGone              // nobody is there to answer
)

// hold waits while the bucket is held.
func (r *request) hold() wait {
	holds := r.edge.options.Holds
	rerouted := !r.misdirected.IsZero()
	if !r.decision.HasBucket || r.unheld || !holds.Covers(r.snapshot, r.decision.Bucket, rerouted) {
		return waitOver
	}
	begun := time.Now()
	if r.entered.IsZero() {
		r.entered = begun
	}
	r.passport.Stamp(passport.Holding)
	outcome := holds.Wait(hold.Ticket{
		Bucket: r.decision.Bucket, Snapshot: r.snapshot, Entered: r.entered, MapOnly: rerouted,
		Bytes: int64(len(r.base)), Gone: r.clientGone,
	})
	if rerouted { // the hold has a bound of its own
		r.rerouteEnd = r.rerouteEnd.Add(time.Since(begun))
	}
	switch outcome {
	case hold.NotHeld, hold.Released:
		return waitAgain
	case hold.Expired, hold.Full, hold.Shutdown:
		r.unheld = true
		return waitAgain // by the map now in force
	case hold.ClientGone:
		return waitGone
	default:
		return waitOver
	}
}

// clientGone looks at the client's connection without reading from it.
func (r *request) clientGone() bool {
	conn, ok := r.ctx.Conn().(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := conn.SyscallConn()
	return err != nil || upstream.Peek(raw) == upstream.LookClosed
}

// gone ends a request whose client is gone.
func (r *request) gone() {
	r.passport.End, r.passport.Status = passport.EndClientGone, 0
	r.ctx.SetConnectionClose()
}

// idempotent are the methods that may be sent twice (RFC 9110, 9.2.2).
func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE":
		return true
	default:
		return false
	}
}
