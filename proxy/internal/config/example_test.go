package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const (
	fullExample    = "../../../configs/proxy.full.yaml"
	minimalExample = "../../../configs/proxy.minimal.yaml"
)

func TestEveryExampleLoads(t *testing.T) {
	paths, err := filepath.Glob("../../../configs/proxy.*.yaml")
	if err != nil || len(paths) < 2 {
		t.Fatalf("got %v, %v", paths, err)
	}
	for _, path := range paths {
		if _, err := Load(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// given is one key that a file sets.
type given struct {
	path  string // as of key
	value any
}

// givenIn lists what a file sets, each key as often as it does.
func givenIn(t *testing.T, path string) []given {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	return givenBelow(tree, "")
}

func givenBelow(tree map[string]any, prefix string) []given {
	var all []given
	for name, v := range tree {
		path := join(prefix, name)
		if prefix == "datacenters" {
			path = "datacenters.NAME"
		} else {
			all = append(all, given{path, v})
		}
		switch v := v.(type) {
		case map[string]any:
			all = append(all, givenBelow(v, path)...)
		case []any:
			for _, entry := range v {
				if m, ok := entry.(map[string]any); ok {
					all = append(all, givenBelow(m, path+"[]")...)
				}
			}
		}
	}
	return all
}

// notTogether are the keys that exclude others of the full example, which shows
// those of them that are leaves in comments.
func notTogether(path string) bool {
	return path == "listen" || path == "map.dir" || path == "map.consul.token" || strings.HasPrefix(path, "map.push")
}

func TestTheFullExampleSetsEveryKeyThatItCan(t *testing.T) {
	text, err := os.ReadFile(fullExample)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, g := range givenIn(t, fullExample) {
		paths = append(paths, g.path)
	}
	for _, k := range allKeys() {
		if set := slices.Contains(paths, k.path); set == notTogether(k.path) {
			t.Errorf("%s: set is %v", k.path, set)
		}
		if notTogether(k.path) && k.path != "listen" && !regexp.MustCompile(`#.*\b`+keyOf(k.field)+`:`).Match(text) {
			t.Errorf("%s: the example does not show it in a comment", k.path)
		}
	}
}

// ofTheInstallation are the keys that have no default that suits: addresses,
// names, paths.
func ofTheInstallation(path string) bool {
	switch path {
	case "id", "listeners[].address", "listeners[].tls.client_ca", "listeners[].tls.client_auth",
		"listeners[].tls.certificates[].cert", "listeners[].tls.certificates[].key",
		"map.store", "map.consul.datacenter", "map.consul.token_file", "map.keys", "map.cache",
		"whitelist.file", "whitelist.datacenter", "mirror.users", "mirror.user_ids", "mirror.datacenters",
		"mirror.ignore.headers", "mirror.ignore.json", "mirror.ignore.text", "access_log.path", "trace.otlp_endpoint", "restart.pid_file",
		"identity[].header", "identity[].cookie", "identity[].query", "identity[].path", "identity[].bucket",
		"identity[].jwt.cookie", "identity[].jwt.jwks_url", "identity[].jwt.jwks_file", "identity[].jwt.issuer", "identity[].jwt.audience",
		"datacenters.NAME.upstreams", "datacenters.NAME.failover", "datacenters.NAME.health.path", "datacenters.NAME.health.host",
		"datacenters.NAME.tls.enabled", "datacenters.NAME.tls.server_name",
		"datacenters.NAME.tls.ca", "datacenters.NAME.tls.cert", "datacenters.NAME.tls.key":
		return true
	}
	return strings.HasPrefix(path, "admin.") || strings.HasPrefix(path, "map.consul.tls.")
}

func TestTheFullExampleHasTheDefaults(t *testing.T) {
	standards := map[string]key{}
	for _, k := range allKeys() {
		standards[k.path] = k
	}
	compared := 0
	for _, g := range givenIn(t, fullExample) {
		k := standards[g.path]
		if !k.leaf || ofTheInstallation(g.path) {
			continue
		}
		compared++
		have := reflect.New(k.field.Type)
		text, err := yaml.Marshal(g.value)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, have.Interface()); err != nil {
			t.Errorf("%s: %v", g.path, err)
			continue
		}
		if !reflect.DeepEqual(have.Elem().Interface(), k.standard.Interface()) {
			t.Errorf("%s: the example says %v, the default is %v", g.path, g.value, k.standard.Interface())
		}
	}
	if compared < 60 {
		t.Errorf("only %d values were compared", compared)
	}
}

func TestNothingOfTheMinimalExampleCanBeLeftOut(t *testing.T) {
	var paths []string
	for _, g := range givenIn(t, minimalExample) {
		paths = append(paths, g.path)
	}
	slices.Sort(paths)
	want := []string{
		"admin", "admin.listen", "datacenters", "datacenters.NAME.upstreams", "datacenters.NAME.upstreams",
		"identity", "identity[].header", "listen", "map", "map.dir",
	}
	if !slices.Equal(paths, want) {
		t.Errorf("it sets\n%v, want\n%v", paths, want)
	}
	c, err := Load(minimalExample)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Datacenters) != 2 || len(c.Identity) != 1 || c.Identity[0].Header != "X-User-Id" {
		t.Errorf("got %v and %v", c.Datacenters, c.Identity)
	}
	host := Default()
	host.ID, host.Admin.Listen, host.Map.Dir = c.ID, c.Admin.Listen, c.Map.Dir
	host.Identity, host.Datacenters = c.Identity, c.Datacenters
	if have, want := fmt.Sprintf("%+v", *c), fmt.Sprintf("%+v", host); have != want {
		t.Errorf("got\n%s\nwant the defaults\n%s", have, want)
	}
}
