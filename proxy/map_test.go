package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
)

func TestBadMapIsRefusedAndTheOldOneServes(t *testing.T) {
	r := newRig(t, nil)
	path := filepath.Join(r.config.Map.Dir, "map.yaml")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, "version: 2\nbuckets: zebra\n")
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version == 1 && a.Reason != "" })
	r.want(r.get("ann"), 200, "legacy")
	if got := r.metric("drover_proxy_map_refused_total"); got < 1 {
		t.Errorf("refused %v", got)
	}
	writeFile(t, path, string(good))
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version == 1 && a.Reason == "" })
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(r.get("ann"), 200, "cloud")
}

func TestAMapThatSendsUsersWhereThereAreNoUpstreamsIsRefused(t *testing.T) {
	r := newRig(t, nil)
	// Named and not used: no problem.
	r.publish(func(d *bucketmap.Draft) { d.Datacenters = append(d.Datacenters, "mars") })
	v := r.publishOnly(func(d *bucketmap.Draft) { d.Whitelist["emp"] = "mars" })
	r.waitAck(func(a bucketmap.Ack) bool {
		return a.Version == v-1 && a.Refused == v && strings.Contains(a.Reason, `"mars"`) && strings.Contains(a.Reason, "datacenters.mars")
	})
	r.want(r.get("emp"), 200, "legacy")
	var status struct {
		Version uint64
		Refused struct{ Version uint64 } `json:"last_refusal"`
	}
	if err := json.Unmarshal([]byte(r.adminGet("/map")), &status); err != nil || status.Version != uint64(v-1) || status.Refused.Version != uint64(v) {
		t.Errorf("got %+v, %v", status, err)
	}
	r.publish(func(d *bucketmap.Draft) { delete(d.Whitelist, "emp") })
	if got := r.adminGet("/map"); strings.Contains(got, "last_refusal") {
		t.Errorf("the refusal is still shown: %s", got)
	}
}

func TestAMapWithAnotherBucketCountIsRefused(t *testing.T) {
	r := newRig(t, nil)
	writeFile(t, filepath.Join(r.config.Map.Dir, "map.yaml"),
		"version: 2\nbuckets: 128\ndefault: {mode: pinned, datacenter: cloud}\ndatacenters: [cloud, legacy]\n")
	r.waitAck(func(a bucketmap.Ack) bool {
		return a.Version == 1 && a.Refused == 2 && strings.Contains(a.Reason, "bucket count")
	})
	r.want(r.get(""), 200, "legacy")
}

func TestStartsFromTheLastGoodMapWhenTheStoreIsDown(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"gone": func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			writeFile(t, dir, "a file where the folder was")
		},
		"bad map": func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "map.yaml"), "version: [") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.publish(moveTo(t, bucketOf("ann"), cloud))
			r.eventually("the map is kept", func() bool {
				text, err := os.ReadFile(r.config.Map.Cache)
				return err == nil && strings.Contains(string(text), "version: 2")
			})
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			damage(t, r.config.Map.Dir)
			r.start()
			r.want(r.get("ann"), 200, "cloud")
			if got := r.metric("drover_proxy_map_version"); got != 2 {
				t.Errorf("version %v", got)
			}
		})
	}
}

func TestAStoreThatComesBackIsWatchedAgain(t *testing.T) {
	r := newRig(t, nil)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	dir := r.config.Map.Dir
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "not a folder")
	r.start()
	r.want(r.get("ann"), 200, "legacy")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(r.get("ann"), 200, "cloud")
}

func TestAStoreThatIsOlderThanTheKeptMapIsRefused(t *testing.T) {
	r := newRig(t, nil)
	first, err := os.ReadFile(filepath.Join(r.config.Map.Dir, "map.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.eventually("the map is kept", func() bool {
		text, err := os.ReadFile(r.config.Map.Cache)
		return err == nil && strings.Contains(string(text), "version: 2")
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.config.Map.Dir, "map.yaml"), string(first))
	r.start()
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version == 2 && a.Refused == 1 })
	r.want(r.get("ann"), 200, "cloud")
}

func TestWithoutAMapTheProxyIsNotReadyAndWaitsForOne(t *testing.T) {
	r := prepareRig(t, nil)
	r.start()
	got := r.get("ann")
	if got.status != 503 || !strings.Contains(got.body, "no map") || got.header.Get("Retry-After") == "" {
		t.Fatalf("got %v", got)
	}
	if body := r.adminGet("/readyz"); !strings.Contains(body, "no map") {
		t.Errorf("ready: %s", body)
	}
	r.publishFirst()
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version == 1 })
	r.want(r.get("ann"), 200, "legacy")
	if body := r.adminGet("/readyz"); body != "ready\n" {
		t.Errorf("ready: %s", body)
	}
}

// A request decided before the hold and not yet sent must not slip out to the
// old home after the acknowledgement.
func TestAnAcknowledgedHoldLetsNothingThrough(t *testing.T) {
	r := newRig(t, nil)
	r.http.Timeout = 3 * patience
	stop := make(chan struct{})
	results := make(chan answer, 10_000)
	const clients = 8
	running := make(chan struct{}, clients)
	for range clients {
		go func() {
			defer func() { running <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				case results <- r.get("ann"):
				}
			}
		}()
	}
	home := legacy
	for range 20 {
		target := cloud
		if home == cloud {
			target = legacy
		}
		r.publish(holdBucket(bucketOf("ann"), patience))
		// What was sent before the acknowledgement may still arrive; what
		// arrives after a while was sent after it.
		settled := int64(-1)
		r.eventually("the old home is quiet", func() bool {
			n := r.apps[home].served.Load()
			quiet := n == settled
			settled = n
			time.Sleep(5 * time.Millisecond)
			return quiet
		})
		before := r.apps[home].served.Load()
		r.publish(moveTo(t, bucketOf("ann"), target))
		if after := r.apps[home].served.Load(); after != before {
			t.Errorf("%d requests reached the old home after the acknowledged hold", after-before)
		}
		home = target
	}
	close(stop)
	for range clients {
		<-running
	}
	close(results)
	for a := range results {
		if a.err != nil || a.status != 200 {
			t.Fatalf("a request failed: %v", a)
		}
	}
}

func TestTheProxyTakesItsAcknowledgementBackWhenItEnds(t *testing.T) {
	r := newRig(t, nil)
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version == 1 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	store, err := file.Open(r.config.Map.Dir, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // a test's
	acks, err := store.Acks(t.Context())
	if err != nil || len(acks) != 0 {
		t.Errorf("got %v, %v", acks, err)
	}
}
