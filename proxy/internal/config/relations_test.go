package config

import (
	"slices"
	"testing"
)

func TestAnOpenAdminServerIsAProblem(t *testing.T) {
	for _, text := range []string{
		`{listen: ":9080"}`, `{listen: "0.0.0.0:9080"}`, `{listen: "10.0.0.1:0"}`, `{listen: "edge.example.com:9080"}`,
		`{listen: ":9080", tls: {cert: c, key: k}}`,
	} {
		_, err := loadText(t, "admin: "+text)
		if keys := problemKeys(t, err); !slices.Equal(keys, []string{"admin.listen"}) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	for _, text := range []string{
		`{listen: "127.0.0.1:9080"}`, `{listen: "127.9.9.9:0"}`, `{listen: "[::1]:9080"}`, `{listen: "localhost:9080"}`,
		`{listen: ":9080", token: t}`, `{listen: ":9080", tls: {cert: c, key: k, client_ca: a}}`,
	} {
		mustLoad(t, "admin: "+text)
	}
}

func TestAPairThatIsHalfIsAProblem(t *testing.T) {
	for text, want := range map[string]string{
		`admin: {tls: {cert: c}}`:                                       "admin.tls.key",
		`admin: {tls: {key: k}}`:                                        "admin.tls.cert",
		`admin: {tls: {client_ca: a}}`:                                  "admin.tls.client_ca",
		`datacenters: {a: {upstreams: ["a:1"], tls: {cert: c}}}`:        "datacenters.a.tls.key",
		`datacenters: {a: {upstreams: ["a:1"], tls: {key: k}}}`:         "datacenters.a.tls.cert",
		`datacenters: {a: {upstreams: ["a:1"], failover: [a]}}`:         "datacenters.a.failover[0]",
		`datacenters: {a: {upstreams: ["a:0"]}}`:                        "datacenters.a.upstreams[0]",
		`datacenters: {a: {upstreams: [":80"]}}`:                        "datacenters.a.upstreams[0]",
		`datacenters: {a: {upstreams: ["a:1"], tls: {min_version: x}}}`: "datacenters.a.tls.min_version",
	} {
		_, err := loadText(t, text)
		if keys := problemKeys(t, err); !slices.Equal(keys, []string{want}) {
			t.Errorf("%s: got %v, want one problem, with %s", text, err, want)
		}
	}
}

func TestTrustInCertificatesNeedsAListenerThatVerifiesThem(t *testing.T) {
	const listener = `listeners: [{address: ":1", tls: {certificates: [{cert: c, key: k}], `
	for text, want := range map[string][]string{
		"":                           {"trust_mtls"},
		listener + `}}]`:             {"trust_mtls"},
		listener + `client_ca: a}}]`: nil,
		listener + `client_ca: a, client_auth: none}}]`: {"trust_mtls"},
	} {
		_, err := loadText(t, "trust_mtls: true\n"+text)
		if keys := problemKeys(t, err); !slices.Equal(keys, want) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
}

func TestAnIdentityIsExactlyOnePlace(t *testing.T) {
	const jwt = "jwks_file: f"
	for text, want := range map[string][]string{
		`{header: X}`: nil, `{cookie: c}`: nil, `{query: "user id"}`: nil, `{path: "/u/{id}"}`: nil, `{bucket: X}`: nil,
		`{jwt: {` + jwt + `}}`: nil,
		`{jwt: {jwks_url: "https://x/keys", algorithms: [HS256]}}`: nil,
		`{}`:                              {"identity[0]"},
		`{header: X, bucket: Y}`:          {"identity[0]"},
		`{query: u, path: "/u/{id}"}`:     {"identity[0]"},
		`{cookie: c, jwt: {` + jwt + `}}`: {"identity[0]"},
		`{bucket: "a b"}`:                 {"identity[0].bucket"},
		`{cookie: "a=b"}`:                 {"identity[0].cookie"},
		`{jwt: {}}`:                       {"identity[0].jwt"},
		`{jwt: {` + jwt + `, jwks_url: "http://x"}}`:      {"identity[0].jwt"},
		`{jwt: {jwks_url: "ftp://x/keys"}}`:               {"identity[0].jwt.jwks_url"},
		`{jwt: {` + jwt + `, algorithms: [RS256, none]}}`: {"identity[0].jwt.algorithms[1]"},
		`{jwt: {` + jwt + `, header: X, cookie: c}}`:      {"identity[0].jwt.cookie"},
		`{jwt: {` + jwt + `, leeway: 11m}}`:               {"identity[0].jwt.leeway"},
		`{jwt: {` + jwt + `, cache: -1}}`:                 {"identity[0].jwt.cache"},
	} {
		_, err := loadText(t, "identity: ["+text+"]")
		if keys := problemKeys(t, err); !slices.Equal(keys, want) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
}

func TestATokenIsInAHeaderUnlessACookieIsGiven(t *testing.T) {
	for text, want := range map[string][2]string{
		"":                        {"Authorization", ""},
		", header: X-Token":       {"X-Token", ""},
		", cookie: session":       {"", "session"},
		", require_exp: false":    {"Authorization", ""},
		", header: Authorization": {"Authorization", ""},
	} {
		j := mustLoad(t, "identity: [{jwt: {jwks_file: f"+text+"}}]").Identity[0].JWT
		if got := [2]string{j.Header, j.Cookie}; got != want {
			t.Errorf("%s: got %v", text, got)
		}
		if j.RequireExp != (text != ", require_exp: false") || j.Claim != "sub" || len(j.Algorithms) != 3 {
			t.Errorf("%s: got %+v", text, j)
		}
	}
}

func TestTheCohortsWindowIsNothingOrAMinuteToADay(t *testing.T) {
	for _, text := range []string{"0s", "1m", "90s", "1h", "24h"} {
		mustLoad(t, "cohort: {window: "+text+"}")
	}
	for _, text := range []string{"1ns", "59s", "24h1s", "-1m", "-1ns"} {
		_, err := loadText(t, "cohort: {window: "+text+"}")
		if keys := problemKeys(t, err); !slices.Equal(keys, []string{"cohort.window"}) {
			t.Errorf("%s: got %v, want one problem", text, err)
		}
	}
}
