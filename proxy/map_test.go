package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/proxy/internal/config"
	"drover/proxy/internal/routing"
)

func TestBadMapIsRefusedAndTheOldOneServes(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	r := newRig(t, nil)
	writeFile(t, filepath.Join(r.config.Map.Dir, "map.yaml"),
		"version: 2\nbuckets: 128\ndefault: {mode: pinned, datacenter: cloud}\ndatacenters: [cloud, legacy]\n")
	r.waitAck(func(a bucketmap.Ack) bool {
		return a.Version == 1 && a.Refused == 2 && strings.Contains(a.Reason, "bucket count")
	})
	r.want(r.get(""), 200, "legacy")
}

func TestStartsFromTheLastGoodMapWhenTheStoreIsDown(t *testing.T) {
	t.Parallel()
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
			t.Parallel()
			r := newRig(t, nil)
			r.publish(moveTo(t, bucketOf("ann"), cloud))
			r.eventuallyKept(2)
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

func (r *rig) eventuallyKept(version bucketmap.Version) {
	r.t.Helper()
	r.eventually("the map is kept", func() bool {
		kept, err := routing.ReadCache(r.config.Map.Cache)
		return err == nil && kept != nil && kept.Version() == version
	})
}

func TestAStoreThatComesBackIsWatchedAgain(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	r := newRig(t, nil)
	first, err := os.ReadFile(filepath.Join(r.config.Map.Dir, "map.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.eventuallyKept(2)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.config.Map.Dir, "map.yaml"), string(first))
	r.start()
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version == 2 && a.Refused == 1 })
	r.want(r.get("ann"), 200, "cloud")
}

func TestWithoutAMapTheProxyIsNotReadyAndWaitsForOne(t *testing.T) {
	t.Parallel()
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

// Every application sees by which version a request was decided: none may come
// by a version that holds its bucket, and after it only the new home is asked.
// The bucket goes to and fro 14 times, and 30 times with DROVER_SOAK=1.
func TestNoRequestIsSentByAMapThatHoldsItsBucket(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.Passport.Sample = 0 })
	var mu sync.Mutex
	homes := map[string]bucketmap.Datacenter{"1": legacy} // by version; none: held
	for dc, a := range r.apps {
		a.handle(func(w http.ResponseWriter, req *http.Request) {
			version := req.Header.Get("Drover-Map-Version")
			mu.Lock()
			defer mu.Unlock()
			if home := homes[version]; home != dc {
				t.Errorf("%s got a request by version %s, whose home is %q", dc, version, home)
			}
			fmt.Fprint(w, dc)
		})
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if a := r.get("ann"); a.err != nil || a.status != 200 {
					t.Errorf("a request failed: %v", a)
					return
				}
			}
		})
	}
	version := bucketmap.Version(1)
	for i := range rounds(14, 30) {
		target := []bucketmap.Datacenter{cloud, legacy}[i%2]
		mu.Lock()
		homes[fmt.Sprint(version+2)] = target
		mu.Unlock()
		r.publish(holdBucket(bucketOf("ann"), patience))
		version = r.publish(moveTo(t, bucketOf("ann"), target))
	}
	close(stop)
	clients.Wait()
}

func TestTheProxyTakesItsAcknowledgementBackWhenItEnds(t *testing.T) {
	t.Parallel()
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
