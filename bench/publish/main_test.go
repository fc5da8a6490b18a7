package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/bench/internal/times"
	"drover/bucketmap"
	"drover/internal/pause"
)

// TestMain is main where the bench starts itself as a helper.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{publisherName, loadName, originsName}, os.Args[1]) {
		main()
		return
	}
	m.Run()
}

func TestAFewProxiesHaveAPublishedMapAndItsFiguresAreCounted(t *testing.T) {
	f := fanout{proxies: 5, publications: 3, moved: 100, buckets: 1 << 14, spread: true}
	var out bytes.Buffer
	if err := f.run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"5 proxies began", "(15)", "publish to all acknowledged", "(3)", "Consul"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestVersionsArePublishedUnderLoadAndNoRequestFails(t *testing.T) {
	v := versions{rounds: 1, count: 6, rate: 200, buckets: 1024, every: 20 * time.Millisecond, stores: []string{"file", "consul"}}
	var out bytes.Buffer
	if err := v.run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"file: 6 versions", "consul: 6 versions", "none failed", "p99, to the proxy: ×"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestALoadReportsWrongAnswersAndCountsFromWhenARequestWasDue(t *testing.T) {
	stall := make(chan struct{})
	time.AfterFunc(300*time.Millisecond, func() { close(stall) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-stall
		_, _ = w.Write([]byte(legacy)) // the client says it
	}))
	defer server.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: workersMax}
	defer transport.CloseIdleConnections()
	l := &load{Address: server.Listener.Addr().String(), Rate: 1000, users: []user{{"ann", legacy}}, client: &http.Client{Transport: transport}}
	end := l.begin(t.Context())
	if err := pause.For(t.Context(), 400*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	all, err := end()
	if err != nil {
		t.Fatal(err)
	}
	// Only 64 were sent before the stall was over; those due meanwhile waited too.
	if got := all.Median(); got < 50*time.Millisecond {
		t.Errorf("half of the requests took up to %s, though most were due while nothing was answered", got)
	}
	l.users = []user{{"ann", cloud}}
	end = l.begin(t.Context())
	if err := pause.For(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := end(); err == nil || !strings.Contains(err.Error(), "want cloud") {
		t.Errorf("a wrong answer gives %v", err)
	}
}

func TestTheGateFailsAboveItsBound(t *testing.T) {
	f := fanout{gate: true}
	if err := f.judge(result{active: times.Times{activeMax}}); err != nil {
		t.Error(err)
	}
	if err := f.judge(result{active: times.Times{activeMax + 1}}); !errors.Is(err, errGate) {
		t.Errorf("got %v", err)
	}
}

func TestAPublicationMovesItsBucketsAndIsLetThrough(t *testing.T) {
	first, err := firstMap(4096)
	if err != nil {
		t.Fatal(err)
	}
	for _, spread := range []bool{false, true} {
		next, err := nextMap(first, 100, spread, rand.New(rand.NewPCG(1, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if err := (bucketmap.Guard{Reader: true, MaxChange: 1e-9}).Check(first, next); err != nil {
			t.Errorf("what moves is not declared: %v", err)
		}
		changed := uint32(0)
		for _, c := range bucketmap.Diff(first, next).Epochs {
			changed += uint32(c.Last-c.First) + 1
		}
		if changed < 95 || changed > 100 {
			t.Errorf("%d buckets moved", changed)
		}
	}
}
