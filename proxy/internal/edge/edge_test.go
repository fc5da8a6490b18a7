package edge

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"drover/bucketmap"
	"drover/proxy/internal/hold"
	"drover/proxy/internal/identity"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/passport"
)

// A table that is missing stands for any bug.
func TestABugCostsOneRequestAndIsReported(t *testing.T) {
	m := metrics.New(prometheus.NewRegistry(), []bucketmap.Datacenter{"legacy"})
	var log, passports bytes.Buffer
	e := New(Options{
		Finder: identity.New([]identity.Source{{Header: "X-User-Id"}}), Metrics: m, Holds: hold.New(hold.Options{Metrics: m}),
		Office:   passport.NewOffice(passport.Options{Recent: 1, Out: &passports, Recorder: m}),
		Log:      zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&log), zap.ErrorLevel)),
		Limits:   Limits{HeaderBytes: 4096, Body: 1000, Connections: 10},
		Timeouts: Timeouts{Header: time.Second, Idle: time.Second, Total: time.Second, KeepAlive: time.Second},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(e, l.(*net.TCPListener))
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	for range 2 {
		var resp fasthttp.Response
		req := fasthttp.AcquireRequest()
		req.SetRequestURI("http://" + l.Addr().String() + "/x?secret")
		req.Header.Set("X-User-Id", "secret")
		if err := fasthttp.DoTimeout(req, &resp, 10*time.Second); err != nil || resp.StatusCode() != 500 {
			t.Fatalf("got %d %s, %v", resp.StatusCode(), resp.Body(), err)
		}
	}
	if left := s.Drain(t.Context(), 0, 0, 10*time.Second); left != 0 {
		t.Errorf("%d requests never ended", left)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.Contains(passports.String(), `"end":"panicked"`) || !strings.Contains(log.String(), "route.go") {
		t.Errorf("passports %s, log %s", passports.String(), log.String())
	}
	if strings.Contains(log.String()+passports.String(), "secret") {
		t.Error("the log shows a header or the query")
	}
}

func TestDroverNamesAreKnownInEverySpelling(t *testing.T) {
	for name, want := range map[string]bool{
		"drover-user": true, "drover_user": true, "drover-": true, "drover_": true, "drover": false, "droveruser": false, "x-drover-user": false,
	} {
		if isDrover([]byte(name)) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
}
