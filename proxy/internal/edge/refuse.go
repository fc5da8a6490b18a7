package edge

import (
	"encoding/json"
	"errors"

	"github.com/valyala/fasthttp"

	"drover/proxy/internal/passport"
	"drover/proxy/internal/upstream"
)

// refusal is an answer of the edge itself.
type refusal struct {
	status int
	end    string // of the passport
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

// refuse answers a request by the edge itself.
func (r *request) refuse(f refusal) {
	r.passport.Stamp(passport.Responding)
	r.passport.Status, r.passport.End = f.status, f.end
	r.ctx.Response.Reset()
	r.settleConnection()
	writeRefusal(r.ctx, f)
	r.expose()
}

func writeRefusal(ctx *fasthttp.RequestCtx, f refusal) {
	body, err := json.Marshal(struct {
		Error  string `json:"error"`
		Remedy string `json:"remedy"`
	}{f.what, f.remedy})
	if err != nil {
		body = []byte("{}") // cannot be: two strings
	}
	ctx.Response.SetStatusCode(f.status)
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.SetBodyRaw(append(body, '\n'))
	if f.retry {
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "1")
	}
	if f.close {
		ctx.SetConnectionClose()
	}
}

// failed answers a request that no upstream answered.
func (r *request) failed(err error) {
	var failed *upstream.Error
	if !errors.As(err, &failed) {
		failed = &upstream.Error{Kind: upstream.KindSent, Datacenter: r.decision.Datacenter, Err: err}
	}
	r.passport.Reason = r.reason(r.passport.Datacenter)
	f := refusal{status: fasthttp.StatusBadGateway, end: passport.EndFailed}
	switch failed.Kind {
	case upstream.KindConnect:
		f.what, f.remedy = "the application cannot be reached", "send the request again; it was not carried out"
		f.retry = true
	case upstream.KindLimit:
		f.status, f.retry = fasthttp.StatusServiceUnavailable, true
		f.what, f.remedy = "the application is busy", "send the request again; it was not carried out"
	case upstream.KindTimeout:
		f.status = fasthttp.StatusGatewayTimeout
		f.what, f.remedy = "the application did not answer in time", "look whether the request was carried out before sending it again"
	case upstream.KindSent, upstream.KindMalformed, upstream.KindTruncated:
		f.what, f.remedy = "the application broke off", "look whether the request was carried out before sending it again"
	case upstream.KindBody:
		f = bodyRefusal(failed.Err)
	}
	if r.edge.over.Err() != nil {
		f.end = passport.EndShuttingDown
	}
	r.refuse(f)
}

func bodyRefusal(err error) refusal {
	switch {
	case errors.Is(err, upstream.ErrBodyTooLarge):
		return *tooLarge()
	case errors.Is(err, upstream.ErrBodyTimeout):
		return refusal{status: fasthttp.StatusRequestTimeout, end: passport.EndRefused, close: true,
			what: "the request's body stopped coming", remedy: "send the request again"}
	default:
		f := *malformed("the request's body is broken off or not well formed")
		f.end = passport.EndClientGone
		return f
	}
}
