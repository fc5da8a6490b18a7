package config

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

const pair = `certificates: [{cert: c, key: k}]`

func TestListenIsShortForOnePlainListener(t *testing.T) {
	want := []Listener{{Address: ":81", ProxyProtocol: ProxyOff}}
	for _, text := range []string{`listen: ":81"`, `listeners: [{address: ":81"}]`} {
		if got := mustLoad(t, text).AllListeners(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v", text, got)
		}
	}
	if got := mustLoad(t, "").AllListeners(); got[0].Address != DefaultListen {
		t.Errorf("got %+v", got)
	}
}

func TestListenBesideListenersIsAProblem(t *testing.T) {
	for _, text := range []string{":8080", ":81"} {
		_, err := loadText(t, `listen: "`+text+`"`+"\nlisteners: [{address: \":82\"}]")
		if keys := problemKeys(t, err); !slices.Equal(keys, []string{"listen"}) {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestHTTP2IsTheDefaultOfListenersWithTLSOnly(t *testing.T) {
	for text, want := range map[string]bool{
		`{address: ":1"}`:                                    false,
		`{address: ":1", http2: false}`:                      false,
		`{address: ":1", tls: {` + pair + `}}`:               true,
		`{address: ":1", http2: true, tls: {` + pair + `}}`:  true,
		`{address: ":1", http2: false, tls: {` + pair + `}}`: false,
	} {
		if got := mustLoad(t, "listeners: ["+text+"]").Listeners[0].HTTP2; got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
	_, err := loadText(t, `listeners: [{address: ":1", http2: true}]`)
	if keys := problemKeys(t, err); !slices.Equal(keys, []string{"listeners[0].http2"}) {
		t.Errorf("got %v", err)
	}
}

func TestAListenersTLSIsReadOverItsDefaults(t *testing.T) {
	for text, want := range map[string]ListenerTLS{
		pair: {
			ReloadInterval: 10 * time.Second, MinVersion: TLS12, ClientAuth: ClientAuthNone, SessionTickets: true,
		},
		pair + `, client_ca: ca, session_tickets: false`: {
			ReloadInterval: 10 * time.Second, MinVersion: TLS12, ClientCA: "ca", ClientAuth: ClientAuthRequest,
		},
		pair + `, client_ca: ca, client_auth: require, min_version: "1.3", reload_interval: 1m`: {
			ReloadInterval: time.Minute, MinVersion: TLS13, ClientCA: "ca", ClientAuth: ClientAuthRequire, SessionTickets: true,
		},
	} {
		want.Certificates = []Certificate{{Cert: "c", Key: "k"}}
		got := mustLoad(t, `listeners: [{address: ":1", tls: {`+text+`}}]`).Listeners[0].TLS
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got %+v", text, *got)
		}
	}
}

func TestAListenerThatCannotBeIsAProblem(t *testing.T) {
	for text, want := range map[string]string{
		`listeners: [{address: ":1"}, {address: ":1"}]`:                                         "listeners[1].address",
		`listeners: [{address: "x"}]`:                                                           "listeners[0].address",
		`listeners: [{address: ":1", tls: {}}]`:                                                 "listeners[0].tls.certificates",
		`listeners: [{address: ":1", tls: {certificates: [{cert: c}]}}]`:                        "listeners[0].tls.certificates[0].key",
		`listeners: [{address: ":1", tls: {certificates: [{key: k}]}}]`:                         "listeners[0].tls.certificates[0].cert",
		`listeners: [{address: ":1", tls: {` + pair + `, client_auth: require}}]`:               "listeners[0].tls.client_auth",
		`listeners: [{address: ":1", tls: {` + pair + `, client_auth: perhaps, client_ca: c}}]`: "listeners[0].tls.client_auth",
		`listeners: [{address: ":1", tls: {` + pair + `, min_version: "1.1"}}]`:                 "listeners[0].tls.min_version",
		`listeners: [{address: ":1", tls: {` + pair + `, reload_interval: 1ms}}]`:               "listeners[0].tls.reload_interval",
		`listeners: [{address: ":1", proxy_protocol: v3}]`:                                      "listeners[0].proxy_protocol",
		`listeners: [{address: ":1", proxy_protocol: any}]` + "\ntrusted_peers: []":             "listeners[0].proxy_protocol",
		`listeners: [{address: "127.0.0.1:1"}]` + "\nadmin: {listen: \"127.0.0.1:1\"}":          "admin.listen",
		`listen: "127.0.0.1:1"` + "\nadmin: {listen: \"127.0.0.1:1\"}":                          "admin.listen",
	} {
		_, err := loadText(t, text)
		if keys := problemKeys(t, err); !slices.Equal(keys, []string{want}) {
			t.Errorf("%s: got %v, want one problem, with %s", text, err, want)
		}
	}
	mustLoad(t, `listeners: [{address: "127.0.0.1:0"}, {address: "127.0.0.1:0", proxy_protocol: off}]`)
}
