package metrics

import "drover/bucketmap"

// The label values that are not another package's words.
const (
	// Unrouted is the datacenter of a request for which none was decided.
	Unrouted = "none"
	// ReasonFailover is the reason of a request that went elsewhere than
	// decided because the datacenter could not be reached.
	ReasonFailover = "failover"
)

// Outcome is how a re-route went on.
type Outcome string

// The outcomes of re-routes.
const (
	RerouteNewMap    Outcome = "new_map"        // sent again by a map that says something else of the bucket
	RerouteSameMap   Outcome = "same_map"       // sent again by the same map, after a wait
	RerouteBody      Outcome = "not_replayable" // passed on: the body is not kept
	RerouteExhausted Outcome = "exhausted"      // answered 503: still 421 after the last try
	RerouteServed    Outcome = "served"         // the request was answered after all
)

func rerouteOutcomes() []Outcome {
	return []Outcome{RerouteNewMap, RerouteSameMap, RerouteBody, RerouteExhausted, RerouteServed}
}

// Transport is how a client speaks to the edge.
type Transport string

// The transports.
const (
	TransportHTTP1 Transport = "http1" // HTTP/1 in the clear
	TransportTLS   Transport = "tls"   // HTTP/1 over TLS
	TransportHTTP2 Transport = "http2" // HTTP/2, over TLS or in the clear
)

func transports() []Transport { return []Transport{TransportHTTP1, TransportTLS, TransportHTTP2} }

// Refusal is why a client's connection was closed without a request served.
type Refusal string

// Why connections are refused.
const (
	RefusalLimit         Refusal = "limit"          // limits.connections
	RefusalPeerLimit     Refusal = "peer_limit"     // too many of one peer
	RefusalHeaderTimeout Refusal = "header_timeout" // the head did not come in time
	RefusalMalformed     Refusal = "malformed"      // what came is no request
	RefusalTLS           Refusal = "tls"            // the handshake failed
	RefusalProxyProtocol Refusal = "proxy_protocol" // its header is missing or not well formed
	RefusalMemory        Refusal = "memory"         // no buffer, no file descriptor
	RefusalDrain         Refusal = "drain"          // the edge is being stopped
)

func refusals() []Refusal {
	return []Refusal{RefusalLimit, RefusalPeerLimit, RefusalHeaderTimeout, RefusalMalformed, RefusalTLS,
		RefusalProxyProtocol, RefusalMemory, RefusalDrain}
}

// TokenOutcome is what became of an identity token.
type TokenOutcome string

// The outcomes of identity tokens.
const (
	TokenVerified   TokenOutcome = "verified"    // its signature was checked
	TokenCached     TokenOutcome = "cached"      // it was verified before
	TokenInvalid    TokenOutcome = "invalid"     // malformed, wrongly signed, out of its time, for somebody else
	TokenUnknownKey TokenOutcome = "unknown_key" // signed with a key that is not known
)

func tokenOutcomes() []TokenOutcome {
	return []TokenOutcome{TokenVerified, TokenCached, TokenInvalid, TokenUnknownKey}
}

// QueueOutcome is how waiting for an upstream's connection ended.
type QueueOutcome string

// The outcomes of waiting for a connection.
const (
	QueueServed  QueueOutcome = "served"  // it got one
	QueueFull    QueueOutcome = "full"    // it found no place to wait
	QueueTimeout QueueOutcome = "timeout" // it got none in time
)

func queueOutcomes() []QueueOutcome { return []QueueOutcome{QueueServed, QueueFull, QueueTimeout} }

// reasons lists the values of the label reason.
func reasons() []string {
	words := make([]string, 0, reasonCount)
	for _, r := range bucketmap.Reasons() {
		words = append(words, r.String())
	}
	return append(words, ReasonFailover, Unrouted)
}

// MirrorOutcome is what became of a request that was to be mirrored.
type MirrorOutcome string

// The outcomes of mirrored requests.
const (
	MirrorSame      MirrorOutcome = "same"      // nothing that is compared differed
	MirrorDifferent MirrorOutcome = "different" // something did
	MirrorNoise     MirrorOutcome = "noise"     // what differed differs within one datacenter too
	MirrorDropped   MirrorOutcome = "dropped"   // not compared: no room, too long, broken off, moving
	MirrorFailed    MirrorOutcome = "failed"    // no answer to compare with
	MirrorTimeout   MirrorOutcome = "timeout"   // none in time
)

func mirrorOutcomes() []MirrorOutcome {
	return []MirrorOutcome{MirrorSame, MirrorDifferent, MirrorNoise, MirrorDropped, MirrorFailed, MirrorTimeout}
}
