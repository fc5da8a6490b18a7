package edge

import (
	"bytes"
	"strconv"

	"drover/bucketmap"
	"drover/proxy/internal/http1"
)

// The headers that the edge adds, for the application and, with
// expose_headers, for the client.
const (
	headerUser       = "Drover-User"
	headerBucket     = "Drover-Bucket"
	headerDatacenter = "Drover-Datacenter"
	headerRoute      = "Drover-Route"
	headerMapVersion = "Drover-Map-Version"
)

// forwarded is what a trusted peer says of who was before it.
type forwarded struct {
	chain, via, rfc []byte // lists, in the order of the lines
	proto, host     []byte
}

// buildBase builds the head that goes upstream, but for what depends on the
// decision: the lines as they came, in their order, less those of the
// connection and those that are the edge's to say. Lines that follow one
// another are copied as one.
func (r *request) buildBase() {
	h := r.head
	b := append(r.base[:0], h.Method...)
	b = append(b, ' ')
	b = append(b, h.Path...)
	b = append(b, " HTTP/1.1\r\n"...)
	absolute := len(h.Path) != len(h.Target) // its authority is the host
	if absolute {
		b = appendLine(b, "Host", h.Host)
	}
	var before forwarded
	from, to := 0, 0 // of the run of lines to copy
	for i, l := range h.Lines {
		if !r.passes(i, l.Kind, absolute, &before) {
			continue
		}
		if l.Start != to {
			b = append(b, h.Head[from:to]...)
			from = l.Start
		}
		to = l.End
	}
	b = append(b, h.Head[from:to]...)
	if len(h.Host) == 0 { // HTTP/1.0 without one; 1.1 wants the line
		b = append(b, "Host:\r\n"...)
	}
	b = r.appendConnection(b)
	r.base = r.appendForwarded(b, &before)
}

// passes says whether a line goes upstream as it came. What is a list to which
// the edge adds is noted instead.
func (r *request) passes(i int, kind http1.Kind, absolute bool, before *forwarded) bool {
	h := r.head
	f := &h.Fields[i]
	switch kind {
	case http1.Other, http1.Authorization, http1.Cookie, http1.UserAgent, http1.Referer, http1.ContentType:
		if owns, exact := r.edge.options.Finder.Owns(f.Name); owns {
			return exact && r.peer.trusted // whatever Connection says
		}
		if isMirrorName(f.Name) {
			r.isMirror = r.peer.trusted
			return r.isMirror
		}
		if r.traced && r.span.Fresh() && http1.EqualFold(f.Name, "tracestate") {
			return false // it belongs to a trace that does not go on
		}
		return !h.Named(f.Name)
	case http1.Host:
		return !absolute
	case http1.ContentLength:
		return true
	case http1.Expect, http1.Trailer:
		return !h.Named(f.Name)
	case http1.Traceparent:
		return r.edge.options.Tracer == nil && !h.Named(f.Name)
	case http1.Via:
		before.via = appendList(before.via, f.Value)
		return false
	case http1.XForwardedFor:
		if r.peer.trusted && r.edge.options.Forwarding != ForwardRFC {
			before.chain = appendList(before.chain, f.Value)
			return false
		}
		return r.peer.trusted
	case http1.Forwarded:
		if r.peer.trusted && r.edge.options.Forwarding != ForwardX {
			before.rfc = appendList(before.rfc, f.Value)
			return false
		}
		return r.peer.trusted
	case http1.XForwardedProto:
		before.proto = f.Value
		return r.peer.trusted
	case http1.XForwardedHost:
		before.host = f.Value
		return r.peer.trusted
	case http1.XForwarded, http1.XRealIP:
		return r.peer.trusted
	case http1.TransferEncoding, http1.Connection, http1.KeepAlive, http1.ProxyConnection, http1.ProxyAuthorization,
		http1.TE, http1.Upgrade, http1.HTTP2Settings, http1.Drover:
		return false
	default:
		return false
	}
}

// upgrades says whether the request asks for another protocol that may pass.
// h2c may not: what came behind it would go unseen.
func (r *request) upgrades() bool {
	h := r.head
	return h.Protocol != nil && h.Length == 0 && !http1.HasToken(h.Protocol, "h2c")
}

// appendConnection appends what the edge's own connection needs.
func (r *request) appendConnection(b []byte) []byte {
	if r.head.Length < 0 {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	switch upgrade := r.upgrades(); {
	case upgrade:
		b = append(b, "Connection: Upgrade\r\n"...)
		b = appendLine(b, "Upgrade", r.head.Protocol)
	case r.head.Trailers:
		b = append(b, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	return b
}

// appendForwarded appends who the client is, behind what a trusted peer said.
func (r *request) appendForwarded(b []byte, before *forwarded) []byte {
	o := &r.edge.options
	host := r.head.Host
	if !r.peer.trusted {
		before.proto, before.host = nil, nil
	}
	if o.Forwarding != ForwardRFC {
		b = append(b, "X-Forwarded-For: "...)
		if len(before.chain) != 0 {
			b = append(append(b, before.chain...), ", "...)
		}
		b = append(append(b, r.peer.text...), "\r\n"...)
		if before.proto == nil {
			b = append(append(append(b, "X-Forwarded-Proto: "...), r.peer.scheme...), "\r\n"...)
		}
		if before.host == nil && len(host) != 0 {
			b = appendLine(b, "X-Forwarded-Host", host)
		}
	}
	if o.Forwarding != ForwardX {
		b = append(b, "Forwarded: "...)
		if len(before.rfc) != 0 {
			b = append(append(b, before.rfc...), ", "...)
		}
		b = r.appendForwardedNode(b)
	}
	if o.Via != "" || before.via != nil {
		b = append(b, "Via: "...)
		b = append(b, before.via...)
		if o.Via != "" {
			if before.via != nil {
				b = append(b, ", "...)
			}
			b = append(b, '1', '.', '0'+byte(r.head.Minor), ' ')
			b = append(b, o.Via...)
		}
		b = append(b, "\r\n"...)
	}
	if o.Tracer != nil {
		b = append(b, "traceparent: "...)
		b = append(r.span.Header(b), "\r\n"...)
	}
	return b
}

// appendForwardedNode appends this hop in the form of RFC 7239.
func (r *request) appendForwardedNode(b []byte) []byte {
	if bytes.IndexByte(r.peer.text, ':') >= 0 {
		b = append(append(append(b, `for="[`...), r.peer.text...), `]"`...)
	} else {
		b = append(append(b, "for="...), r.peer.text...)
	}
	b = append(append(b, ";proto="...), r.peer.scheme...)
	if len(r.head.Host) != 0 {
		b = append(append(append(b, `;host="`...), r.head.Host...), '"')
	}
	return append(b, "\r\n"...)
}

// appendHead is upstream.Request's Head.
func (r *request) appendHead(dst []byte, datacenter bucketmap.Datacenter) []byte {
	dst = append(dst, r.base...)
	if r.decision.HasBucket {
		if len(r.found.User) != 0 {
			dst = appendLine(dst, headerUser, r.found.User)
		}
		dst = appendNumber(dst, headerBucket, uint64(r.decision.Bucket))
	}
	dst = appendString(dst, headerDatacenter, string(datacenter))
	dst = appendString(dst, headerRoute, r.reason(datacenter))
	dst = appendNumber(dst, headerMapVersion, uint64(r.snapshot.Version()))
	return append(dst, '\r', '\n')
}

// passesTrailer is upstream.Request's Trailer: fields that would say something
// of framing, routing or who the user is never come from behind a body (RFC
// 9110, 6.5.1).
func (r *request) passesTrailer(f http1.Field, kind http1.Kind) bool {
	if kind != http1.Other {
		return false
	}
	owns, _ := r.edge.options.Finder.Owns(f.Name)
	return !owns && !r.head.Named(f.Name)
}

func appendList(list, value []byte) []byte {
	if list == nil {
		return value
	}
	joined := make([]byte, 0, len(list)+len(value)+2)
	joined = append(append(joined, list...), ", "...)
	return append(joined, value...)
}

func appendLine(dst []byte, name string, value []byte) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), "\r\n"...)
}

func appendString(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), "\r\n"...)
}

func appendNumber(dst []byte, name string, value uint64) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(strconv.AppendUint(dst, value, 10), "\r\n"...)
}
