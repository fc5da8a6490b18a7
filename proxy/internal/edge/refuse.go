package edge

import (
	"encoding/json"
	"errors"

	"github.com/valyala/fasthttp"

	"drover/proxy/internal/http1"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/upstream"
)

// refusal is an answer of the edge itself.
type refusal struct {
	status int
	end    string       // of the passport
	who    passport.Who // zero: by the end
	what   string
	remedy string
	retry  bool // Retry-After: 1
	close  bool
}

var noMap = refusal{
	status: fasthttp.StatusServiceUnavailable, end: passport.EndUnrouted, retry: true,
	what: "there is no map yet", remedy: "publish one, or see the proxy's /map for why it was refused",
}

var misdirected = refusal{
	status: fasthttp.StatusServiceUnavailable, end: passport.EndMisdirected, retry: true,
	what: "the user's data is being moved", remedy: "send the request again",
}

var tooLarge = refusal{
	status: fasthttp.StatusRequestEntityTooLarge, end: passport.EndRefused, who: passport.WhoProxy, close: true,
	what: "the request's body is too long", remedy: "send less, or raise limits.body",
}

// malformed is a request that is refused for its form.
func malformed(p *http1.Problem) refusal {
	f := refusal{status: p.Status, end: passport.EndRefused, what: p.What, remedy: "send one well-formed HTTP/1.1 request", close: true}
	if p.Status != fasthttp.StatusBadRequest && p.Status != fasthttp.StatusHTTPVersionNotSupported {
		f.remedy = "send less, or raise the proxy's limits"
	}
	return f
}

// refuse answers a request by the edge itself. When something of an answer has
// gone out already, the connection ends instead.
func (r *request) refuse(f refusal) {
	p := &r.passport
	if f.who != 0 {
		p.Fail(f.end, f.who)
	} else {
		p.End = f.end
	}
	p.Stamp(passport.Responding)
	p.Status = f.status
	r.client.refused(f, f.body())
}

// body is what a client gets to read.
func (f *refusal) body() []byte {
	body, err := json.Marshal(struct {
		Error  string `json:"error"`
		Remedy string `json:"remedy"`
	}{f.what, f.remedy})
	if err != nil {
		body = []byte("{}") // cannot be: two strings
	}
	return append(body, '\n')
}

// failed answers a request that no upstream answered.
func (r *request) failed(err error) {
	var failed *upstream.Error
	if !errors.As(err, &failed) {
		failed = &upstream.Error{Kind: upstream.KindSent, Datacenter: r.decision.Datacenter, Err: err}
	}
	r.passport.Reason = r.reason(r.passport.Datacenter)
	f := refusal{status: fasthttp.StatusBadGateway, end: passport.EndFailed, who: passport.WhoServer}
	switch failed.Kind {
	case upstream.KindConnect:
		f.what, f.remedy = "the application cannot be reached", "send the request again; it was not carried out"
		f.retry = true
	case upstream.KindLimit:
		f.status, f.retry, f.who = fasthttp.StatusServiceUnavailable, true, passport.WhoResource
		f.what, f.remedy = "the application is busy", "send the request again; it was not carried out"
	case upstream.KindTimeout:
		f.status, f.who = fasthttp.StatusGatewayTimeout, passport.WhoServerTimeout
		f.what, f.remedy = "the application did not answer in time", "look whether the request was carried out before sending it again"
	case upstream.KindSent, upstream.KindMalformed, upstream.KindTruncated:
		f.what, f.remedy = "the application broke off", "look whether the request was carried out before sending it again"
	case upstream.KindGone:
		r.gone()
		return
	case upstream.KindBody:
		f = bodyRefusal(failed.Err)
	}
	r.refuse(f)
}

func bodyRefusal(err error) refusal {
	switch {
	case errors.Is(err, upstream.ErrBodyTooLarge):
		return tooLarge
	case errors.Is(err, upstream.ErrBodyTimeout):
		return refusal{status: fasthttp.StatusRequestTimeout, end: passport.EndRefused, who: passport.WhoClientTimeout, close: true,
			what: "the request's body stopped coming", remedy: "send the request again"}
	case errors.Is(err, upstream.ErrBodyMalformed):
		return refusal{status: fasthttp.StatusBadRequest, end: passport.EndRefused, who: passport.WhoProxy, close: true,
			what: "the request's body is not well formed", remedy: "send one well-formed HTTP/1.1 request"}
	default:
		return refusal{status: fasthttp.StatusBadRequest, end: passport.EndClientGone, who: passport.WhoClient, close: true,
			what: "the request's body is broken off", remedy: "send the request again"}
	}
}
