package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/proxy/internal/config"
	"drover/proxy/internal/restart"
)

// withList prepares a rig whose whitelist file, for cloud, holds a text.
func withList(t *testing.T, text string) (r *rig, list string) {
	t.Helper()
	list = filepath.Join(t.TempDir(), "list")
	writeFile(t, list, text)
	r = newRig(t, func(c *config.Config) { c.Whitelist = config.Whitelist{File: list, Datacenter: string(cloud)} })
	return r, list
}

func TestUsersOfTheFileGoToItsDatacenterAndTheMapsOwnEntryWins(t *testing.T) {
	t.Parallel()
	r, list := withList(t, "# employees\nann\nhex:626f62\n")
	r.want(r.get("ann"), 200, "cloud")
	r.want(r.get("bob"), 200, "cloud")
	r.want(r.get("eve"), 200, "legacy")
	if got := r.metric("drover_proxy_requests_total", `reason="whitelist"`); got != 2 {
		t.Errorf("%v requests went by the whitelist", got)
	}
	r.publish(func(d *bucketmap.Draft) { d.Whitelist["ann"] = legacy })
	r.want(r.get("ann"), 200, "legacy")
	r.want(r.get("bob"), 200, "cloud") // with the new map, too
	writeFile(t, list, "eve\n")
	r.eventually("the file is read again", func() bool { return r.get("eve").body == "cloud" })
	r.want(r.get("bob"), 200, "legacy")
	if got := r.metric("drover_proxy_map_version"); got != 2 {
		t.Errorf("version %v", got)
	}
	if kept := loaded(t, r.store); kept.WhitelistLen() != 1 {
		t.Errorf("the map has %d users", kept.WhitelistLen())
	}
}

func TestAWrongWhitelistFileLeavesTheUsersOfBefore(t *testing.T) {
	t.Parallel()
	r, list := withList(t, "ann\n")
	writeFile(t, list, "eve\nann \n")
	r.eventually("it is refused", func() bool { return r.metric("drover_proxy_whitelist_refused_total") == 1 })
	r.want(r.get("ann"), 200, "cloud")
	r.want(r.get("eve"), 200, "legacy")
	if log := r.log.String(); !strings.Contains(log, "whitelist file refused") || !strings.Contains(log, "line 2") {
		t.Errorf("the log says %s", log)
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is missed", func() bool { return r.metric("drover_proxy_whitelist_refused_total") == 2 })
	r.want(r.get("ann"), 200, "cloud")
	writeFile(t, list, "eve\n")
	r.eventually("it is read again", func() bool { return r.get("eve").body == "cloud" })
	if got := r.metric("drover_proxy_whitelist_users"); got != 1 {
		t.Errorf("%v users", got)
	}
}

func TestAWrongWhitelistFileKeepsNoProxyFromServing(t *testing.T) {
	t.Parallel()
	r, list := withList(t, "\x00\n")
	r.want(r.get("ann"), 200, "legacy")
	writeFile(t, list, "ann\n")
	r.eventually("it is read", func() bool { return r.get("ann").body == "cloud" })
}

func TestSIGHUPReadsTheWhitelistFileAnew(t *testing.T) {
	t.Parallel()
	r, _ := withList(t, "ann\n")
	before := r.metric("drover_proxy_whitelist_last_change_timestamp_seconds")
	r.signals <- syscall.SIGHUP
	r.eventually("it is read", func() bool {
		return r.metric("drover_proxy_whitelist_last_change_timestamp_seconds") > before
	})
	r.want(r.get("ann"), 200, "cloud")
}

func TestNoRequestFailsWhileTheWhitelistFileChanges(t *testing.T) {
	t.Parallel()
	r, list := withList(t, "ann\n")
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if a := r.get("ann"); a.err != nil || a.status != 200 || a.body != "cloud" {
					t.Errorf("got %v", a)
					return
				}
			}
		})
	}
	for i := range 5 {
		writeFile(t, list+".new", fmt.Sprintf("ann\nuser-%d\n", i))
		if err := os.Rename(list+".new", list); err != nil {
			t.Fatal(err)
		}
		r.eventually("it is read", func() bool { return r.get(fmt.Sprintf("user-%d", i)).body == "cloud" })
		r.publish(moveTo(t, bucketmap.BucketID(i), cloud))
	}
	close(stop)
	clients.Wait()
}

// configFile writes a configuration with these sections, and returns its path.
func configFile(t *testing.T, sections string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "proxy.yaml")
	writeFile(t, path, `listen: "127.0.0.1:0"
identity: [{header: X-User-Id}]
datacenters: {legacy: {upstreams: ["127.0.0.1:1"]}, cloud: {upstreams: ["127.0.0.1:2"]}}
`+sections)
	return path
}

func explained(t *testing.T, path string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	request := strings.NewReader("GET / HTTP/1.1\r\nHost: h\r\nX-User-Id: ann\r\n\r\n")
	err := explain(t.Context(), explainOptions{config: path, peer: "127.0.0.1", now: testNow}, request, &out, &out)
	return out.String(), err
}

func TestExplainTakesTheMapOfEachStoreAndTheWhitelistFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writeFile(t, at("list"), "ann\n")
	writeFile(t, at("bad"), "ann \n")
	writeFile(t, at("cache"), string(binary.Append(nil, aMap(t), nil)))
	server := startConsul(t)
	r := onConsul(t, server, nil, nil)
	fromConsul := fmt.Sprintf("map: {store: consul, consul: {address: %q, prefix: %q}}\n", server.Addr(), r.config.Map.Consul.Prefix)
	for sections, want := range map[string][]string{
		fromConsul: {"decision  legacy, by bucket", "map 1"},
		fromConsul + "whitelist: {file: " + at("list") + ", datacenter: cloud}":                                     {"decision  cloud, by whitelist"},
		"map: {store: push, cache: " + at("cache") + "}":                                                            {"by the last good map", "decision  legacy, by bucket"},
		"map: {dir: /nowhere, cache: " + at("cache") + "}\nwhitelist: {file: " + at("bad") + ", datacenter: cloud}": {"line 1", "decision  legacy, by bucket"},
		"map: {dir: /nowhere, cache: " + at("cache") + "}\nwhitelist: {file: /none, datacenter: cloud}":             {"decision  legacy, by bucket"},
	} {
		out, err := explained(t, configFile(t, sections))
		for _, text := range want {
			if err != nil || !strings.Contains(out, text) {
				t.Errorf("%s: %v, %q is not in %s", sections, err, text, out)
			}
		}
	}
	for _, sections := range []string{"map: {store: push}", "map: {store: push, cache: /none}", "map: {store: push, cache: " + at("bad") + "}"} {
		if out, err := explained(t, configFile(t, sections)); err == nil || !strings.Contains(err.Error(), "--map") {
			t.Errorf("%s: %v, %s", sections, err, out)
		}
	}
}

func TestCheckSaysWhatTheStoreHasAndWhatTheEdgeWouldDoWithIt(t *testing.T) {
	r := newRig(t, nil)
	v := r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.eventuallyKept(v)
	folder := fmt.Sprintf("map: {dir: %s, cache: %s}\n", r.config.Map.Dir, r.config.Map.Cache)
	damaged := filepath.Join(t.TempDir(), "damaged")
	writeFile(t, damaged, "\x89DRM\x01\x01")
	empty := t.TempDir()
	for sections, want := range map[string]string{
		folder: "the edge takes it",
		fmt.Sprintf("map: {dir: %s}\n", r.config.Map.Dir):                     "cannot start without the store",
		fmt.Sprintf("map: {dir: %s, cache: %s}\n", r.config.Map.Dir, damaged): "is written anew",
		"map: {dir: /nowhere/at/all}":                                         "the store cannot be read",
		"map: {dir: " + empty + "}":                                           "none has been published yet",
		"map: {store: consul, consul: {address: \"127.0.0.1:1\"}}":            "the store cannot be read",
		"map: {store: push}":                                                  "publishers bring it",
	} {
		out, err := execute(t, "check", configFile(t, sections))
		if err != nil || !strings.Contains(out, want) || !strings.HasSuffix(out, "ok\n") {
			t.Errorf("%s: %v, %q is not in %s", sections, err, want, out)
		}
	}
	if _, err := os.Stat("/nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Error("check has made the map's folder")
	}
	bad := t.TempDir()
	for text, want := range map[string]string{
		"version: [": "unreadable",
		"version: 9\nbuckets: 128\ndefault: {mode: pinned, datacenter: cloud}\ndatacenters: [cloud]\n": "(buckets)",
		"version: 1\nbuckets: 64\ndefault: {mode: pinned, datacenter: cloud}\ndatacenters: [cloud]\n":  "(version)",
		"version: 9\nbuckets: 64\ndefault: {mode: pinned, datacenter: cloud}\ndatacenters: [cloud]\n":  "(empty)",
	} {
		writeFile(t, filepath.Join(bad, "map.yaml"), text)
		out, err := execute(t, "check", configFile(t, fmt.Sprintf("map: {dir: %s, cache: %s}\n", bad, r.config.Map.Cache)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %s", text, err, out)
		}
	}
}

func TestAMapOfAnotherBodyTypeIsToldApartByItsFirstBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	next := draftOf(t, loaded(t, r.store), setHomes(t, bucketOf("ann"), bucketOf("ann"), "shard-cloud"))
	if status, body := r.put("application/x-www-form-urlencoded", binary.Append(nil, next, nil)); status != http.StatusOK {
		t.Errorf("got %d %s", status, body)
	}
	r.want(r.get("ann"), 200, "cloud")
}

// A process that takes over must not lose users that the one before has.
func TestAWrongWhitelistFileEndsAnUpgradeAndNotAStart(t *testing.T) {
	list := filepath.Join(t.TempDir(), "list")
	writeFile(t, list, "ann \n")
	path := configFile(t, "map: {dir: /nowhere}\nwhitelist: {file: "+list+", datacenter: cloud}\n")
	for generation, want := range map[int]bool{0: true, 1: false} {
		c, err := config.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := unserved(c)
		if err != nil {
			t.Fatal(err)
		}
		p.sockets = inherited{restart.None{}, generation}
		if err := p.startUsers(t.Context()); (err == nil) != want {
			t.Errorf("after %d processes: got %v", generation, err)
		}
	}
}

// inherited are the sockets of a process after others.
type inherited struct {
	restart.None
	generation int
}

func (i inherited) Generation() int { return i.generation }
