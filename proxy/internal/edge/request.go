package edge

import (
	"net/netip"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/http1"
	"drover/proxy/internal/identity"
	"drover/proxy/internal/mirror"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/routing"
	"drover/proxy/internal/trace"
	"drover/proxy/internal/upstream"
)

// peer is who a connection is with.
type peer struct {
	address netip.AddrPort
	text    []byte // the address without its port
	trusted bool
	scheme  string
	local   netip.AddrPort
}

// request is the state of one request. It is used again for the next of its
// connection.
type request struct {
	edge     *Edge
	client   client
	peer     *peer
	head     *http1.Request
	passport passport.Passport
	span     trace.Span
	traced   bool
	begun    time.Time
	deadline time.Time
	bodyEnd  time.Time // by when its body must be here

	// By identify.
	found   identity.Found
	userErr error

	// By route.
	base     []byte // the head that goes upstream, less what the decision adds
	body     upstream.Body
	up       upstream.Request
	exchange upstream.Exchange
	leash    upstream.Leash
	snapshot *bucketmap.Snapshot // that decided
	decision bucketmap.Decision
	sending  routing.Sending
	inside   bool // between Enter and Leave
	entered  time.Time
	unsent   bool // let go by its hold, and its head is not written yet
	unheld   bool // waited as long as it may: holds are not for it any more
	answer   *upstream.Answer
	replied  bool           // something of an answer has gone to the client
	mirrored *mirror.Sample // nil: not
	isMirror bool           // another edge has mirrored it, and a trusted peer says so

	// By reroute.
	misdirected time.Time // when it was first answered 421
	rerouteEnd  time.Time
	sameMap     int  // how often it was sent again by the same map
	lastTry     bool // it was sent again when the time was up
}

// init makes r serve requests of a client.
func (r *request) init(e *Edge, c client, p *peer) {
	r.edge, r.client, r.peer = e, c, p
	r.exchange.Init(e.options.Fleet)
	// Made once: a method value a request would be garbage.
	r.up.Head, r.up.Trailer, r.up.Interim = r.appendHead, r.passesTrailer, r.interim
	r.up.Gate, r.up.Leash, r.up.Body, r.up.Passport = r, &r.leash, &r.body, &r.passport
}

// begin makes r the next request, whose head is here.
func (r *request) begin(head *http1.Request) {
	e := r.edge
	r.head = head
	r.begun = time.Now()
	r.deadline = r.begun.Add(e.options.Timeouts.Total)
	r.bodyEnd = r.begun.Add(min(e.options.Timeouts.Body, e.options.Timeouts.Total))
	r.userErr, r.snapshot, r.answer = nil, nil, nil
	r.decision = bucketmap.Decision{}
	r.inside, r.unheld, r.replied, r.lastTry, r.isMirror = false, false, false, false, false
	r.entered, r.misdirected, r.rerouteEnd, r.sameMap = time.Time{}, time.Time{}, time.Time{}, 0
	r.body.Init(r.client, head.Length, e.options.Limits.Body, e.options.ReplayBuffer)
	p := &r.passport
	p.Method = methodName(head.Method)
	p.Path = pathOf(head.Path)
	p.Peer, p.Secure = r.peer.address, r.peer.scheme == "https"
	if e.options.Office.WantsHeaders() {
		for i, l := range head.Lines {
			if l.Kind == http1.UserAgent {
				p.UserAgent = head.Fields[i].Value
			}
			if l.Kind == http1.Referer {
				p.Referer = head.Fields[i].Value
			}
		}
	}
}

// identify finds the user.
func (r *request) identify() {
	r.userErr = r.edge.options.Finder.Find(&identity.Request{
		Fields: r.head.Fields, Target: r.head.Path, Trusted: r.peer.trusted,
	}, &r.found)
}

// interim is upstream.Request's Interim.
func (r *request) interim(head *http1.Response) error {
	if r.head.Minor == 0 {
		return nil // RFC 9110, 15.2: not to a client of HTTP/1.0
	}
	return r.client.interim(head)
}

// Enter is upstream.Gate's.
func (r *request) Enter() bool {
	r.sending, r.inside = r.edge.options.Table.Enter(r.snapshot.Version())
	return r.inside
}

// Leave is upstream.Gate's.
func (r *request) Leave() {
	r.leave()
	r.sent()
}

func (r *request) leave() {
	if r.inside {
		r.inside = false
		r.sending.Leave()
	}
}

// pathOf cuts the query off.
func pathOf(target []byte) []byte {
	for i, c := range target {
		if c == '?' {
			return target[:i]
		}
	}
	return target
}

// methodName returns the method for metrics and passports, without an
// allocation for the usual ones.
func methodName(method []byte) string {
	switch string(method) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "PATCH":
		return "PATCH"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	default:
		const longest = 32
		return string(method[:min(len(method), longest)])
	}
}
