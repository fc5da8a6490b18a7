package edge

import (
	"context"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"drover/bucketmap"
	"drover/proxy/internal/http1"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/routing"
	"drover/proxy/internal/upstream"
)

// An application that finds itself not the home of a bucket, or the bucket
// frozen, and has done nothing, answers 421 with Drover-Map-Version. The
// request is then sent again, as soon as a map is in force that says something
// else of it. It is also sent again by the same map, twice early and once when
// the time is up: a move that stepped back makes the bucket writable again
// without a new map, and an application that runs behind the map catches up.
// That is safe because the application has done nothing.
//
// A request whose body is longer than the replay buffer cannot be sent again:
// the client gets the 421 as it is, and may send the request again itself.
const (
	// The early tries by the same map come after these parts of the time.
	rerouteFirst  = 20
	rerouteSecond = 4
	// reroutesMax bounds the tries in all: the three by the same map, and a map
	// for each step of a move (hold, new home, back again).
	reroutesMax = 8
	// misdirectedBytesMax is how much of a 421's body is read so that its
	// connection can be used again.
	misdirectedBytesMax = 16 << 10
)

// isMisdirected says whether the answer is the application's "not here". A 421
// without a version of the map is the application's own affair.
func (r *request) isMisdirected() bool {
	h := r.answer.Head
	if h.Status != fasthttp.StatusMisdirectedRequest {
		return false
	}
	for i, l := range h.Lines {
		if l.Kind == http1.Drover && http1.EqualFold(h.Fields[i].Name, "drover-map-version") {
			_, err := strconv.ParseUint(string(h.Fields[i].Value), 10, 64)
			return err == nil
		}
	}
	return false
}

// reroute deals with a 421. It says whether the request is to be decided
// again; else it is answered.
func (r *request) reroute() bool {
	e := r.edge
	if r.exchange.StopSending(); !r.body.Replayable() {
		e.options.Metrics.Reroute(metrics.RerouteBody)
		r.passport.End = passport.EndMisdirected
		r.respond()
		return false
	}
	r.answer.Discard(misdirectedBytesMax)
	r.answer.Close()
	r.answer = nil
	r.passport.Stamp(passport.Rerouting)
	now := time.Now()
	if r.misdirected.IsZero() {
		r.misdirected = now
		r.rerouteEnd = now.Add(e.options.RerouteWaitMax)
	}
	if r.decision.HasBucket {
		e.options.Holds.React(r.snapshot, r.decision.Bucket)
	}
	if r.passport.Reroutes >= reroutesMax || r.lastTry {
		e.options.Metrics.Reroute(metrics.RerouteExhausted)
		r.refuse(misdirected)
		return false
	}
	r.passport.Reroutes++
	if !r.body.Rewind() {
		r.failed(&upstream.Error{Kind: upstream.KindBody, Datacenter: r.decision.Datacenter, Err: r.body.Err()})
		return false
	}
	if r.waitChange(now) {
		e.options.Metrics.Reroute(metrics.RerouteNewMap)
	} else {
		r.sameMap++
		e.options.Metrics.Reroute(metrics.RerouteSameMap)
	}
	return true
}

// waitChange waits for a map that says something else of the request than the
// one that decided it, until it is time to try again by the same. A newer map
// that changes nothing for the request is no reason to send it again: while
// other buckets move there are many.
func (r *request) waitChange(now time.Time) bool {
	whole := r.edge.options.RerouteWaitMax
	until := r.rerouteEnd
	switch r.sameMap {
	case 0:
		until = now.Add(whole / rerouteFirst)
	case 1:
		until = now.Add(whole / rerouteSecond)
	}
	r.lastTry = !until.Before(r.rerouteEnd)
	if r.lastTry {
		until = r.rerouteEnd
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	r.leash.OnGone(cancel)
	defer r.leash.OnGone(nil)
	version := r.snapshot.Version()
	for {
		next, err := r.edge.options.Table.WaitNewer(ctx, version)
		if err != nil {
			return false
		}
		if r.changed(next) {
			r.lastTry = false
			return true
		}
		version = next.Version()
	}
}

func (r *request) changed(next *bucketmap.Snapshot) bool {
	if !r.decision.HasBucket {
		return next.Default().Datacenter != r.decision.Datacenter
	}
	again := next.Decide(r.found.User)
	if r.found.HasBucket {
		again = next.DecideBucket(r.found.Bucket)
	}
	return again != r.decision ||
		routing.RouteOf(next, r.decision.Bucket) != routing.RouteOf(r.snapshot, r.decision.Bucket)
}

// served is called when an application has taken the request. When that was
// after a 421, the bucket's others need not wait any longer.
func (r *request) served() {
	if r.misdirected.IsZero() {
		return
	}
	r.edge.options.Metrics.Reroute(metrics.RerouteServed)
	if r.decision.HasBucket {
		r.edge.options.Holds.EndReactive(r.decision.Bucket)
	}
}
