package edge

import "drover/proxy/internal/http1"

// beginSpan begins the request's span in its client's trace, or in a new one.
func (r *request) beginSpan() {
	var incoming []byte
	for i, l := range r.head.Lines {
		if l.Kind == http1.Traceparent {
			incoming = r.head.Fields[i].Value
		}
	}
	r.edge.options.Tracer.Begin(incoming, &r.span)
	r.traced = true
}

// endSpan ends it, with the passport's times.
func (r *request) endSpan() {
	r.traced = false
	r.passport.Finish()
	r.edge.options.Tracer.End(&r.span, &r.passport)
}
