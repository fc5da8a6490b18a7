package edge

import (
	"bytes"
	"strconv"

	"github.com/valyala/fasthttp"

	"drover/bucketmap"
	"drover/proxy/internal/identity"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/upstream"
)

// The headers that the edge adds, for the application and, with
// expose_headers, for the client.
const (
	headerUser       = "Drover-User"
	headerBucket     = "Drover-Bucket"
	headerDatacenter = "Drover-Datacenter"
	headerRoute      = "Drover-Route"
	headerMapVersion = "Drover-Map-Version"

	headerPrefix = "drover-"
	via          = "drover"
)

// hopByHop are the headers of a connection, in lower case. Content-Length and
// Host are never taken for one, whatever Connection says.
var hopByHop = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "te": true, "trailer": true,
	"transfer-encoding": true, "upgrade": true, "proxy-authorization": true,
	"expect": true, // answered by the server already
}

// buildBase builds the head that goes upstream, but for what depends on the
// decision: the lines as they came, in their order, less those of the
// connection and those that are the edge's to say.
func (r *request) buildBase() {
	b := r.base[:0]
	b = append(b, r.ctx.Method()...)
	b = append(b, ' ')
	b = append(b, r.target...)
	b = append(b, " HTTP/1.1\r\n"...)
	var forwardedFor, forwardedProto, forwardedHost, viaBefore, host []byte
	if len(r.host) != 0 {
		host = r.host
		b = appendLine(b, "Host", host)
	}
	named := r.namedByConnection()
	var lower [64]byte
	for _, h := range r.headers {
		name := lowerName(lower[:0], h.Name)
		switch {
		case string(name) == "host":
			if host == nil {
				host = h.Value
				b = appendLine(b, "Host", host)
			}
			continue
		case string(name) == "content-length":
		case hopByHop[string(name)], named && r.connectionNames(name), isDrover(name):
			continue
		case string(name) == "via":
			viaBefore = appendList(viaBefore, h.Value)
			continue
		case bytes.HasPrefix(name, []byte("x-forwarded-")), string(name) == "forwarded", string(name) == "x-real-ip":
			if !r.trusted {
				continue
			}
			switch string(name) {
			case "x-forwarded-for":
				forwardedFor = appendList(forwardedFor, h.Value)
				continue
			case "x-forwarded-proto":
				forwardedProto = h.Value
			case "x-forwarded-host":
				forwardedHost = h.Value
			}
		default:
			if owns, exact := r.edge.options.Finder.Owns(h.Name); owns && (!exact || !r.trusted) {
				continue
			}
		}
		b = append(b, h.Name...)
		b = append(b, ':', ' ')
		b = append(b, h.Value...)
		b = append(b, '\r', '\n')
	}
	if host == nil { // HTTP/1.0 without one; 1.1 wants the line
		b = append(b, "Host:\r\n"...)
	}
	if r.length < 0 {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	b = append(b, "X-Forwarded-For: "...)
	if len(forwardedFor) != 0 {
		b = append(b, forwardedFor...)
		b = append(b, ',', ' ')
	}
	b = r.peer.AppendTo(b)
	b = append(b, '\r', '\n')
	if forwardedProto == nil {
		b = append(b, "X-Forwarded-Proto: http\r\n"...)
	}
	if forwardedHost == nil && len(host) != 0 {
		b = appendLine(b, "X-Forwarded-Host", host)
	}
	b = append(b, "Via: "...)
	if len(viaBefore) != 0 {
		b = append(b, viaBefore...)
		b = append(b, ',', ' ')
	}
	b = append(b, r.ctx.Request.Header.Protocol()[len("HTTP/"):]...)
	b = append(b, " "+via+"\r\n"...)
	r.base = b
}

// head is upstream.Request's Head.
func (r *request) head(dst []byte, datacenter bucketmap.Datacenter) []byte {
	dst = append(dst, r.base...)
	if r.decision.HasBucket {
		dst = appendLine(dst, headerUser, r.user)
		dst = appendNumber(dst, headerBucket, uint64(r.decision.Bucket))
	}
	dst = appendString(dst, headerDatacenter, string(datacenter))
	dst = appendString(dst, headerRoute, r.reason(datacenter))
	dst = appendNumber(dst, headerMapVersion, uint64(r.snapshot.Version()))
	return append(dst, '\r', '\n')
}

// reason returns why a request is sent to a datacenter.
func (r *request) reason(datacenter bucketmap.Datacenter) string {
	if datacenter != r.decision.Datacenter {
		return metrics.ReasonFailover
	}
	return r.decision.Reason.String()
}

// namedByConnection says whether some Connection header names a header.
func (r *request) namedByConnection() bool {
	for _, h := range r.headers {
		if identity.EqualFold(h.Name, fasthttp.HeaderConnection) &&
			!identity.EqualFold(h.Value, "keep-alive") && !identity.EqualFold(h.Value, "close") {
			return true
		}
	}
	return false
}

// connectionNames says whether a header, in lower case, belongs to the
// connection because Connection names it.
func (r *request) connectionNames(name []byte) bool {
	for _, h := range r.headers {
		if upstream.HasToken(h.Name, h.Value, "connection", string(name)) {
			return true
		}
	}
	return false
}

// isDrover says whether a name, in lower case, is one of the edge's own, in any
// spelling that some application server takes for it.
func isDrover(name []byte) bool {
	if len(name) < len(headerPrefix) {
		return false
	}
	sep := name[len(headerPrefix)-1]
	return string(name[:len(headerPrefix)-1]) == headerPrefix[:len(headerPrefix)-1] && (sep == '-' || sep == '_')
}

func lowerName(dst, name []byte) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
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
