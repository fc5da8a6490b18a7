package haproxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/internal/edgetest"
)

// soak says that tests are to be run in their long form.
func soak() bool { return os.Getenv("DROVER_SOAK") == "1" }

const vectorsPath = "../testdata/decisions.json"

// folderOf is where a program's map is exported to, below its folder.
const folderOf = "drover"

// edge returns how HAProxy is started with these options.
func edge(options Options) edgetest.Edge {
	var dir string
	return edgeIn(&dir, options)
}

// edgeIn is edge, and says in which folder the program runs.
func edgeIn(where *string, options Options) edgetest.Edge {
	return func(t *testing.T, s *bucketmap.Snapshot, upstreams map[bucketmap.Datacenter]string) *edgetest.Program {
		t.Helper()
		binary := edgetest.Find(t, "/usr/sbin/haproxy", "haproxy", os.Getenv("DROVER_CACHE"))
		dir := t.TempDir()
		*where = dir
		report, err := Export(filepath.Join(dir, folderOf), s, options)
		edgetest.Must(t, err)
		config := filepath.Join(dir, "haproxy.cfg")
		before := filepath.Join(dir, "base.cfg")
		edgetest.Must(t, os.WriteFile(before, []byte("defaults base\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n"), 0o600))
		section := options.Section
		if section == "" {
			section = "drover"
		}
		return edgetest.Start(t, func(addr string) []string {
			text := fmt.Sprintf("frontend www from %s\n    bind %s\n    use_backend %%[var(txn.drover_backend)]\n", section, addr)
			for dc, upstream := range upstreams {
				text += fmt.Sprintf("backend be_%s from base\n    server one %s\n", dc, upstream)
			}
			edgetest.Must(t, os.WriteFile(config, []byte(text), 0o600))
			args := []string{binary, "-W", "-db", "-f", before, "-f", report.Config, "-f", config}
			edgetest.Check(t, append(args, "-c")...)
			return args
		})
	}
}

func TestDecidesEveryCaseOfTheVectors(t *testing.T) {
	edgetest.Replay(t, vectorsPath, edge(Options{From: "base", AllowLoss: true}))
}

func TestDecidesLikeTheMapOnRandomMaps(t *testing.T) {
	edgetest.Random(t, edge(Options{From: "base", AllowLoss: true}), soak())
}

func TestTheLargestMapIsServed(t *testing.T) {
	edgetest.Large(t, edge(Options{From: "base", AllowLoss: true}), soak())
}

// example is a small map: buckets 0 to 511 in legacy, 512 to 767 in cloud, the
// rest nowhere.
func example(t testing.TB, edit func(*bucketmap.Draft)) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(1024)
	d.Default.Datacenter = "legacy"
	edgetest.Must(t, d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	edgetest.Must(t, d.PutShard(bucketmap.Shard{Name: "beta", Datacenter: "cloud"}))
	edgetest.Must(t, d.SetHome(0, 511, "alpha"))
	edgetest.Must(t, d.SetHome(512, 767, "beta"))
	d.Whitelist["emp-1"] = "cloud"
	if edit != nil {
		edit(d)
	}
	s, err := d.Snapshot()
	edgetest.Must(t, err)
	return s
}

func serve(t *testing.T, s *bucketmap.Snapshot, options Options) *edgetest.Client {
	t.Helper()
	return edgetest.Dial(t, edge(options)(t, s, edgetest.Upstreams(t, s)).Addr)
}

func user(id string) edgetest.Line { return edgetest.Line{Name: edgetest.Header, Value: []byte(id)} }

func TestAMapWithNoHomeAndNoWhitelistSendsEverybodyToTheDefault(t *testing.T) {
	d := bucketmap.NewDraft(7)
	d.Datacenters, d.Default.Datacenter = []bucketmap.Datacenter{"a", "b"}, "b"
	s, err := d.Snapshot()
	edgetest.Must(t, err)
	client := serve(t, s, Options{From: "base"})
	for _, id := range []string{"", "x", strings.Repeat("y", bucketmap.UserIDMax), strings.Repeat("y", bucketmap.UserIDMax+1)} {
		if differs := client.Compare(t, s, []byte(id)); differs != "" {
			t.Error(differs)
		}
	}
}

func TestWhatOnlyAnEdgeMaySayIsTakenFromClients(t *testing.T) {
	s := example(t, nil)
	client := serve(t, s, Options{From: "base"})
	lines := []edgetest.Line{user("bob")}
	for _, name := range []string{"Drover-User", "drover_user", "DROVER-BUCKET", "Drover_Bucket", "Drover-Datacenter", "Drover-Route",
		"Drover-Map-Version", "Drover-Anything", "X_User_Id", "x-user_id", "X.User-Id"} {
		lines = append(lines, edgetest.Line{Name: name, Value: []byte("forged")})
	}
	if differs := edgetest.Differs(t, client, s, s.Decide([]byte("bob")), []byte("bob"), lines...); differs != "" {
		t.Fatal(differs)
	}
	_, seen := client.Get(t, lines...)
	for _, l := range seen.Lines {
		if string(l.Value) == "forged" {
			t.Errorf("%s of a client passed", l.Name)
		}
	}
	if got := seen.Get(edgetest.Header); len(got) != 1 || got[0] != "bob" {
		t.Errorf("%s is %q, want bob once", edgetest.Header, got)
	}
}

func TestTwoIdentityLinesAreABadUser(t *testing.T) {
	s := example(t, nil)
	client := serve(t, s, Options{From: "base"})
	want := bucketmap.Decision{Datacenter: "legacy", Reason: bucketmap.ReasonBadUser}
	for _, second := range []string{"alice", "emp-1", ""} {
		if differs := edgetest.Differs(t, client, s, want, nil, user("emp-1"), user(second)); differs != "" {
			t.Errorf("second line %q: %s", second, differs)
		}
	}
}

func TestAStrangersIdentityIsNotBelieved(t *testing.T) {
	s := example(t, nil)
	for prefix, trusted := range map[string]bool{"10.0.0.0/8": false, "127.0.0.0/8": true} {
		client := serve(t, s, Options{From: "base", Trusted: []netip.Prefix{netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix(prefix)}})
		want, id := bucketmap.Decision{Datacenter: "legacy", Reason: bucketmap.ReasonNoUser}, ""
		if trusted {
			want, id = s.Decide([]byte("emp-1")), "emp-1"
		}
		if differs := edgetest.Differs(t, client, s, want, []byte(id), user("emp-1")); differs != "" {
			t.Errorf("%s: %s", prefix, differs)
		}
		_, seen := client.Get(t, user("emp-1"), edgetest.Line{Name: "X_User_Id", Value: []byte("emp-1")})
		if got := len(seen.Get(edgetest.Header)) + len(seen.Get("X_User_Id")); (got == 1) != trusted {
			t.Errorf("%s: %d identity lines passed", prefix, got)
		}
	}
}

func TestAHeldBucketIsAnswered503UntilItsDeadline(t *testing.T) {
	held, past := bucketmap.Bucket([]byte("emp-1"), 1024), bucketmap.Bucket([]byte("alice"), 1024)
	s := example(t, func(d *bucketmap.Draft) {
		now := time.Now().UTC().Truncate(time.Millisecond)
		d.Holds = []bucketmap.Hold{
			{First: held, Last: held, Move: "m-1", Until: now.Add(time.Hour)},
			{First: past, Last: past, Move: "m-2", Until: now.Add(-time.Millisecond)},
			{Shard: "beta", Move: "m-3", Until: now.Add(time.Hour)},
		}
	})
	client := serve(t, s, Options{From: "base"})
	ofBeta := ""
	for i := 0; ofBeta == ""; i++ {
		id := fmt.Sprint("user-", i)
		if home, ok := s.Home(bucketmap.Bucket([]byte(id), 1024)); ok && home.Name == "beta" {
			ofBeta = id
		}
	}
	for _, id := range []string{"emp-1", ofBeta} {
		answer, _ := client.Get(t, user(id))
		if answer.Status != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: %d, Retry-After %q", id, answer.Status, answer.Header.Get("Retry-After"))
		}
	}
	if differs := client.Compare(t, s, []byte("alice")); differs != "" {
		t.Errorf("past the deadline: %s", differs)
	}
	ignoring := serve(t, s, Options{From: "base", IgnoreHolds: true})
	for _, id := range []string{"emp-1", ofBeta, "alice"} {
		if differs := ignoring.Compare(t, s, []byte(id)); differs != "" {
			t.Errorf("holds ignored: %s", differs)
		}
	}
}

func TestAHoldEndsAtItsDeadlineWithoutAReload(t *testing.T) {
	const lateMax = time.Second // by which the end may be seen late
	held := bucketmap.Bucket([]byte("emp-1"), 1024)
	// Again with a later deadline when the program was not up in time for it.
	for wait := 2 * time.Second; ; wait *= 4 {
		until := time.Now().UTC().Truncate(time.Millisecond).Add(wait)
		s := example(t, func(d *bucketmap.Draft) {
			d.Holds = []bucketmap.Hold{{First: held, Last: held, Move: "m-1", Until: until}}
		})
		client := serve(t, s, Options{From: "base"})
		refused := 0
		for {
			before := time.Now()
			answer, _ := client.Get(t, user("emp-1"))
			if answer.Status == http.StatusOK {
				if time.Now().Before(until) {
					t.Error("the hold ended before its deadline")
				}
				break
			}
			refused++
			if before.After(until.Add(lateMax)) {
				t.Fatal("the hold goes on past its deadline")
			}
			time.Sleep(5 * time.Millisecond) // only to ask less often
		}
		if refused > 0 {
			return
		}
		if wait > time.Minute {
			t.Fatal("the bucket was never held")
		}
	}
}

func TestAReloadTakesTheNextMapOver(t *testing.T) {
	s := example(t, nil)
	var dir string
	options := Options{From: "base"}
	p := edgeIn(&dir, options)(t, s, edgetest.Upstreams(t, s))
	edgetest.Reload(t, p, syscall.SIGUSR2, s, "alice", "beta", func(next *bucketmap.Snapshot) error {
		_, err := Export(filepath.Join(dir, folderOf), next, options)
		return err
	})
}

func TestNamesAreTheOperators(t *testing.T) {
	s := example(t, nil)
	options := Options{From: "base", Section: "edge-1", Backends: map[bucketmap.Datacenter]string{"cloud": "be_legacy", "legacy": "be_cloud"}}
	client := serve(t, s, options)
	_, seen := client.Get(t, user("emp-1"))
	if seen.Upstream != "legacy" || seen.Get("Drover-Datacenter")[0] != "cloud" {
		t.Errorf("%+v, want cloud, by the backend be_legacy", seen)
	}
}

func TestAUserWhomNoHeaderCarriesIsALossThatMustBeAllowed(t *testing.T) {
	s := example(t, func(d *bucketmap.Draft) {
		for _, id := range []string{"a\x00", "b\n", "c\r", " d", "e\t", "f g", "#h", "i\x01"} {
			d.Whitelist[id] = "cloud"
		}
	})
	dir := t.TempDir()
	report, err := Export(dir, s, Options{})
	if !errors.Is(err, ErrLoss) || report.Unreachable != 5 || len(report.UnreachableFirst) != 5 {
		t.Fatalf("%+v, %v; want a loss of 5", report, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Fatalf("%v, %v; want nothing written", entries, err)
	}
	report, err = Export(dir, s, Options{AllowLoss: true})
	if err != nil || report.Unreachable != 5 || report.Whitelist != 9 {
		t.Fatalf("%+v, %v; want it exported", report, err)
	}
}

func TestOptionsThatWouldBreakAConfigurationAreRefused(t *testing.T) {
	s := example(t, nil)
	for name, o := range map[string]Options{
		"header":         {Header: "X-User Id"},
		"header's end":   {Header: "X-User\nId"},
		"drover header":  {Header: "Drover-User"},
		"prefix":         {Prefix: "a) b("},
		"section":        {Section: "a b"},
		"from":           {From: "a\nfrontend b"},
		"backend":        {Backends: map[bucketmap.Datacenter]string{"cloud": "a b"}},
		"no datacenter":  {Backends: map[bucketmap.Datacenter]string{"mars": "be_mars"}},
		"trusted prefix": {Trusted: []netip.Prefix{{}}},
	} {
		if _, err := Export(t.TempDir(), s, o); err == nil {
			t.Errorf("%s: exported", name)
		}
	}
}
