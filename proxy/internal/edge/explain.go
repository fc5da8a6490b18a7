package edge

import (
	"bytes"
	"net/netip"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/http1"
)

// Explanation is what the edge would do with a request. When Status is not 0 it
// would refuse it, and what the refusal came before is empty.
type Explanation struct {
	Status       int
	Why, Remedy  string // of the refusal
	Method, Host string
	Target       string // as the client sent it
	Trusted      bool

	// Source is the index of the identity that gave the user or the bucket, or
	// whose id cannot be used; -1: none.
	Source    int
	User      string
	Bucket    bucketmap.BucketID
	HasBucket bool
	UserErr   error // why the user cannot be used

	MapVersion bucketmap.Version
	Datacenter bucketmap.Datacenter
	Reason     string
	Shard      bucketmap.ShardName // the bucket's home; empty: it has none
	Epoch      bucketmap.Epoch     // the bucket's
	Hold       *bucketmap.Hold     // for which it would wait, at most
	Head       []byte              // that goes upstream
}

// Peer is who a request that is explained comes from.
type Peer struct {
	Address netip.AddrPort
	Trusted bool
	Scheme  string // http or https
}

// Explain says what the edge would do with a request, whose head text begins
// with, at a moment. It takes the way of a request on a connection, by the map
// in force, but waits for no hold and sends nothing; what follows the head is
// not looked at. A trace that would begin is another one each time.
func (e *Edge) Explain(text []byte, from Peer, now time.Time) *Explanation {
	x := &Explanation{Source: -1, Trusted: from.Trusted}
	var head http1.Request
	limits := &e.options.Limits
	end, problem := head.Scan(text[:min(len(text), limits.HeaderBytes)], http1.Limits{Fields: limits.Fields, RequestLine: limits.RequestLine})
	x.Method, x.Target, x.Host = string(head.Method), string(head.Target), string(head.Host)
	switch {
	case problem != nil:
		return x.refuse(malformed(problem))
	case end == 0 && len(text) >= limits.HeaderBytes:
		return x.refuse(refusal{status: 431, what: "the request's head is too long", remedy: "send shorter headers, or raise limits.header_bytes"})
	case end == 0:
		return x.refuse(refusal{status: 408, what: "the request's head does not come to its end", remedy: "end it with an empty line; lines end in CRLF"})
	case head.Length > limits.Body:
		return x.refuse(tooLarge)
	}
	r := &request{}
	p := &peer{address: from.Address, trusted: from.Trusted, scheme: from.Scheme}
	p.text = from.Address.Addr().Unmap().WithZone("").AppendTo(nil)
	r.init(e, nil, p)
	r.begin(&head)
	r.identify()
	if e.options.Tracer != nil {
		e.options.Tracer.Begin(traceparent(&head), &r.span)
	}
	r.buildBase()
	if r.snapshot = e.options.Table.Current(); r.snapshot == nil {
		return x.refuse(noMap)
	}
	r.decide()
	x.fill(r, now)
	return x
}

func (x *Explanation) refuse(f refusal) *Explanation {
	x.Status, x.Why, x.Remedy = f.status, f.what, f.remedy
	return x
}

// fill takes what was found out of a request that is decided.
func (x *Explanation) fill(r *request, now time.Time) {
	d, s := r.decision, r.snapshot
	x.Source, x.User, x.UserErr = r.found.Source, string(r.found.User), r.userErr
	x.MapVersion, x.Datacenter, x.Reason = s.Version(), d.Datacenter, r.reason(d.Datacenter)
	x.Head = bytes.Clone(r.appendHead(nil, d.Datacenter))
	if !d.HasBucket {
		return
	}
	x.Bucket, x.HasBucket, x.Epoch = d.Bucket, true, s.Epoch(d.Bucket)
	if shard, ok := s.Home(d.Bucket); ok {
		x.Shard = shard.Name
	}
	if h, ok := s.HoldOf(d.Bucket); ok && now.Before(h.Until) { // as hold.Covers
		x.Hold = &h
	}
}

// traceparent is beginSpan's.
func traceparent(head *http1.Request) (incoming []byte) {
	for i, l := range head.Lines {
		if l.Kind == http1.Traceparent {
			incoming = head.Fields[i].Value
		}
	}
	return incoming
}
