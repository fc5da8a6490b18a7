package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func start(t *testing.T, options Options) (url string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Listen(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	return "http://" + s.Addr().String(), func() error {
		cancel()
		return <-done
	}
}

func get(t *testing.T, url, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestMetricsAndHandlersAreShown(t *testing.T) {
	defer goleak.VerifyNone(t)
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "drover_test_metric"}))
	url, stop := start(t, Options{Gatherer: registry, Handlers: map[string]http.Handler{
		"GET /map": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, map[string]int{"version": 7}) }),
	}})
	if code, body := get(t, url+"/metrics", ""); code != 200 || !strings.Contains(body, "drover_test_metric 0") {
		t.Errorf("got %d %s", code, body)
	}
	if code, body := get(t, url+"/map", ""); code != 200 || !strings.Contains(body, `"version": 7`) {
		t.Errorf("got %d %s", code, body)
	}
	if code, _ := get(t, url+"/nothing", ""); code != 404 {
		t.Errorf("got %d", code)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestTokenIsWantedOfAllButHealthAndReadiness(t *testing.T) {
	ready := errors.New("draining")
	url, stop := start(t, Options{Token: "s3cret", Gatherer: prometheus.NewRegistry(), Ready: func() error { return ready }})
	defer stop() //nolint:errcheck // seen by the other test
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/metrics", "", 401}, {"/metrics", "wrong", 401}, {"/metrics", "s3cret", 200},
		{"/healthz", "", 200}, {"/readyz", "", 503}, {"/nothing", "", 401},
	} {
		if code, body := get(t, url+c.path, c.token); code != c.want {
			t.Errorf("%s with token %q: got %d %s, want %d", c.path, c.token, code, body, c.want)
		}
	}
	ready = nil
	if code, _ := get(t, url+"/readyz", ""); code != 200 {
		t.Errorf("got %d", code)
	}
}

func TestAddressInUseIsAnError(t *testing.T) {
	url, stop := start(t, Options{})
	defer stop() //nolint:errcheck // seen by the other test
	if _, err := Listen(t.Context(), Options{Listen: strings.TrimPrefix(url, "http://")}); err == nil {
		t.Fatal("want an error")
	}
}
