package pool

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
)

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	writePEM(t, empty, "NOTHING", nil)
	datacenters := map[bucketmap.Datacenter]Datacenter{
		"east":  {},
		"north": {Upstreams: []string{"10.0.0.1", "10.0.0.1:0", ":80", "a b:80", "app:http", "10.0.0.1:65536"}},
		"south": {Upstreams: []string{"10.0.0.1:80"}, Failover: []bucketmap.Datacenter{"nowhere", "south"}, SlowStart: -1},
		"up":    {Upstreams: []string{"10.0.0.1:80"}, Health: Health{Path: "healthz\r\n", HealthyAfter: -1, StatusMin: 300, StatusMax: 200}},
		"west":  {Upstreams: []string{"10.0.0.1:80"}, TLS: &TLS{CA: empty, Cert: "only.crt"}},
		"wrong": {Upstreams: []string{"10.0.0.1:80"}, TLS: &TLS{CA: "no/such.pem", Cert: "no/such.crt", Key: "no/such.key"}},
		"named": {Upstreams: []string{"app.test:80"}},
	}
	settings := Settings{KeepAlive: -1, Queue: 1, EjectAfter: 1, EjectMax: -1, RetryRatio: 1.5, RetryMin: -1}
	_, err := New(datacenters, settings, metrics.New(prometheus.NewRegistry(), nil), nil)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"connect is 0s", "keep_alive is -1ns", "connections_max is 0", "queue_timeout is 0s", "eject_first is 0s", "eject_max is -1ns", "retry_ratio is 1.5", "retry_min is -1",
		"east: it has no upstreams", `"10.0.0.1":`, `"10.0.0.1:0":`, `":80":`, `"a b:80":`, `"app:http":`, `"10.0.0.1:65536":`,
		"failover nowhere", "failover south", "slow_start", "health.interval", "healthy_after", "300 to 200", "begins with /",
		"empty.pem holds no certificate", "go together", "no/such.pem", "no/such.crt", "dns_refresh",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not reported: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestTheDatacentersAreListedSortedAndFoundByName(t *testing.T) {
	dc := Datacenter{Upstreams: []string{"10.0.0.1:80"}}
	east := dc
	east.Failover = []bucketmap.Datacenter{"west", "north"}
	r := newRig(t, map[bucketmap.Datacenter]Datacenter{"west": dc, "east": east, "north": dc}, testSettings())
	if got := r.Datacenters(); !slices.Equal(got, []bucketmap.Datacenter{"east", "north", "west"}) {
		t.Errorf("got %v", got)
	}
	if got := r.Of("east").Failover(); len(got) != 2 || got[0] != r.Of("west") || got[1] != r.Of("north") {
		t.Errorf("got %v", got)
	}
	if r.Of("nowhere") != nil || r.Of("west").Name() != "west" {
		t.Error("found by another name")
	}
	r.run(t)()
	if v := r.Of("west").Hosts(); len(v) != 1 || v[0].Up(time.Now()) {
		t.Error("a host is up after the end")
	}
}
