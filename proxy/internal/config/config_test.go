package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"drover/internal/config"
)

func examples(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("../../../configs/proxy.*.yaml")
	if err != nil || len(paths) < 2 {
		t.Fatalf("got %v, %v", paths, err)
	}
	return paths
}

func TestEveryExampleLoads(t *testing.T) {
	for _, path := range examples(t) {
		if _, err := Load(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestTheFullExampleHasEveryKeyAndTheDefaults(t *testing.T) {
	c, err := Load("../../../configs/proxy.full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../../configs/proxy.full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var keys func(t reflect.Type) []string
	keys = func(typ reflect.Type) []string {
		switch typ.Kind() {
		case reflect.Map, reflect.Slice:
			return keys(typ.Elem())
		case reflect.Struct:
		default:
			return nil
		}
		var all []string
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			all = append(append(all, name), keys(typ.Field(i).Type)...)
		}
		return all
	}
	for _, key := range keys(reflect.TypeFor[Config]()) {
		if !strings.Contains(string(text), key+":") {
			t.Errorf("key %s is not in the example", key)
		}
	}
	want := Default()
	want.ID, want.Admin, want.Map, want.Identity, want.Datacenters, want.AccessLog = c.ID, c.Admin, c.Map, c.Identity, c.Datacenters, c.AccessLog
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("the example says\n%+v\nbut the defaults are\n%+v", *c, want)
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.yaml")
	text := `
listen: nowhere
id: "not a name"
map: {store: consul}
identity: [{header: X, cookie: y}, {header: "a b"}]
trusted_peers: [10.0.0.1]
datacenters: {a: {upstreams: [], failover: [b]}, "c d": {upstreams: [x]}}
timeouts: {connect: 0s}
limits: {header_bytes: 1KiB, connections: 0}
hold: {requests_max: 0, wait_max: 2h}
passport: {sample: 2, recent: 0}
drain: {timeout: 2h}
log: {level: loud, format: xml}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	var invalid *config.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, p := range invalid.Problems {
		got = append(got, p.Key)
	}
	for _, key := range []string{
		"listen", "id", "map.store", "map.dir", "identity[0]", "identity[1].header", "trusted_peers[0]",
		"datacenters.a.upstreams", "datacenters.a.failover[0]", "datacenters", "datacenters.c d.upstreams[0]",
		"timeouts.connect", "limits.header_bytes", "limits.connections", "hold.requests_max", "hold.wait_max",
		"passport.sample", "passport.recent", "drain.timeout", "log.level", "log.format",
	} {
		if !slices.Contains(got, key) {
			t.Errorf("no problem with %s in %v", key, err)
		}
	}
}

func TestTheDefaultIDIsAName(t *testing.T) {
	for _, listen := range []string{":8080", "127.0.0.1:0", "[::1]:80"} {
		if id := defaultID(listen); !validName(id) || !strings.HasSuffix(id, listen[strings.LastIndexByte(listen, ':')+1:]) {
			t.Errorf("%s: got %q", listen, id)
		}
	}
}

func TestLoopbackIsTrustedByDefaultAndTheInternetIsNot(t *testing.T) {
	c := Default()
	trusted := func(ip string) bool {
		return slices.ContainsFunc(c.Peers(), func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr(ip)) })
	}
	if !trusted("127.0.0.1") || !trusted("::1") || !trusted("10.9.8.7") || trusted("8.8.8.8") {
		t.Error("the default trusts the wrong peers")
	}
}
