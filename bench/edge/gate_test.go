package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"drover/bench/edge/internal/figures"
	"drover/bench/edge/internal/peer"
	"drover/bench/edge/internal/yard"
	"drover/bench/internal/proc"
)

// rounds are samples of all peers under all loads, in which the edge is good
// enough and not by much.
func rounds() []sample {
	var all []sample
	for _, load := range loadNames() {
		all = append(all,
			sample{Peer: peer.Drover, Load: load, CPU: 20, Peak: 30},
			sample{Peer: peer.Nginx, Load: load, CPU: 18.5, Peak: 20},
			sample{Peer: peer.Haproxy, Load: load, CPU: 20, Peak: 20},
			sample{Peer: peer.Nethttp, Load: load, CPU: 60, Peak: 20})
	}
	return all
}

func TestGateOpensAtItsBoundsAndClosesBehindThem(t *testing.T) {
	o := compareOptions{peers: peer.Names(), loads: loadNames()}
	if err := gateable(o); err != nil {
		t.Fatal(err)
	}
	if err := gate(o, rounds()); err != nil {
		t.Errorf("good enough, and yet: %v", err)
	}
	for _, test := range []struct {
		name   string
		change func(*sample)
		want   string
	}{
		{peer.Haproxy, func(s *sample) { s.CPU = 19.9 }, "with haproxy"},
		{peer.Nginx, func(s *sample) { s.CPU = 18.1 }, "with nginx"},
		{peer.Nethttp, func(s *sample) { s.CPU = 59.9 }, "with nethttp"},
		{peer.Drover, func(s *sample) { s.Peak = 30.1 }, "peak memory"},
	} {
		samples := rounds()
		for i := range samples {
			if samples[i].Peer == test.name && samples[i].Load == "fixed" {
				test.change(&samples[i])
			}
		}
		err := gate(o, samples)
		if !errors.Is(err, errGate) || !strings.Contains(err.Error(), "fixed: ") || !strings.Contains(err.Error(), test.want) ||
			strings.Contains(err.Error(), "saturated") {
			t.Errorf("%s: got %v", test.want, err)
		}
	}
}

func TestTableShowsMediansSpreadsAndRatios(t *testing.T) {
	var out bytes.Buffer
	b := &bench{rounds: 3, seconds: 5, label: "mine", out: &out}
	var samples []sample
	for i, cpu := range []float64{10, 30, 20} {
		// In the last round all was slower: the ratio is that round's own.
		samples = append(samples, sample{Peer: peer.Drover, Load: "fixed", Round: i, CPU: cpu, Others: float64(i)},
			sample{Peer: peer.Nginx, Load: "fixed", Round: i, CPU: []float64{10, 20, 20}[i]})
	}
	b.tables([]string{peer.Drover, peer.Nginx}, loads()[2:], samples)
	for _, want := range []string{"mine, fixed: 2000 requests/s", "20.0 (10.0–30.0)", "drover/nginx  × 1.00 (1.00–1.50)", "In 2 of 6 turns"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestFiguresAreForEachAnsweredRequest(t *testing.T) {
	s := newSample(yard.Result{
		Answered: 1000, Elapsed: 2 * time.Second,
		CPU:     proc.CPU{Total: 40 * time.Millisecond, User: 30 * time.Millisecond, System: 10 * time.Millisecond},
		Latency: yard.Latency{P50: time.Millisecond, P99: 2 * time.Millisecond},
	})
	if s.Rate != 500 || s.CPU != 40 || s.User != 30 || s.System != 10 || s.P50 != 1 || s.P99 != 2 {
		t.Errorf("%+v", s)
	}
	at := func(mallocs, requests float64) figures.Page {
		return figures.Page{"go_memstats_mallocs_total": mallocs, `drover_proxy_requests_total{datacenter="x"}`: requests}
	}
	// The page itself costs 100, and is read once between before and after.
	s.own([3]figures.Page{at(0, 0), at(100, 0), at(6200, 2000)}, time.Second)
	if s.Allocs == nil || *s.Allocs != 3 {
		t.Errorf("allocations: %v", *s.Allocs)
	}
	if s.OwnP50 != nil {
		t.Errorf("own time without a metric: %v", *s.OwnP50)
	}
}
