package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/consul"
	"drover/bucketmap/push"
	"drover/proxy/internal/config"
	"drover/tools/testservers" //nolint:depguard // a test's server; the program links none
)

// signer is a publisher's key, and its public half as a configuration has it.
func signer(t *testing.T) (ed25519.PrivateKey, string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private, base64.StdEncoding.EncodeToString(public)
}

// onConsul prepares a rig whose map is in Consul.
func onConsul(t *testing.T, server *testservers.Consul, sign ed25519.PrivateKey, change func(*config.Config)) *rig {
	t.Helper()
	prefix := "test/" + rand.Text()
	r := prepareRig(t, func(c *config.Config) {
		c.Map.Store, c.Map.Dir = config.StoreConsul, ""
		c.Map.Consul.Address, c.Map.Consul.Prefix = server.Addr(), prefix
		if change != nil {
			change(c)
		}
	})
	store, err := consul.Open(consul.Options{Address: server.Addr(), Prefix: prefix, Sign: sign})
	if err != nil {
		t.Fatal(err)
	}
	r.publishBy(store)
	r.publishFirst()
	r.start()
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version == 1 })
	return r
}

func startConsul(t *testing.T) *testservers.Consul {
	t.Helper()
	server, err := testservers.Start(t).Consul(t.Context(), "consul", testservers.ConsulOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

func TestTheProxyFollowsConsulAndOutlivesIt(t *testing.T) {
	t.Parallel()
	server := startConsul(t)
	sign, key := signer(t)
	r := onConsul(t, server, sign, func(c *config.Config) { c.Map.Keys = []string{key} })
	r.want(r.get("ann"), 200, "legacy")
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(r.get("ann"), 200, "cloud")
	acks, err := r.store.Acks(t.Context())
	if err != nil || len(acks) != 1 || acks[0].Digest != loaded(t, r.store).Digest() {
		t.Errorf("got %+v, %v", acks, err)
	}
	r.eventuallyKept(2)

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	r.want(r.get("ann"), 200, "cloud")
	r.eventually("the store is reported", func() bool { return r.metric("drover_proxy_map_store_errors_total") > 0 })
	if got := r.metric("drover_proxy_map_refused_total"); got != 0 {
		t.Errorf("%v maps were refused: a store that is down has none", got)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.want(r.get("ann"), 200, "cloud")

	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version == 2 })
	r.publish(moveTo(t, bucketOf("ann"), legacy))
	r.want(r.get("ann"), 200, "legacy")
}

func loaded(t *testing.T, store bucketmap.Publisher) *bucketmap.Snapshot {
	t.Helper()
	s, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// draftOf is the next version, and its odometer is that of from.
func draftOf(t *testing.T, from *bucketmap.Snapshot, edit func(*bucketmap.Draft)) *bucketmap.Snapshot {
	t.Helper()
	d := from.Edit()
	edit(d)
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func setHomes(t *testing.T, first, last bucketmap.BucketID, shard bucketmap.ShardName) func(*bucketmap.Draft) {
	return func(d *bucketmap.Draft) {
		if err := d.SetHome(first, last, shard); err != nil {
			t.Fatal(err)
		}
	}
}

// badMaps are the next versions of a map that no proxy takes, by rule.
func badMaps(t *testing.T, from *bucketmap.Snapshot) map[bucketmap.Rule]*bucketmap.Snapshot {
	t.Helper()
	return map[bucketmap.Rule]*bucketmap.Snapshot{
		bucketmap.RuleEmpty:      draftOf(t, from, setHomes(t, 0, buckets-1, "")),
		bucketmap.RuleMaxChange:  draftOf(t, from, setHomes(t, 0, buckets/2, "shard-cloud")), // and the odometer stands
		bucketmap.RuleDatacenter: draftOf(t, from, func(d *bucketmap.Draft) { d.Whitelist["emp"] = "mars"; d.Datacenters = append(d.Datacenters, "mars") }),
	}
}

func TestEachKindOfBadMapInConsulIsRefusedByItsRule(t *testing.T) {
	t.Parallel()
	server := startConsul(t)
	sign, key := signer(t)
	other, _ := signer(t)
	for rule := range badMaps(t, aMap(t)) {
		t.Run(string(rule), func(t *testing.T) {
			r := onConsul(t, server, sign, func(c *config.Config) { c.Map.Keys = []string{key} })
			bad := badMaps(t, loaded(t, r.store))[rule]
			if err := r.store.Publish(t.Context(), bad, bucketmap.Change{Who: "test"}); err != nil {
				t.Fatal(err)
			}
			r.refusedBy(rule, bad.Version())
			good := draftOf(t, bad, func(d *bucketmap.Draft) { // back to what it was
				setHomes(t, 0, buckets-1, "shard-legacy")(d)
				delete(d.Whitelist, "emp")
			})
			if err := r.store.Publish(t.Context(), good, bucketmap.Change{Who: "test"}); err != nil {
				t.Fatal(err)
			}
			r.waitAck(func(a bucketmap.Ack) bool { return a.Version == good.Version() && a.Reason == "" })
		})
	}
	for name, sign := range map[string]ed25519.PrivateKey{"unsigned": nil, "signed by a stranger": other} {
		t.Run(name, func(t *testing.T) {
			r := onConsul(t, server, sign, nil)
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			r.config.Map.Keys = []string{key}
			r.start() // by its last good map
			r.refusedBy(bucketmap.RuleSignature, 0)
		})
	}
	t.Run("spoilt", func(t *testing.T) {
		r := onConsul(t, server, sign, func(c *config.Config) { c.Map.Keys = []string{key} })
		client, err := api.NewClient(&api.Config{Address: server.Addr()})
		if err != nil {
			t.Fatal(err)
		}
		pointer := r.config.Map.Consul.Prefix + "/pointer"
		if _, err := client.KV().Put(&api.KVPair{Key: pointer, Value: []byte("nonsense")}, nil); err != nil {
			t.Fatal(err)
		}
		r.refusedBy(bucketmap.RuleUnreadable, 0)
	})
}

// refusedBy waits until a map is refused by a rule, and sees that the one before
// serves. Version 0 is any.
func (r *rig) refusedBy(rule bucketmap.Rule, version bucketmap.Version) {
	r.t.Helper()
	r.waitAck(func(a bucketmap.Ack) bool {
		return a.Version == 1 && a.Reason != "" && (version == 0 || a.Refused == version)
	})
	if got := r.metric("drover_proxy_map_refused_total", `rule="`+string(rule)+`"`); got < 1 {
		r.t.Errorf("%s: counted %v times: %s", rule, got, r.adminGet("/map"))
	}
	r.want(r.get("ann"), 200, "legacy")
}

// aMap is version 1 of the rigs' map.
func aMap(t *testing.T) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(buckets)
	d.Version, d.Default = 1, bucketmap.Default{Datacenter: legacy}
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		if err := d.PutShard(bucketmap.Shard{Name: bucketmap.ShardName("shard-" + dc), Datacenter: dc}); err != nil {
			t.Fatal(err)
		}
	}
	setHomes(t, 0, buckets-1, "shard-legacy")(d)
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// onPush prepares a rig that is pushed to.
func onPush(t *testing.T, o push.Options, change func(*config.Config)) *rig {
	t.Helper()
	r := prepareRig(t, func(c *config.Config) {
		c.Map.Store, c.Map.Dir = config.StorePush, ""
		if change != nil {
			change(c)
		}
	})
	o.Dir = filepath.Join(r.dir, "published")
	o.Discover = func(context.Context) ([]string, error) { return []string{"http://" + r.admin}, nil }
	r.start()
	store, err := push.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	r.publishBy(store)
	r.publishFirst()
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version == 1 })
	return r
}

func TestAProxyIsPushedToAndStartsByWhatItKept(t *testing.T) {
	t.Parallel()
	sign, key := signer(t)
	r := onPush(t, push.Options{Sign: sign, Token: "s3cret"}, func(c *config.Config) {
		c.Map.Keys, c.Map.Push.Token = []string{key}, "s3cret"
	})
	r.want(r.get("ann"), 200, "legacy")
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(r.get("ann"), 200, "cloud")
	if status, body := r.put("application/octet-stream", binary.Append(nil, loaded(t, r.store), sign)); status != http.StatusUnauthorized {
		t.Errorf("without the token: %d %s", status, body)
	}
	r.eventuallyKept(2)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start() // and nobody pushes
	r.want(r.get("ann"), 200, "cloud")
	r.publish(moveTo(t, bucketOf("ann"), legacy))
	r.want(r.get("ann"), 200, "legacy")
	if got := r.metric("drover_proxy_map_store_errors_total") + r.metric("drover_proxy_map_refused_total"); got != 0 {
		t.Errorf("%v errors: %s", got, r.adminGet("/map"))
	}
}

// put pushes a body of a type.
func (r *rig) put(contentType string, body []byte) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPut, "http://"+r.admin+"/map", bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	a := r.send(req)
	if a.err != nil {
		r.t.Fatal(a.err)
	}
	return a.status, a.body
}

func TestEachKindOfBadMapThatIsPushedIsRefusedByItsRule(t *testing.T) {
	t.Parallel()
	sign, key := signer(t)
	other, _ := signer(t)
	r := onPush(t, push.Options{Sign: sign}, func(c *config.Config) { c.Map.Keys = []string{key} })
	first := loaded(t, r.store)
	good := draftOf(t, first, func(d *bucketmap.Draft) { d.Version = 7 })
	damaged := binary.Append(nil, good, sign)
	damaged[len(damaged)/2] ^= 1
	wrong := bucketmap.NewDraft(2 * buckets)
	wrong.Version, wrong.Default = 9, bucketmap.Default{Datacenter: legacy}
	if err := errors.Join(wrong.PutShard(bucketmap.Shard{Name: "a", Datacenter: legacy}), wrong.SetHome(0, 0, "a")); err != nil {
		t.Fatal(err)
	}
	otherCount, err := wrong.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]struct {
		body   []byte
		rule   bucketmap.Rule
		status int
	}{
		"unsigned":      {binary.Append(nil, good, nil), bucketmap.RuleSignature, http.StatusForbidden},
		"of a stranger": {binary.Append(nil, good, other), bucketmap.RuleSignature, http.StatusForbidden},
		"damaged":       {damaged, bucketmap.RuleUnreadable, http.StatusBadRequest},
		"nothing":       {[]byte("\x89DRM"), bucketmap.RuleUnreadable, http.StatusBadRequest},
		"bucket count":  {binary.Append(nil, otherCount, sign), bucketmap.RuleBuckets, http.StatusConflict},
		"old":           {binary.Append(nil, draftOf(t, first, func(d *bucketmap.Draft) { d.Version = 1; d.Whitelist["x"] = cloud }), sign), bucketmap.RuleVersion, http.StatusConflict},
	}
	for rule, next := range badMaps(t, first) {
		bad[string(rule)] = struct {
			body   []byte
			rule   bucketmap.Rule
			status int
		}{binary.Append(nil, next, sign), rule, http.StatusConflict}
	}
	for name, c := range bad {
		label := `rule="` + string(c.rule) + `"`
		before := r.metric("drover_proxy_map_refused_total", label)
		status, body := r.put(push.ContentTypeMap, c.body)
		if status != c.status {
			t.Errorf("%s: got %d %s", name, status, body)
		}
		r.eventually(name+" is counted", func() bool { return r.metric("drover_proxy_map_refused_total", label) > before })
		r.want(r.get("ann"), 200, "legacy")
	}
	var ack struct {
		Version, Refused uint64
		Digest, Reason   string
	}
	r.eventually("a refusal is told", func() bool {
		return json.Unmarshal([]byte(r.adminGet("/map/ack")), &ack) == nil && ack.Reason != ""
	})
	if ack.Version != 1 || ack.Digest != first.Digest().String() {
		t.Errorf("got %+v", ack)
	}
	if status, body := r.put(push.ContentTypeMap, binary.Append(nil, good, sign)); status != http.StatusOK {
		t.Errorf("got %d %s", status, body)
	}
	r.eventually("the refusal is over", func() bool { return !strings.Contains(r.adminGet("/map/ack"), "reason") })
}

func TestAPushThatIsNoMapLeavesTheAcknowledgementOfAStoreAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	if status, body := r.putMap([]byte("nonsense")); status != http.StatusBadRequest {
		t.Errorf("got %d %s", status, body)
	}
	r.eventually("it is counted", func() bool { return r.metric("drover_proxy_map_refused_total", `rule="unreadable"`) == 1 })
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version == 2 && a.Reason == "" })
	if text := r.adminGet("/map/ack"); !strings.Contains(text, `"version":2`) {
		t.Errorf("GET /map/ack says %s", text)
	}
}
