package worker_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/worker"
	"drover/tools/testservers"
)

var upstreams = map[bucketmap.Datacenter]string{"legacy": "https://legacy.example", "cloud": "https://cloud.example:8443/"}

func TestEveryProblemOfTheOptionsIsReportedAtOnce(t *testing.T) {
	s := halves(t, nil)
	_, err := worker.Build(s, worker.Options{
		Name: "Big Name", Listen: `x":1`, ReplayBuffer: 2 << 20, HoldMax: -1, Plan: "gold",
		Upstreams: map[bucketmap.Datacenter]string{"legacy": "https://legacy.example/base"},
		Failover:  map[bucketmap.Datacenter][]bucketmap.Datacenter{"cloud": {"cloud"}, "legacy": {"moon"}},
		Identity: []worker.Source{
			{}, {Header: "a", Cookie: "b"}, {Header: "a:b"}, {Cookie: "a;b"}, {Query: "J\u00f6rg"}, {Path: "a/{id}"}, {Path: "/a"},
			{Path: "/{id}/{id}"}, {Path: "/x{id}"}, {Path: "/a*b*/{id}"}, {Path: "/%41/{id}"}, {Path: "/a//{id}"}, {Header: strings.Repeat("h", 129)},
		},
	})
	if !errors.Is(err, worker.ErrOptions) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"name", "listen", "replay_buffer", "hold_max", "plan", "upstreams.legacy", "upstreams.cloud", "failover.cloud", "failover.legacy"} {
		if !strings.Contains(err.Error(), "\n"+want+": ") {
			t.Errorf("%s is not reported: %v", want, err)
		}
	}
	for i := range 13 {
		if !strings.Contains(err.Error(), fmt.Sprintf("identity[%d]", i)) {
			t.Errorf("identity[%d] is not reported: %v", i, err)
		}
	}
}

func TestUpstreamIsABaseURLAndNothingElse(t *testing.T) {
	s := halves(t, nil)
	for base, good := range map[string]bool{
		"https://a.example": true, "http://a.example:1/": true, "http://[::1]:80": true, "http://10.0.0.1": true,
		"": false, "a.example": false, "//a.example": false, "ftp://a.example": false, "https://a.example/x": false, "https://a.example?": false,
		"https://a.example#": false, "https://u@a.example": false, "https://": false, "https://:80": false, "https://a.example:0": false,
		"https://a.example:65536": false, "https://a.example:": false, "https://a b": false, "https://a.example//": false, "https://a.example\n": false,
	} {
		_, err := worker.Build(s, worker.Options{Upstreams: map[bucketmap.Datacenter]string{"legacy": base, "cloud": "http://x"}})
		if (err == nil) != good {
			t.Errorf("%q: %v", base, err)
		}
	}
}

// What compresses to more than the paid plan's 10 MiB takes long, and is tried
// with DROVER_SOAK=1.
func TestWorkerOverThePlansLimitIsRefusedWithBothSizes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	users := func(n int) *bucketmap.Snapshot {
		return halves(t, func(d *bucketmap.Draft) {
			for range n {
				id := make([]byte, 250) // that compress to about 205
				for i := range id {
					id[i] = byte('!' + r.IntN('~'-'!'+1))
				}
				d.Whitelist[string(id)] = "cloud"
			}
		})
	}
	s := users(16_500)
	dir := filepath.Join(t.TempDir(), "new")
	err := worker.Export(dir, s, worker.Options{Upstreams: upstreams})
	if !errors.Is(err, worker.ErrTooLarge) || !strings.Contains(err.Error(), "paid plan") || !strings.Contains(err.Error(), "3145728") {
		t.Errorf("%v", err)
	}
	b, err := worker.Build(s, worker.Options{Upstreams: upstreams, Plan: worker.PlanPaid})
	must(t, err)
	if b.Compressed <= 3<<20 || b.Compressed > b.Limit || b.Limit != 10<<20 || b.Bytes <= 16_500*250 {
		t.Errorf("%d bytes, %d compressed, limit %d", b.Bytes, b.Compressed, b.Limit)
	}
	if n := rounds(0, 53_000); n != 0 {
		err = worker.Export(dir, users(n), worker.Options{Upstreams: upstreams, Plan: worker.PlanPaid})
		if !errors.Is(err, worker.ErrTooLarge) || strings.Contains(err.Error(), "paid plan, or") {
			t.Errorf("%v", err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

func TestExportOfTheSameIsTheSameToTheByte(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	s, err := randomMap(t, r, 5000, 40, 5, 2000).Snapshot()
	must(t, err)
	o := worker.Options{Now: time.Unix(1_800_000_000, 0), Upstreams: map[bucketmap.Datacenter]string{}}
	for _, d := range s.Datacenters() {
		o.Upstreams[d] = "http://" + string(d)
	}
	first, err := worker.Build(s, o)
	must(t, err)
	dir := t.TempDir()
	for range 2 {
		must(t, worker.Export(dir, s, o))
	}
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) != len(first.Files) {
		t.Errorf("%d files of %d: %v", len(left), len(first.Files), left)
	}
	for _, f := range first.Files {
		if data, err := os.ReadFile(filepath.Join(dir, f.Name)); err != nil || !bytes.Equal(data, f.Data) {
			t.Errorf("%s: %d bytes, want %d: %v", f.Name, len(data), len(f.Data), err)
		}
	}
}

func TestWorkerDoesNotStartWithFilesThatDoNotFitTogether(t *testing.T) {
	s := halves(t, nil)
	for name, spoil := range map[string]func(data []byte) []byte{
		"not of one export":  func(data []byte) []byte { data[8]++; return data },
		"is not whole":       func(data []byte) []byte { return append(data, 0) },
		"is not a map":       func(data []byte) []byte { return append([]byte("x"), data...) },
		"offset or length":   func(data []byte) []byte { return data[:len(data)-8] },
		"is not a map: expo": func([]byte) []byte { return nil },
	} {
		dir := t.TempDir()
		must(t, worker.Export(dir, s, worker.Options{Upstreams: upstreams}))
		path := filepath.Join(dir, "map.bin")
		data, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, spoil(slices.Clone(data)), 0o600))
		if err := testservers.WorkerdRefuses(t, dir); err == nil || !strings.Contains(err.Error(), name) && name != "offset or length" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
