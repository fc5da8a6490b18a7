package cli

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/consul"
	"drover/bucketmap/push"
)

// employee puts one more on the whitelist of the map in force.
func (d *desktop) employee() string {
	d.t.Helper()
	return d.write("next.yaml", strings.Replace(d.want(0, []string{"map", "show"}).out, "version: 1\n", "whitelist: {cloud: [emp-1]}\n", 1))
}

// whitelists says that a map has the employee, which is what is bad with it.
func whitelists(snap *bucketmap.Snapshot) bool {
	_, ok := snap.Whitelisted().Lookup([]byte("emp-1"))
	return ok
}

func canaryArgs(e *edge, next string, more ...string) []string {
	return append([]string{"map", "push", next, "--canary", e.server.URL, "--canary-for", "400ms"}, more...)
}

// fileFleet is a desktop with two edges on its folder.
func fileFleet(t *testing.T) (d *desktop, one, two *edge) {
	t.Helper()
	d = ready(t)
	one, two = newEdge(t, "edge-1", push.ReceiverOptions{}), newEdge(t, "edge-2", push.ReceiverOptions{})
	one.follow(d.fileProxy(), "edge-1")
	two.follow(d.fileProxy(), "edge-2")
	return d, one, two
}

func TestACanaryThatIsWellIsFollowedByAll(t *testing.T) {
	d, one, two := fileFleet(t)
	two.came = both(two.came, func(*bucketmap.Snapshot) {
		if !whitelists(one.inForce()) {
			t.Error("edge-2 runs the map before the canary does")
		}
	})
	var r mapResult
	d.reads(&r, canaryArgs(one, d.employee(), "--wait", "10s")...)
	if r.Version != 2 || r.Canary == nil || r.Canary.Proxy != "edge-1" || r.Canary.Requests == 0 || r.Canary.After != 0 {
		t.Fatalf("got %+v, canary %+v", r, r.Canary)
	}
	if one.inForce().Digest() != d.load().Digest() || two.inForce().Digest() != d.load().Digest() {
		t.Error("not everybody runs the map")
	}
	d.want(0, []string{"map", "status"}, "current")
}

func both(f, g func(*bucketmap.Snapshot)) func(*bucketmap.Snapshot) {
	return func(s *bucketmap.Snapshot) { g(s); f(s) }
}

func TestACanaryThatTurnsBadGetsItsMapBackAndNobodyElseGetsTheBadOne(t *testing.T) {
	for _, store := range []string{"file", "push", "consul"} {
		t.Run(store, func(t *testing.T) {
			one, two := newEdge(t, "edge-1", push.ReceiverOptions{}), newEdge(t, "edge-2", push.ReceiverOptions{})
			var d *desktop
			switch store {
			case "file":
				d = ready(t)
				one.follow(d.fileProxy(), "edge-1")
				two.follow(d.fileProxy(), "edge-2")
			case "push":
				d = initialized(t, fmt.Sprintf("{store: push, dir: map, push: {proxies: [%q, %q]}}", one.server.URL, two.server.URL))
			default:
				config := consulConfig(t)
				d = initialized(t, config)
				one.follow(consulStore(t, config), "edge-1")
				two.follow(consulStore(t, config), "edge-2")
			}
			one.failing, two.failing = whitelists, whitelists
			two.came = both(orNothing(two.came), func(snap *bucketmap.Snapshot) {
				if whitelists(snap) {
					t.Error("edge-2 has got the bad map")
				}
			})
			d.want(1, canaryArgs(one, d.employee(), "--canary-errors", "0.05"), "edge-1", "100.00% of its", "published as version 3")
			good := func(snap *bucketmap.Snapshot) bool { return snap.Version() == 3 && !whitelists(snap) }
			one.await(good)
			two.await(good)
			d.want(0, []string{"map", "status"}, "map version 3", "edge-1")
			d.want(0, []string{"map", "history"}, "version 2 goes back: the canary is not well")
			d.want(0, []string{"map", "diff", "1", "3"}, "no difference")
			// And the next one is taken by all.
			d.want(0, []string{"whitelist", "add", "--to", "legacy", "emp-9", "--wait", "10s"}, "map version 4")
		})
	}
}

func orNothing(f func(*bucketmap.Snapshot)) func(*bucketmap.Snapshot) {
	if f == nil {
		return func(*bucketmap.Snapshot) {}
	}
	return f
}

func consulStore(t *testing.T, config string) *consul.Store {
	t.Helper()
	_, prefix, _ := strings.Cut(config, "prefix: ")
	store, err := consul.Open(consul.Options{Address: consulServer.server.Addr(), Prefix: strings.TrimSuffix(prefix, "}}")})
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	return store
}

func TestACanaryThatRefusesChangesNothing(t *testing.T) {
	d, one, two := fileFleet(t)
	one.refuse = func(*bucketmap.Snapshot) error {
		return &bucketmap.RefusedError{Rule: bucketmap.RuleDatacenter, Detail: "no upstreams in cloud", Remedy: "add them"}
	}
	d.unchanged(3, canaryArgs(one, d.employee()), "nothing was changed", "no upstreams in cloud", "add them")
	if !slices.Equal(two.versions, []bucketmap.Version{1}) || one.inForce().Version() != 1 {
		t.Error("an edge has another map")
	}
}

func TestACanaryWithoutRequestsProvesNothing(t *testing.T) {
	d, one, _ := fileFleet(t)
	one.requestsEachScrape = 0
	next := d.employee()
	d.want(1, canaryArgs(one, next), "0 requests", "--canary-requests 0", "published as version 3")
	one.await(func(snap *bucketmap.Snapshot) bool { return snap.Version() == 3 })
	d.want(0, canaryArgs(one, next, "--canary-requests", "0", "--wait", "10s"), "map version 4")
}

func TestOnlyAProxyThatRunsTheMapInForceIsACanary(t *testing.T) {
	d, one, _ := fileFleet(t)
	next := d.employee()
	one.refuse = func(*bucketmap.Snapshot) error { return errors.New("not now") }
	d.want(0, []string{"whitelist", "add", "--to", "legacy", "emp-9"}, "map version 2")
	d.unchanged(3, canaryArgs(one, next), "runs version 1, not the map in force, version 2")

	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	d.unchanged(1, []string{"map", "push", next, "--canary", other.URL}, "404", "is this the admin server of a proxy?")
	other.Close()
	d.unchanged(1, []string{"map", "push", next, "--canary", other.URL}, "nothing was changed")
	for _, flags := range [][]string{
		{"--canary", "10.0.0.1:9901"}, {"--canary", "http://user:secret@10.0.0.1"}, {"--canary", "ftp://10.0.0.1"},
		{"--canary", other.URL, "--canary-for", "-1s"}, {"--canary", other.URL, "--canary-errors", "1.5"},
		{"--canary", other.URL, "--canary-errors", "NaN"}, {"--canary", other.URL, "--canary-requests", "-1"},
	} {
		d.unchanged(2, append([]string{"map", "push", next}, flags...))
	}
}

func TestACanaryGetsItsMapBackWhenAnotherPublisherWasFaster(t *testing.T) {
	d, one, two := fileFleet(t)
	published := false
	one.came = both(one.came, func(snap *bucketmap.Snapshot) {
		if whitelists(snap) && !published {
			published = true
			draft := d.load().Edit()
			draft.Whitelist["theirs"] = "legacy"
			theirs, err := draft.Snapshot()
			if err == nil {
				err = d.fileProxy().Publish(t.Context(), theirs, bucketmap.Change{Who: "other"})
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	d.want(1, canaryArgs(one, d.employee()), "could not be published", "published as version 3")
	theirs := func(snap *bucketmap.Snapshot) bool {
		_, ok := snap.Whitelisted().Lookup([]byte("theirs"))
		return ok && snap.Version() == 3 && snap.WhitelistLen() == 1
	}
	two.await(theirs)
	if !theirs(one.inForce()) {
		t.Errorf("the canary runs version %d", one.inForce().Version())
	}
}

func TestAnInterruptedCanaryGetsItsMapBack(t *testing.T) {
	d, one, _ := fileFleet(t)
	ctx, cancel := context.WithCancel(t.Context())
	one.came = both(one.came, func(snap *bucketmap.Snapshot) {
		if whitelists(snap) {
			cancel()
		}
	})
	var out, errOut bytes.Buffer
	code := Run(ctx, Environment{Args: append(canaryArgs(one, d.employee()), "--canary-for", "1h"), Out: &out, Err: &errOut, Who: "tester", Config: d.path("migrator.yaml")})
	if code != exitInterrupted || !strings.Contains(errOut.String(), "published as version 3") {
		t.Fatalf("code %d\n%s%s", code, out.String(), errOut.String())
	}
	one.await(func(snap *bucketmap.Snapshot) bool { return snap.Version() == 3 && !whitelists(snap) })
}

func TestACanaryIsSpokenToWithItsTokenAndTheSignature(t *testing.T) {
	d := ready(t)
	public := d.keys("sign")
	one := newEdge(t, "edge-1", push.ReceiverOptions{Token: "secret", Keys: []keyOf{public}})
	one.current = d.load()
	must(t, one.receiver.Ack(t.Context(), bucketmap.Ack{Proxy: "edge-1", Version: 1, Digest: one.current.Digest()}))
	next := d.employee()
	d.unchanged(1, canaryArgs(one, next), "401")
	d.write("token", "secret\n")
	d.configure("{store: file, dir: map, canary: {token_file: token}}")
	d.unchanged(3, canaryArgs(one, next), "403", "signature")
	d.configure("{store: file, dir: map, canary: {token_file: token}, sign_key_file: sign.key}")
	d.want(0, canaryArgs(one, next), "map version 2")
}

func TestACanaryIsSpokenToOverTLSByTheAuthorityThatIsConfigured(t *testing.T) {
	d := ready(t)
	one := newEdge(t, "edge-1", push.ReceiverOptions{})
	one.current = d.load()
	must(t, one.receiver.Ack(t.Context(), bucketmap.Ack{Proxy: "edge-1", Version: 1, Digest: one.current.Digest()}))
	secure := httptest.NewTLSServer(one.server.Config.Handler)
	t.Cleanup(secure.Close)
	args := []string{"map", "push", d.employee(), "--canary", secure.URL + "/", "--canary-for", "0s"}
	d.unchanged(1, args, "certificate")
	d.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	d.configure("{store: file, dir: map, canary: {tls: {ca: ca.pem}}}")
	d.want(0, args, "map version 2")
}

func TestACanaryThatDiesIsGivenUpAndTheStoreGoesAboveIt(t *testing.T) {
	d, one, two := fileFleet(t)
	one.came = both(one.came, func(snap *bucketmap.Snapshot) {
		if whitelists(snap) {
			one.server.CloseClientConnections()
			_ = one.server.Listener.Close() // the server's own Close finds it closed
		}
	})
	d.want(1, canaryArgs(one, d.employee()), "version 3 is published with the content of before", "map status")
	two.await(func(snap *bucketmap.Snapshot) bool { return snap.Version() == 3 && !whitelists(snap) })
}
