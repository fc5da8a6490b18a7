package parity

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"drover/internal/parity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve is a proxy's admin server.
func serve(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.URL
}

func says(r parity.Report) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/mirror" || q.Header.Get("Authorization") != "Bearer t" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		json.NewEncoder(w).Encode(r) //nolint:errcheck // a test's
	}
}

func counted(began time.Time, same, different, failed uint64) parity.Report {
	c := parity.Counts{Same: same, Different: different, Failed: failed}
	r := parity.Report{Enabled: true, Began: began, At: time.Now(), Total: c, Classes: []parity.Class{{Class: "GET /x", Counts: c}}}
	r.Finish()
	return r
}

func collect(t *testing.T, bases ...string) Collected {
	t.Helper()
	c := Client{HTTP: &http.Client{Transport: &http.Transport{}}, Token: "t"}
	defer c.HTTP.CloseIdleConnections()
	return c.Collect(t.Context(), bases)
}

func TestAGatePassesOnlyWhatIsKnownToBeGood(t *testing.T) {
	began := time.Now()
	rare := counted(began, 1_000_000, 5, 0)
	rare.Classes = []parity.Class{
		{Class: "GET /common", Counts: parity.Counts{Same: 999_990}},
		{Class: "GET /broken", Counts: parity.Counts{Different: 5}},
	}
	for name, c := range map[string]struct {
		report parity.Report
		want   Level
		words  string
	}{
		"good":            {counted(began, 20_000, 2, 0), Passed, "2 of 20002"},
		"too many differ": {counted(began, 20_000, 100, 0), Failed, "100 of 20100"},
		"too few":         {counted(began, 100, 0, 0), Unknown, "too few"},
		"none":            {counted(began, 0, 0, 0), Unknown, "0 of 0"},
		"many failed":     {counted(began, 20_000, 0, 1000), Unknown, "1000 that could not be compared"},
		"a broken class":  {rare, Failed, "GET /broken"},
		"off":             {parity.Report{At: time.Now()}, Unknown, "mirrors nothing"},
		"says it is good": {parity.Report{Enabled: true, At: time.Now(), Differing: parity.Interval{Compared: 1e6}}, Unknown, "0 of 0"},
	} {
		got := Gate{DifferentMax: 0.001}.Judge(collect(t, serve(t, says(c.report))))
		if got.Level != c.want || !strings.Contains(got.Reason, c.words) {
			t.Errorf("%s: got %+v, want %s with %q", name, got, c.want, c.words)
		}
	}
}

func TestAProxyThatGivesNoReportIsMissingAndHolds(t *testing.T) {
	good := serve(t, says(counted(time.Now(), 20_000, 0, 0)))
	closed := httptest.NewServer(nil)
	closed.Close()
	for name, base := range map[string]string{
		"no such page": serve(t, http.NotFound),
		"no report":    serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }),
		"empty":        serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }),
		"a number":     serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "NaN") }),
		"an error":     serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }),
		"a token":      serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }),
		"dead":         closed.URL,
	} {
		c := collect(t, good, base)
		if len(c.Missing) != 1 || c.Missing[0].Proxy != base || c.Report.Total.Same != 20_000 {
			t.Errorf("%s: got %+v", name, c)
		}
		if got := (Gate{DifferentMax: 0.001}).Judge(c); got.Level != Unknown || !strings.Contains(got.Reason, "1 of 2 proxies") {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if got := (Gate{DifferentMax: 1}).Judge(collect(t)); got.Level != Unknown {
		t.Errorf("of nobody: got %+v", got)
	}
}

func TestOnlyWhatCameAfterAWaveBeganIsJudged(t *testing.T) {
	began := time.Now()
	report := counted(began, 20_000, 500, 0)
	base := serve(t, func(w http.ResponseWriter, r *http.Request) { says(report)(w, r) })
	before := collect(t, base)
	report = counted(began, 40_000, 500, 0)
	after := collect(t, base).After(before)
	if got := (Gate{DifferentMax: 0.001}).Judge(after); got.Level != Passed {
		t.Errorf("got %+v of %+v", got, after.Report.Total)
	}
	report = counted(began.Add(time.Second), 10, 0, 0) // it began anew
	if got := (Gate{DifferentMax: 0.001}).Judge(collect(t, base).After(before)); got.Level != Unknown {
		t.Errorf("got %+v", got)
	}
}
