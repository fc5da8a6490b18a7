package config

import (
	"path/filepath"
	"strings"
	"testing"

	"drover/migrator/internal/tracer"
)

const tracersBase = "map: {store: file, dir: m}\nshards: s\naccount: {user: u}\ntables: [{name: a, bucket_column: b}]\n"

func TestTracersThatProveNothingAreRefusedEachWithItsKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.yaml")
	write(t, path, tracersBase+`tracers:
  proxies: [{name: e, url: "http://h:1/path"}, {name: e, url: "ftp://h"}, {name: f, url: "http://h:1", admin: "h:2"}]
  prefix: ""
  per_shard: 65
  rate: .nan
  late: 11s
  grace: 1ms
  headers: {Drover-User: x}
  tls: {cert: x}
  write: {method: post, path: "w", status: 99, datacenter: nowhere}
  read: {path: /r}
`)
	_, err := Load(path)
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{"proxies[0].url", "proxies[1].name", "proxies[1].url", "proxies[2].admin", "prefix", "per_shard", "rate", "timeout",
		"grace", "headers", "tls", "write.method", "write.path", "write.status", "write.datacenter", "read.method"} {
		if !strings.Contains(err.Error(), "tracers."+key+":") {
			t.Errorf("%v: does not name tracers.%s", err, key)
		}
	}
	write(t, path, tracersBase+"tracers: {timeout: 3s, proxies: [{name: e, url: \"http://h:1\"}]}\n")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "tracers.write.datacenter") || !strings.Contains(err.Error(), "longer than move.hold_max") {
		t.Errorf("tracers that send nothing: %v", err)
	}
}

func TestTracersOfTheFileAreTracersOfThePackage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "good.yaml")
	write(t, path, tracersBase+`tracers:
  proxies: [{name: e, url: "https://h:1/", admin: "http://h:2/"}]
  tls: {ca: ca.pem}
  headers: {X-User: "{user}"}
  read: {method: GET, path: "/r?u={user}", datacenter: "header:X-Dc"}
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Tracers.TLS.CA != filepath.Join(filepath.Dir(path), "ca.pem") {
		t.Errorf("ca %s, want it beside the file", c.Tracers.TLS.CA)
	}
	if _, err := c.Tracers.Options(); err == nil || !strings.Contains(err.Error(), "tracers.tls.ca") {
		t.Errorf("a file that is not there: %v", err)
	}
	c.Tracers.TLS = TLS{}
	o, err := c.Tracers.Options()
	if err != nil || o.Proxies[0] != (tracer.Proxy{Name: "e", URL: "https://h:1", Admin: "http://h:2"}) || !o.Read.Datacenter.Named() || o.Read.Status != 200 || o.Write.Method != "" {
		t.Errorf("%+v %v", o, err)
	}
	none := Default()
	if none.Tracers.On() {
		t.Error("there are tracers by default")
	}
}
