package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drover/internal/config"
)

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.yaml")
	text := `
listen: nowhere
id: "not a name"
map: {store: etcd, max_change: 2}
whitelist: {datacenter: moon}
identity: [{header: X, cookie: y}, {header: "a b"}, {jwt: {header: X, cookie: y, algorithms: [none]}}, {path: /user}, {}]
trusted_peers: [10.0.0.1]
datacenters: {a: {upstreams: [], failover: [b]}, "c d": {upstreams: [x]}}
upstream: {eject_first: 1h, eject_max: 1m, retry_ratio: -1}
timeouts: {connect: 0s, linger: 2m}
limits: {header_bytes: 1KiB, connections: 0, request_line: 10KiB}
hold: {requests_max: 0, wait_max: 2h}
passport: {sample: 2, recent: 0}
drain: {timeout: 2h}
log: {level: loud, format: xml}
access_log: {format: xml}
trace: {otlp_endpoint: "collector:4318", sample: 1.5}
forwarded: maybe
via: a proxy
backlog: 0
trust_mtls: true
restart: {ready_timeout: 0s}
mirror: {share: 0.5, users: listed, methods: [GET, POST, GET], datacenters: [a, moon], timeout: 0s, queue: 0, noise: maybe, ignore: {headers: ["a b"], json: ["items"], text: ["("]}}
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
		"listen", "id", "map.store", "map.max_change", "whitelist.file", "identity[0]", "identity[1].header", "trusted_peers[0]",
		"datacenters.a.upstreams", "datacenters.a.failover[0]", "datacenters", "datacenters.c d.upstreams[0]",
		"timeouts.connect", "limits.header_bytes", "limits.connections", "hold.requests_max", "hold.wait_max",
		"passport.sample", "passport.recent", "drain.timeout", "log.level", "log.format", "access_log.format",
		"identity[2].jwt", "identity[2].jwt.cookie", "identity[2].jwt.algorithms[0]", "identity[3].path", "identity[4]",
		"upstream.eject_max", "upstream.retry_ratio", "timeouts.linger", "limits.request_line",
		"trace.otlp_endpoint", "trace.sample", "forwarded", "via", "backlog", "trust_mtls", "restart.ready_timeout",
		"mirror.user_ids", "mirror.methods[1]", "mirror.methods[2]", "mirror.methods", "mirror.datacenters[1]", "mirror.timeout", "mirror.queue",
		"mirror.noise", "mirror.ignore.headers[0]", "mirror.ignore.json[0]", "mirror.ignore.text[0]",
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

// loadText loads a file of the minimal example's keys and more.
func loadText(t *testing.T, more string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "proxy.yaml")
	text := more
	if !strings.Contains(more, "map:") {
		text = "map: {dir: /map}\n" + more
	}
	if !strings.Contains(more, "identity:") {
		text += "\nidentity: [{header: X-User-Id}]"
	}
	if !strings.Contains(more, "datacenters:") {
		text += "\ndatacenters: {a: {upstreams: [\"a:80\"]}, b: {upstreams: [\"b:80\"]}}"
	}
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func mustLoad(t *testing.T, more string) *Config {
	t.Helper()
	c, err := loadText(t, more)
	if err != nil {
		t.Fatalf("%s\n%v", more, err)
	}
	return c
}

// problemKeys returns the keys of an error's problems; none for no error.
func problemKeys(t *testing.T, err error) []string {
	t.Helper()
	var invalid *config.InvalidError
	if err == nil {
		return nil
	}
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
	var keys []string
	for _, p := range invalid.Problems {
		keys = append(keys, p.Key)
	}
	return keys
}

func TestAccessLogIsATextOrASection(t *testing.T) {
	for text, want := range map[string]AccessLog{
		"":                                      {AccessStdout, AccessPassport},
		"access_log: none":                      {AccessNone, AccessPassport},
		`access_log: "/var/log/a b"`:            {"/var/log/a b", AccessPassport},
		"access_log: {format: json}":            {AccessStdout, AccessJSON},
		"access_log: {path: x, format: common}": {"x", AccessCommon},
	} {
		if c := mustLoad(t, text); c.AccessLog != want {
			t.Errorf("%q: got %v, want %v", text, c.AccessLog, want)
		}
	}
	for text, want := range map[string]string{
		"access_log:\n  pth: x":  "pth",
		"access_log: [a]":        "[2:13]",
		`access_log: ""`:         "access_log.path",
		"access_log: {path: ''}": "access_log.path",
	} {
		if _, err := loadText(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
	}
}

func TestAnUnknownKeyOfAnEntryIsAnErrorWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"listeners:\n  - address: \":1\"\n    htp2: true":                           "[4:5]",
		"listeners:\n  - address: \":1\"\n    tls:\n      min_vresion: x":           "[5:7]",
		"identity:\n  - jwt:\n      calim: sub":                                     "[4:7]",
		"datacenters:\n  a:\n    upstreams: [\"a:80\"]\n    slow_begin: 1s":         "[5:5]",
		"datacenters:\n  a:\n    upstreams: [\"a:80\"]\n    health:\n      pth: /x": "[6:7]",
	} {
		if _, err := loadText(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
	}
}

func TestTheDefaultRequestLineIsLoweredToASmallerHead(t *testing.T) {
	if c := mustLoad(t, "limits: {header_bytes: 4KiB}"); c.Limits.RequestLine != 4*config.KiB {
		t.Errorf("got %v", c.Limits.RequestLine)
	}
	if c := mustLoad(t, "limits: {header_bytes: 64KiB}"); c.Limits.RequestLine != 8*config.KiB {
		t.Errorf("got %v", c.Limits.RequestLine)
	}
	_, err := loadText(t, "limits: {header_bytes: 4KiB, request_line: 5KiB}")
	if keys := problemKeys(t, err); !slices.Equal(keys, []string{"limits.request_line"}) {
		t.Errorf("got %v", err)
	}
}

func TestATokenIsNeverShown(t *testing.T) {
	_, err := loadText(t, `admin: {token: "se\ncret"}`)
	if keys := problemKeys(t, err); !slices.Equal(keys, []string{"admin.token"}) || strings.Contains(err.Error(), "cret\"") {
		t.Errorf("got %v", err)
	}
}

func TestAConfigurationMadeInCodeNeedsNoMoreThanAFileDoes(t *testing.T) {
	c := Default()
	c.Map.Dir = "/map"
	c.Identity = []Identity{{Header: "X-User-Id"}, {JWT: &JWT{JWKSFile: "keys.json"}}}
	c.Datacenters = map[string]Datacenter{
		"a": {Upstreams: []string{"127.0.0.1:80"}, Failover: []string{"b"}, Health: Health{Path: "/healthz"}},
		"b": {Upstreams: []string{"[::1]:80"}},
	}
	c.Listen, c.Listeners = "", []Listener{{Address: "127.0.0.1:0"}, {
		Address: "127.0.0.1:0", TLS: &ListenerTLS{Certificates: []Certificate{{Cert: "c", Key: "k"}}, ClientCA: "ca"},
	}}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	h, j, l := c.Datacenters["a"].Health, c.Identity[1].JWT, c.Listeners[1]
	if h.UnhealthyAfter != 2 || j.Header != "Authorization" || j.Claim != "sub" || l.ProxyProtocol != ProxyOff ||
		l.TLS.MinVersion != TLS12 || l.TLS.ClientAuth != ClientAuthRequest || c.ID == "" {
		t.Errorf("not complete: %+v, %+v, %+v, %+v", h, j, l, l.TLS)
	}
}
