package tracer

import (
	"context"
	"fmt"
	"time"

	"drover/bucketmap"
)

// judge says what became of an exchange, but for its count.
func (t *Tracer) judge(ctx context.Context, p *door, u *user, e *exchange) Result {
	r := Result{At: e.sent.UTC(), Proxy: p.Name, User: bucketmap.UserID(u.id).String(), Bucket: uint32(u.bucket), Kind: KindRead, ID: e.id, Outcome: Right, Status: e.status, Times: e.times}
	if e.request == &t.options.Write {
		r.Kind = KindWrite
	}
	r.Expected = t.expect(u, e).now.public()
	if e.document.header != nil {
		r.Sent, _ = e.sentBy() // an error is looked at below
	}
	if e.err != nil {
		return r.not(Failed, e.err.Error())
	}
	var err error
	if r.Sent, err = e.sentBy(); err != nil {
		return r.not(Failed, err.Error())
	}
	if r.Served, err = e.served(); err != nil {
		return r.not(Failed, err.Error())
	}
	asked := e.sent // the moment of which the proxy's version is, or an earlier one
	other := false
	if p.Admin != "" {
		ack, err := t.ask(ctx, p)
		if err != nil {
			return r.not(Failed, err.Error())
		}
		if r.Sent.Version == 0 {
			r.Sent.Version, asked = ack.Version, ack.at
		}
		if ack.Reason != "" {
			r.Sent.Refused = fmt.Sprintf("%d: %.*s", ack.Refused, whyMax, ack.Reason)
		}
		r.Sent.Digest = ack.digest
		other = t.view.differs(ack.Version, ack.digest)
	}
	if r.Sent.Version == 0 {
		return r.not(Failed, "the proxy does not tell its map version: set expose_headers there, or give its admin server in tracers.proxies")
	}
	t.landing(ctx, u, e, &r, asked)
	if other && (r.Outcome == Right || r.Outcome == Late) {
		r.not(Misrouted, fmt.Sprintf("the proxy runs another map than the published one of its version, digest %.12s: publish the next version, and see where it has this one from", r.Sent.Digest))
	}
	return r
}

// not makes the outcome.
func (r *Result) not(o Outcome, why string) Result {
	r.Outcome, r.Why = o, why
	return *r
}

// public is a place as results have it.
func (p place) public() Place {
	return Place{Version: p.Version, Datacenter: p.Datacenter, Shard: p.Shard}
}

// expect is the view's, with everything that was in force for the grace time
// before the request.
func (t *Tracer) expect(u *user, e *exchange) expected {
	return t.view.expect(u, e.sent.Add(-t.options.Grace))
}

// landing judges where an answer came from, by the map, and how long it took.
// The proxy's version is of the moment asked.
func (t *Tracer) landing(ctx context.Context, u *user, e *exchange, r *Result, asked time.Time) {
	outcome, why, byMap := t.compare(u, e, r)
	if outcome != Right && byMap {
		// The proxy or the application may know of a map before this process does.
		if err := t.view.refresh(ctx, e.got); err != nil {
			r.not(Failed, fmt.Sprintf("%s; but the newest map cannot be read: %v", why, err))
			return
		}
		outcome, why, byMap = t.compare(u, e, r)
	}
	since, behind := t.view.behind(r.Sent.Version)
	stale := behind && asked.Sub(since) > t.options.Grace
	switch {
	case outcome == Wrong && !byMap:
		r.not(Wrong, why)
	case stale:
		r.not(Stale, t.staleness(r, asked.Sub(since), why))
	case outcome != Right && behind && t.fits(ctx, u, r):
		r.not(Right, fmt.Sprintf("by version %d of the map; version %d is on its way", r.Sent.Version, t.view.newest()))
	case outcome == Misrouted && r.Sent.Version > t.view.newest():
		r.not(Misrouted, why+fmt.Sprintf("; the proxy runs version %d, which is not published: a canary's, or another store's", r.Sent.Version))
	case outcome != Right:
		r.not(outcome, why)
	default:
		t.punctual(u, e, r)
	}
}

// staleness says how old the proxy's map is.
func (t *Tracer) staleness(r *Result, age time.Duration, landed string) string {
	text := fmt.Sprintf("the proxy's map is version %d, and newer ones are published for %s, the newest %d", r.Sent.Version, age.Round(time.Millisecond), t.view.newest())
	if r.Sent.Refused != "" {
		text += "; it has refused version " + r.Sent.Refused
	}
	if landed != "" {
		text += "; " + landed
	}
	return text
}

// compare compares an answer with all places that were the tracer's. byMap says
// that it is the map that the answer does not fit.
func (t *Tracer) compare(u *user, e *exchange, r *Result) (o Outcome, why string, byMap bool) {
	x := t.expect(u, e)
	r.Expected = x.now.public()
	if s, a := r.Sent.Datacenter, r.Served.Datacenter; s != "" && a != "" && s != a {
		return Wrong, fmt.Sprintf("the proxy sent it to %s, and an application of %s answered%s: look at the proxy's upstreams of %s, and at that application's datacenter",
			s, a, inBrackets(r.Served.Instance), s), false
	}
	landed := r.landed()
	datacenter, shard := landed == "", r.Served.Shard == ""
	for _, p := range x.places {
		datacenter = datacenter || p.Datacenter == landed
		shard = shard || p.Shard == r.Served.Shard || p.Shard == ""
	}
	switch {
	case !datacenter && r.Sent.Reason == "failover":
		return Misrouted, fmt.Sprintf("it went to %s, as nothing of %s could be reached (failover)", landed, x.now.Datacenter), true
	case !datacenter:
		return Misrouted, fmt.Sprintf("it went to %s%s, and the map says %s", landed, inBrackets(r.Sent.Reason), x.now.Datacenter), true
	case !shard:
		return Wrong, fmt.Sprintf("the application%s used shard %s, and the map says %s", inBrackets(r.Served.Instance), r.Served.Shard, x.now.Shard), true
	}
	return Right, "", false
}

// landed is the datacenter that answered, as far as it is known.
func (r *Result) landed() bucketmap.Datacenter {
	if r.Served.Datacenter != "" {
		return r.Served.Datacenter
	}
	return r.Sent.Datacenter
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// fits says whether an answer is right by the version that the proxy has, which
// this process never saw in force.
func (t *Tracer) fits(ctx context.Context, u *user, r *Result) bool {
	ctx, cancel := context.WithTimeout(ctx, refreshMax)
	defer cancel()
	snap, err := t.options.Map.At(ctx, r.Sent.Version)
	if err != nil {
		return false
	}
	p := placeOf(snap, u.id, time.Time{})
	shard := r.Served.Shard
	return p.Datacenter == r.landed() && (shard == "" || p.Shard == "" || p.Shard == shard || r.Expected.Shard == shard)
}

// punctual judges how long a right answer took. One that a hold or a change of
// home is in the way of may take as long as that.
func (t *Tracer) punctual(u *user, e *exchange, r *Result) {
	allowed, took := t.options.Late, e.got.Sub(e.sent)
	x := t.expect(u, e)
	if x.changed {
		allowed += max(t.options.Grace, x.hold)
	}
	if took > allowed {
		r.not(Late, fmt.Sprintf("it took %s, and may take %s", took.Round(time.Millisecond), allowed))
		return
	}
	if x.changed {
		r.Why = "during a hold or a change of home"
	}
}
