package trace

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"drover/proxy/internal/passport"
)

// counter counts what is dropped.
type counter struct {
	mu sync.Mutex
	n  float64
}

func (c *counter) Add(n float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

func (c *counter) value() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// received is what a collector got.
type received struct {
	path, contentType, token string
	request                  collector.ExportTraceServiceRequest
}

// collect is a collector on loopback that answers with the statuses, one
// after another, and 200 after the last.
func collect(t *testing.T, statuses ...int) (string, <-chan *received) {
	t.Helper()
	got := make(chan *received, 64)
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		status := http.StatusOK
		if len(statuses) != 0 {
			status, statuses = statuses[0], statuses[1:]
		}
		mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err == nil && r.Header.Get("Content-Encoding") == "gzip" {
			var z *gzip.Reader
			if z, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
				body, err = io.ReadAll(z)
			}
		}
		one := &received{path: r.URL.Path, contentType: r.Header.Get("Content-Type"), token: r.Header.Get("X-Token")}
		if err == nil {
			err = proto.Unmarshal(body, &one.request)
		}
		if err != nil {
			t.Errorf("the collector cannot read the export: %v", err)
		}
		w.WriteHeader(status)
		if status == http.StatusOK {
			got <- one
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

// request is one that ends now, with a passport as the edge leaves it.
func request(tr *Tracer, incoming string, change func(*passport.Passport)) {
	office := passport.NewOffice(passport.Options{})
	var p passport.Passport
	var s Span
	office.Begin(&p)
	tr.Begin([]byte(incoming), &s)
	p.Method, p.Path, p.Protocol, p.Secure = "POST", []byte("/1/user/-/steps"), "HTTP/1.1", true
	p.Peer = netip.MustParseAddrPort("[::ffff:192.0.2.7]:4711")
	p.Datacenter, p.Reason, p.Bucket, p.HasBucket, p.Upstream = "cloud", "bucket", 17, true, "10.2.0.11:8000"
	p.Status, p.End, p.BytesIn, p.BytesOut = 200, passport.EndAnswered, 12, 345
	for _, state := range []passport.State{passport.Deciding, passport.Connecting, passport.Sending, passport.Waiting, passport.Responding} {
		p.Stamp(state)
	}
	if change != nil {
		change(&p)
	}
	tr.End(&s, &p)
	clear(p.Path) // the buffer is the next request's
	office.End(&p)
}

// running runs a tracer; the function that it returns ends it.
func running(t *testing.T, tr *Tracer) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func attributesOf(all []*common.KeyValue) map[string]any {
	m := map[string]any{}
	for _, kv := range all {
		switch v := kv.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			m[kv.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			m[kv.GetKey()] = v.IntValue
		case *common.AnyValue_DoubleValue:
			m[kv.GetKey()] = v.DoubleValue
		}
	}
	return m
}

func TestASampledRequestsSpanReachesTheCollector(t *testing.T) {
	url, got := collect(t)
	tr := tracer(t, Options{Endpoint: url, Service: "drover-proxy", Instance: "edge-1", Stages: true, Headers: map[string]string{"X-Token": "secret"}})
	stop := running(t, tr)
	request(tr, sampledParent, nil)
	request(tr, quietParent, nil)
	stop()
	one := <-got
	if one.path != "/v1/traces" || one.contentType != "application/x-protobuf" || one.token != "secret" {
		t.Errorf("got %s, %s, %s", one.path, one.contentType, one.token)
	}
	resource := one.request.GetResourceSpans()[0]
	if a := attributesOf(resource.GetResource().GetAttributes()); a["service.name"] != "drover-proxy" || a["service.instance.id"] != "edge-1" {
		t.Errorf("resource %v", a)
	}
	all := resource.GetScopeSpans()[0].GetSpans()
	if len(all) != 1+6 {
		t.Fatalf("%d spans, want the request's and its six states'", len(all))
	}
	span := all[0]
	if hex.EncodeToString(span.GetTraceId()) != traceText || hex.EncodeToString(span.GetParentSpanId()) != "00f067aa0ba902b7" ||
		span.GetName() != "POST" || span.GetKind() != spans.Span_SPAN_KIND_SERVER || span.GetStatus().GetCode() != spans.Status_STATUS_CODE_UNSET {
		t.Errorf("got %v", span)
	}
	a := attributesOf(span.GetAttributes())
	for key, want := range map[string]any{
		"http.request.method": "POST", "url.path": "/1/user/-/steps", "url.scheme": "https", "http.response.status_code": int64(200),
		"network.protocol.version": "1.1", "network.peer.address": "192.0.2.7", "network.peer.port": int64(4711),
		"http.request.body.size": int64(12), "http.response.body.size": int64(345),
		"drover.bucket": int64(17), "drover.datacenter": "cloud", "drover.reason": "bucket", "drover.upstream": "10.2.0.11:8000",
		"drover.end": "answered", "error.type": nil,
	} {
		if a[key] != want {
			t.Errorf("%s: got %v, want %v", key, a[key], want)
		}
	}
	for i, state := range []string{"identifying", "deciding", "connecting", "sending", "waiting", "responding"} {
		child := all[1+i]
		if child.GetName() != state || !bytes.Equal(child.GetParentSpanId(), span.GetSpanId()) ||
			child.GetStartTimeUnixNano() < span.GetStartTimeUnixNano() || child.GetEndTimeUnixNano() > span.GetEndTimeUnixNano() {
			t.Errorf("%s: got %v", state, child)
		}
	}
}

func TestAFailedRequestsSpanIsAnError(t *testing.T) {
	url, got := collect(t)
	tr := tracer(t, Options{Endpoint: url})
	stop := running(t, tr)
	request(tr, sampledParent, func(p *passport.Passport) { p.Status, p.End, p.Method = 502, passport.EndFailed, "BREW" })
	request(tr, sampledParent, func(p *passport.Passport) { p.Status, p.End = 0, passport.EndClientGone })
	request(tr, sampledParent, func(p *passport.Passport) { p.Status, p.End = 400, passport.EndRefused })
	stop()
	all := (<-got).request.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()
	for i, want := range []struct {
		name, failure string
		code          spans.Status_StatusCode
	}{{"HTTP", "502", spans.Status_STATUS_CODE_ERROR}, {"POST", "client_gone", spans.Status_STATUS_CODE_ERROR}, {"POST", "", spans.Status_STATUS_CODE_UNSET}} {
		failure, _ := attributesOf(all[i].GetAttributes())["error.type"].(string)
		if all[i].GetName() != want.name || failure != want.failure || all[i].GetStatus().GetCode() != want.code {
			t.Errorf("got %v, want %v", all[i], want)
		}
	}
	if a := attributesOf(all[0].GetAttributes()); a["http.request.method"] != methodOther || a["http.request.method_original"] != "BREW" {
		t.Errorf("got %v", a)
	}
}

func TestABusyCollectorIsAskedAgain(t *testing.T) {
	url, got := collect(t, http.StatusServiceUnavailable)
	dropped := &counter{}
	tr := tracer(t, Options{Endpoint: url, Wait: time.Millisecond, Dropped: dropped})
	stop := running(t, tr)
	request(tr, sampledParent, nil)
	<-got
	stop()
	if dropped.value() != 0 {
		t.Errorf("%v dropped", dropped.value())
	}
}

func TestWhatTheCollectorRefusesIsCounted(t *testing.T) {
	url, _ := collect(t, http.StatusBadRequest)
	dropped := &counter{}
	tr := tracer(t, Options{Endpoint: url, Dropped: dropped})
	stop := running(t, tr)
	request(tr, sampledParent, nil)
	stop()
	if dropped.value() != 1 {
		t.Errorf("%v dropped, want 1", dropped.value())
	}
}

func TestAFullQueueDropsAndNeverWaits(t *testing.T) {
	dropped := &counter{}
	tr := tracer(t, Options{Dropped: dropped}) // and nobody runs it
	for range queueMax + 3 {
		request(tr, sampledParent, nil)
	}
	if dropped.value() != 3 {
		t.Errorf("%v dropped, want 3", dropped.value())
	}
}

func TestEverySpanIsExportedOnceByManyAtATime(t *testing.T) {
	url, got := collect(t)
	tr := tracer(t, Options{Endpoint: url, Wait: time.Millisecond, Random: nil})
	tr.options.Random = func() uint64 { return 7 }
	stop := running(t, tr)
	var group sync.WaitGroup
	const each = 200
	for range 4 {
		group.Go(func() {
			for range each {
				request(tr, sampledParent, nil)
			}
		})
	}
	group.Wait()
	stop()
	total := 0
	for total < 4*each {
		total += len((<-got).request.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans())
	}
	if total != 4*each {
		t.Errorf("%d spans", total)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
