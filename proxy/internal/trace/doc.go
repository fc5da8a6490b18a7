// Package trace makes a span of each sampled request and sends it to an
// OpenTelemetry collector by OTLP over HTTP.
//
// The protocol: (1) Begin with the request's traceparent, when its head is
// here; (2) Header is the traceparent that goes upstream instead; (3) End with
// the passport, after its last stamp and before Office.End; (4) Run exports in
// the background until its context ends, and then what is left.
//
// Without a Tracer the client's traceparent and tracestate pass through the
// edge as they came; every method of a nil Tracer does nothing. With one, the
// edge is a participant (W3C Trace Context): it goes on with a trace that came
// and does as its sampled flag says, and begins one, sampled by a ratio of the
// trace ids, where there came none. The span is the passport's: its times are
// the stamps, its attributes the OpenTelemetry conventions for HTTP servers
// (version 1.30 and later), and those that begin with drover.
//
//	parent.go   the traceparent header, read and written
//	tracer.go   begin and end
//	span.go     from a passport to a span
//	export.go   the queue and the collector
//
// A request never waits for the collector: the queue is bounded, and what it
// does not hold, or the collector does not take after bounded retries, is
// dropped and counted. A span holds no user id, no query and no header but the
// user agent, if the access log wants that.
//
// The exporter's library reads the OTEL_EXPORTER_OTLP_* environment variables,
// for certificates for instance; what Options say goes before them.
//
// A Tracer may be used by any number of goroutines; Run by one. A Span is used
// by its request's goroutine.
package trace
