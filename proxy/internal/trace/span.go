package trace

import (
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	otel "go.opentelemetry.io/otel/trace"

	"drover/proxy/internal/passport"
)

// scope names who made the spans.
const scope = "drover/proxy"

// methodOther is the method of a request with one that HTTP does not define,
// so that names of spans come from a closed set.
const methodOther = "_OTHER"

// pathBytesMax bounds the path and the user agent in a span.
const pathBytesMax = 256

// spansOf makes the spans of one request: its own, and its states'. The SDK's
// stubs are what makes finished spans of times that were taken elsewhere; its
// own recorder would take the times again, under a lock.
func (t *Tracer) spansOf(f *finished, res *resource.Resource) []sdk.ReadOnlySpan {
	p, times := &f.passport, f.passport.Times()
	begun := f.end.Add(-times.Total)
	own := f.span.context(f.span.id, false)
	stub := tracetest.SpanStub{
		Name: name(p.Method), SpanContext: own, SpanKind: otel.SpanKindServer,
		StartTime: begun, EndTime: f.end, Attributes: attributes(p),
		Resource: res, InstrumentationScope: instrumentation.Scope{Name: scope},
	}
	if !f.span.Fresh() {
		stub.Parent = f.span.context(f.span.parent, true)
	}
	if failure := failure(p); failure != "" {
		stub.Status = sdk.Status{Code: codes.Error}
		stub.Attributes = append(stub.Attributes, attribute.String("error.type", failure))
	}
	spans := []sdk.ReadOnlySpan{stub.Snapshot()}
	if t.options.Stages {
		p.Visits(func(s passport.State, from, to time.Duration) bool {
			child := tracetest.SpanStub{
				Name: s.String(), SpanContext: f.span.context(t.newID(), false), Parent: own, SpanKind: otel.SpanKindInternal,
				StartTime: begun.Add(from), EndTime: begun.Add(to),
				Resource: res, InstrumentationScope: instrumentation.Scope{Name: scope},
			}
			spans = append(spans, child.Snapshot())
			return true
		})
	}
	return spans
}

func (s *Span) context(id [8]byte, remote bool) otel.SpanContext {
	return otel.NewSpanContext(otel.SpanContextConfig{
		TraceID: s.trace, SpanID: id, TraceFlags: otel.TraceFlags(s.flags), Remote: remote,
	})
}

// known says whether HTTP defines the method (RFC 9110, 9; RFC 5789).
func known(method string) bool {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH":
		return true
	default:
		return false
	}
}

func name(method string) string {
	if !known(method) {
		return "HTTP"
	}
	return method
}

// failure is a failed request's error.type, empty for a good one. A server's
// span has not failed because its client was told off.
func failure(p *passport.Passport) string {
	switch {
	case p.Status >= 500:
		return strconv.Itoa(p.Status)
	case p.End == passport.EndAnswered, p.End == passport.EndRefused:
		return ""
	default:
		return p.End
	}
}

func attributes(p *passport.Passport) []attribute.KeyValue {
	method, scheme := p.Method, "http"
	if !known(method) {
		method = methodOther
	}
	if p.Secure {
		scheme = "https"
	}
	all := []attribute.KeyValue{
		attribute.String("http.request.method", method),
		attribute.String("url.path", cut(p.Path)),
		attribute.String("url.scheme", scheme),
		attribute.Int64("http.request.body.size", p.BytesIn),
		attribute.Int64("http.response.body.size", p.BytesOut),
		attribute.String("drover.datacenter", string(p.Datacenter)),
		attribute.String("drover.reason", p.Reason),
		attribute.Int64("drover.map_version", int64(p.MapVersion)),
		attribute.Int("drover.attempts", p.Attempts),
		attribute.Int("drover.reroutes", p.Reroutes),
		attribute.String("drover.end", p.End),
		attribute.Float64("drover.own_ms", p.Times().Own.Seconds()*1000),
	}
	add := func(kv attribute.KeyValue, when bool) {
		if when {
			all = append(all, kv)
		}
	}
	add(attribute.String("http.request.method_original", p.Method), method == methodOther && p.Method != "")
	add(attribute.Int("http.response.status_code", p.Status), p.Status != 0)
	add(attribute.String("network.protocol.version", version(p.Protocol)), p.Protocol != "")
	add(attribute.String("network.peer.address", p.Peer.Addr().Unmap().String()), p.Peer.IsValid())
	add(attribute.Int("network.peer.port", int(p.Peer.Port())), p.Peer.IsValid())
	add(attribute.String("user_agent.original", cut(p.UserAgent)), p.UserAgent != nil)
	add(attribute.Int64("drover.bucket", int64(p.Bucket)), p.HasBucket)
	add(attribute.String("drover.upstream", p.Upstream), p.Upstream != "")
	return all
}

// cut returns text as a span may hold it: bounded, and UTF-8, which the
// encoder insists on.
func cut(text []byte) string {
	return strings.ToValidUTF8(string(text[:min(len(text), pathBytesMax)]), "\ufffd")
}

// version returns 1.1 of HTTP/1.1, and 2 of HTTP/2.0.
func version(protocol string) string {
	if protocol == "HTTP/2.0" {
		return "2"
	}
	return strings.TrimPrefix(protocol, "HTTP/")
}
