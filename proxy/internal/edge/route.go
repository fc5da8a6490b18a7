package edge

import (
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"drover/bucketmap"
	"drover/proxy/internal/hold"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/upstream"
)

// route decides, holds and sends, until there is an answer.
func (r *request) route() {
	e := r.edge
	defer r.sent()
	r.buildBase()
	r.up.IsHead, r.up.Idempotent = r.passport.Method == fasthttp.MethodHead, idempotent(r.passport.Method)
	r.up.Upgrade = r.upgrades()
	r.up.Deadline = r.deadline
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
		answer, err := r.exchange.Do(r.decision.Datacenter, &r.up)
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
		if m := e.options.Mirror; m != nil {
			r.beginMirror(m)
		}
		r.respond()
		return
	}
}

// respond passes the answer on.
func (r *request) respond() {
	r.passport.Stamp(passport.Responding)
	r.passport.Status = r.answer.Head.Status
	if r.passport.End == "" {
		r.passport.End = passport.EndAnswered
	}
	r.client.respond()
	r.endMirror()
	r.answer.Close()
	r.answer = nil
}

// decide asks the map.
func (r *request) decide() {
	switch {
	case r.userErr != nil:
		r.decision = bucketmap.Decision{Datacenter: r.snapshot.Default().Datacenter, Reason: bucketmap.ReasonBadUser}
	case r.found.HasBucket:
		r.decision = r.snapshot.DecideBucket(r.found.Bucket)
	default:
		r.decision = r.snapshot.Decide(r.found.User)
	}
	p := &r.passport
	p.Bucket, p.HasBucket = r.decision.Bucket, r.decision.HasBucket
	p.Datacenter, p.Reason, p.MapVersion = r.decision.Datacenter, r.decision.Reason.String(), r.snapshot.Version()
	p.Cohort = r.edge.options.Cohorts.Of(r.snapshot, r.decision, r.found.User, p.Begun())
}

// reason returns why a request is sent to a datacenter.
func (r *request) reason(datacenter bucketmap.Datacenter) string {
	if datacenter != r.decision.Datacenter {
		return metrics.ReasonFailover
	}
	return r.decision.Reason.String()
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
	r.sent()
	r.passport.Stamp(passport.Holding)
	outcome := holds.Wait(hold.Ticket{
		Bucket: r.decision.Bucket, Snapshot: r.snapshot, Entered: r.entered, MapOnly: rerouted,
		Bytes: int64(len(r.base)), Gone: r.leash.IsCut, Notify: r.leash.OnGone,
	})
	if rerouted { // the hold has a bound of its own
		r.rerouteEnd = r.rerouteEnd.Add(time.Since(begun))
	}
	r.unsent = outcome == hold.Released
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

// gone ends a request whose client is gone, or which the edge cut off.
func (r *request) gone() {
	end, who := passport.EndClientGone, passport.WhoClient
	if r.edge.over.Load() {
		end, who = passport.EndShuttingDown, passport.WhoDrain
	}
	r.passport.Fail(end, who)
	r.passport.Status = 0
	r.client.refused(refusal{close: true}, nil)
}

// brokeOff notes why the answer did not get to its end. It says whether that was
// the application's doing.
func (r *request) brokeOff(err error) bool {
	switch {
	case r.edge.over.Load():
		r.passport.Fail(passport.EndShuttingDown, passport.WhoDrain)
	case r.leash.IsCut() || r.answer.Err() == nil:
		who := passport.WhoClient
		if timedOut(err) {
			who = passport.WhoClientTimeout
		}
		r.passport.Fail(passport.EndClientGone, who)
	default:
		r.passport.Fail(passport.EndTruncated, passport.WhoServer)
		r.edge.options.Metrics.UpstreamErrors.WithLabelValues(string(r.answer.Datacenter), string(upstream.KindTruncated)).Inc()
		return true
	}
	return false
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

// sent lets the next held request go behind this one.
func (r *request) sent() {
	if r.unsent {
		r.unsent = false
		r.edge.options.Holds.Sent()
	}
}
