package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/push"
	"drover/migrator/internal/config"
)

func loadKeys(path string) ([]keyOf, error) { return config.LoadPublicKeys([]string{path}) }

// runWith is run with standard input.
func (d *desktop) runWith(in string, args ...string) ran {
	d.t.Helper()
	var out, errOut bytes.Buffer
	code := Run(d.t.Context(), Environment{Args: args, In: strings.NewReader(in), Out: &out, Err: &errOut, Who: "tester", Config: d.path("migrator.yaml")})
	return ran{code, out.String(), errOut.String()}
}

func TestPushTakesAMapWithoutAVersionFromStandardInput(t *testing.T) {
	d := ready(t)
	text := d.want(0, []string{"map", "show"}).out
	for i, in := range []string{
		strings.Replace(text, "version: 1\n", "whitelist: {cloud: [emp-0]}\n", 1),
		strings.Replace(text, "version: 1\n", "whitelist: {cloud: [emp-1]} # more\nversion: 0 # any\n", 1),
		strings.Replace(text, "version: 1\n", "version: 4\nwhitelist: {cloud: [emp-2]}\n", 1),
	} {
		if r := d.runWith(in, "map", "push", "-"); r.code != 0 || !strings.Contains(r.out, fmt.Sprintf("map version %d is published", i+2)) {
			t.Fatalf("code %d\n%s%s", r.code, r.out, r.err)
		}
	}
	// The same in JSON, on many lines and on one.
	asJSON := d.want(0, []string{"map", "show", "-o", "json"}).out
	for i, edit := range []string{`"version": 0`, ""} {
		in := strings.Replace(asJSON, `"version": 4`, edit, 1)
		in = strings.Replace(in, "{\n  ,", "{\n  ", 1)
		in = strings.Replace(in, "emp-2", fmt.Sprintf("é-%d", i), 1)
		if edit == "" {
			var compact bytes.Buffer
			must(t, json.Compact(&compact, []byte(in)))
			in = compact.String()
		}
		if r := d.runWith(in, "map", "push", "-"); r.code != 0 || !strings.Contains(r.out, fmt.Sprintf("map version %d is published", i+5)) {
			t.Fatalf("code %d for %s\n%s%s", r.code, in, r.out, r.err)
		}
	}
	for _, in := range []string{"", "version: 0\n", "{}", "[]", "version: {}\n", "version: -1\nbuckets: 64\n", "version: 7\nversion: 0\n", "version: 0\nversion: 0\n", "\x00"} {
		if r := d.runWith(in, "map", "push", "-"); r.code != 2 {
			t.Errorf("%q: code %d\n%s%s", in, r.code, r.out, r.err)
		}
	}
	if r := d.runWith(strings.Replace(text, "version: 1\n", "version: 99\n", 1), "map", "push", "-"); r.code != 3 {
		t.Errorf("another version: code %d\n%s", r.code, r.err)
	}
}

func TestPushTakesTheBinaryFormAndNoDelta(t *testing.T) {
	d := ready(t)
	draft := d.load().Edit()
	draft.Whitelist["emp-1"] = "cloud"
	next, err := draft.Snapshot()
	must(t, err)
	whole := d.write("next.bin", string(binary.Append(nil, next, nil)))
	delta := d.write("delta.bin", string(binary.AppendDelta(nil, binary.MakeDelta(d.load(), next), nil)))
	d.unchanged(2, []string{"map", "push", delta}, "give a whole map")
	d.unchanged(2, []string{"map", "push", d.write("cut.bin", string(binary.Append(nil, next, nil)[:40]))})
	d.unchanged(0, []string{"map", "push", whole, "--dry-run"}, "+ whitelist emp-1: cloud")
	d.want(0, []string{"map", "push", whole}, "map version 2 is published")
	d.want(0, []string{"map", "diff", "1", whole}, "+ whitelist emp-1: cloud")
	d.unchanged(3, []string{"map", "push", whole}, "must be 3")
}

func TestPushNeverTakesAHomeAway(t *testing.T) {
	d := ready(t)
	next := d.edited("next.yaml", "version: 1\n", "", `alpha: ["0-63"]`, `alpha: ["0-60"]`)
	d.unchanged(3, []string{"map", "push", next}, "home-lost on alpha", "61-63", "--force-homes")
}

func TestAPersonMovesNoMoreThanMaxChangeWithoutSayingSo(t *testing.T) {
	d := ready(t)
	next := d.edited("next.yaml", "version: 1\n", "", `alpha: ["0-63"]`, "alpha: [\"0-31\"]\n  gamma: [\"32-63\"]")
	d.unchanged(3, []string{"map", "push", next, "--force-homes"}, "max_change", "32 of 64", "10%", "--allow-change 0.5 ")
	d.unchanged(3, []string{"map", "push", next, "--force-homes", "--dry-run"}, "max_change")
	d.unchanged(3, []string{"map", "push", next, "--force-homes", "--allow-change", "0.49"}, "49%")
	for _, share := range []string{"0", "-1", "1.01", "NaN", "50%", ""} {
		d.unchanged(2, []string{"map", "push", next, "--allow-change", share}, "above 0 and up to 1")
	}
	d.want(0, []string{"map", "push", next, "--force-homes", "--allow-change", "0.5"}, "map version 2")
	if moved := d.load().Moved(); moved != 32 {
		t.Fatalf("%d buckets declared, want 32", moved)
	}
	// What the file says of the odometer is not believed.
	d.want(0, []string{"map", "push", d.edited("more.yaml", "version: 2\n", "whitelist: {cloud: [emp-1]}\n", "moved: 32\n", "moved: 9000\n")})
	if moved := d.load().Moved(); moved != 32 {
		t.Fatalf("%d buckets declared, want 32", moved)
	}
	d.configure("{store: file, dir: map, max_change: 0}")
	d.want(0, []string{"map", "rollback", "1"}, "map version 4")
}

func TestAMapInWhichNobodyHasAHomeIsRefused(t *testing.T) {
	d := newDesktop(t)
	path := d.write("empty.yaml", "version: 1\nbuckets: 64\ndefault: {mode: pinned, datacenter: legacy}\ndatacenters: [legacy]\n")
	d.unchanged(3, []string{"init", "--from", path}, "none of its 64 buckets")
}

func TestWaitReturnsOnlyWhenEveryProxyRunsTheVeryMap(t *testing.T) {
	d := ready(t)
	proxy := d.fileProxy()
	add := func(user string) []string {
		return []string{"whitelist", "add", "--to", "cloud", user, "--wait", "100ms"}
	}
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 2, Digest: bucketmap.Digest{7}}))
	d.want(1, add("emp-1"), "version 2 is published", "p1 runs 2: another map of that version")
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 1, Refused: 3, Reason: "no such datacenter"}))
	long := append(add("emp-2")[:5], "--wait", "1h")
	d.want(1, long, "p1 runs 1: refused 3: no such datacenter")
	var said struct {
		Late []struct{ Proxy, Reason string }
	}
	must(t, json.Unmarshal([]byte(d.want(1, append(add("emp-3"), "-o", "json")).err), &said))
	if len(said.Late) != 1 || said.Late[0].Proxy != "p1" || !strings.Contains(said.Late[0].Reason, "refused 3 before") {
		t.Errorf("got %+v", said)
	}
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 4, Digest: d.load().Digest()}))
	// Nothing to publish: what is in force is waited for.
	d.want(0, []string{"map", "push", d.edited("same.yaml", "version: 4", "version: 5"), "--wait", "1m"}, "every live proxy runs version 4")
	d.want(2, []string{"map", "push", "x", "--wait", "-1s"})
}

func TestPushStoreBringsTheMapToRealReceivers(t *testing.T) {
	d := newDesktop(t)
	public := d.keys("sign")
	d.write("token", "secret\n")
	one := newEdge(t, "edge-1", push.ReceiverOptions{Token: "secret", Keys: []keyOf{public}})
	two := newEdge(t, "edge-2", push.ReceiverOptions{Token: "secret", Keys: []keyOf{public}})
	d.configure(fmt.Sprintf("{store: push, dir: map, push: {proxies: [%q, %q], token_file: token}, sign_key_file: sign.key}", one.server.URL, two.server.URL))
	d.want(0, initArgs, "map version 1 is published")
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "emp-1", "--wait", "10s"}, "version 2")
	d.want(0, []string{"map", "status"}, "edge-1", "edge-2", "current")
	if one.inForce().Digest() != d.load().Digest() {
		t.Error("edge-1 runs another map")
	}
	two.refuse = func(*bucketmap.Snapshot) error {
		return &bucketmap.RefusedError{Rule: bucketmap.RuleDatacenter, Detail: "no upstreams here"}
	}
	r := d.want(1, []string{"whitelist", "add", "--to", "cloud", "emp-2", "--wait", "300ms"}, "edge-2 runs 2", "stays in force")
	if strings.Contains(r.err, "edge-1") {
		t.Errorf("edge-1 is named: %s", r.err)
	}
	d.want(1, []string{"map", "status"}, "behind by 1", "not every live proxy")
	two.server.Close()
	d.want(1, []string{"map", "status"}, "unreachable", "no map")

	// Without the key the receivers take nothing.
	d.configure(fmt.Sprintf("{store: push, dir: map, push: {proxies: [%q], token_file: token}}", one.server.URL))
	d.want(1, []string{"whitelist", "add", "--to", "cloud", "emp-3", "--wait", "300ms"}, "edge-1 runs 3")
	if one.inForce().Version() != 3 {
		t.Errorf("edge-1 runs version %d, unsigned", one.inForce().Version())
	}
	d.write("token", "\n")
	d.want(2, []string{"map", "status"}, "token_file")
	must(t, os.Remove(d.path("token")))
	d.want(2, []string{"map", "status"}, "token_file")
}
