package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/shardlib/fence"
	"drover/tools/sampleapp/schema"
	"drover/tools/testservers"
)

const testBuckets = 64

var servers struct {
	alpha *testservers.MariaDB
	cache *testservers.Memcached
}

func TestMain(m *testing.M) { os.Exit(withServers(m)) }

func withServers(m *testing.M) (code int) {
	ctx := context.Background()
	fleet, err := testservers.New(ctx, testservers.Options{})
	if err == nil {
		defer func() {
			err := fleet.Close()
			if code == 0 {
				err = errors.Join(err, goleak.Find())
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}()
		if servers.alpha, err = fleet.MariaDB(ctx, "alpha", testservers.MariaDBOptions{}); err == nil {
			servers.cache, err = fleet.Memcached(ctx, "cache")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// site is one test's shard, map and shard list.
type site struct {
	t      testing.TB
	db     *sql.DB // as root
	store  *file.Store
	config Configuration
}

var sites atomic.Int32

func newSite(t testing.TB) *site {
	t.Helper()
	name := fmt.Sprintf("site_%d", sites.Add(1))
	if err := servers.alpha.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, config: defaults()}
	var err error
	if s.db, err = servers.alpha.Open(testservers.AccountRoot, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.db.Close() })
	for _, statement := range schema.Statements(testBuckets) {
		s.must(statement)
	}
	if err := errors.Join(fence.Create(t.Context(), s.db), fence.Activate(t.Context(), s.db, 0, testBuckets-1)); err != nil {
		t.Fatal(err)
	}

	s.config.MapDir = t.TempDir()
	if s.store, err = file.Open(s.config.MapDir, file.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.store.Close() })
	d := bucketmap.NewDraft(testBuckets)
	d.Default.Datacenter = "legacy"
	if err := errors.Join(d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}), d.SetHome(0, testBuckets-1, "alpha")); err != nil {
		t.Fatal(err)
	}
	first, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.store.Publish(t.Context(), first, bucketmap.Change{Who: "test", Why: "first"}); err != nil {
		t.Fatal(err)
	}
	s.config.Shards = filepath.Join(t.TempDir(), "shards.yaml")
	list := fmt.Sprintf("database: %s\nshards:\n  alpha: {legacy: %q}\ncaches:\n  legacy: [%q]\n", name, servers.alpha.Addr(), servers.cache.Addr())
	if err := os.WriteFile(s.config.Shards, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	s.config.Account.User, s.config.Account.Password = testservers.AccountApp, testservers.Password
	return s
}

func (s *site) must(query string, args ...any) {
	s.t.Helper()
	if _, err := s.db.ExecContext(s.t.Context(), query, args...); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

func (s *site) setState(user string, state fence.State) {
	s.t.Helper()
	s.must("UPDATE "+fence.Table+" SET state = ? WHERE bucket = ?", string(state), bucketmap.Bucket([]byte(user), testBuckets))
}

// instance is one running sampleapp.
type instance struct {
	t      testing.TB
	url    string
	client *http.Client
	stop   func() error // SIGTERM, and the end; only the first call does anything
}

func (s *site) start(datacenter, fence string) *instance {
	s.t.Helper()
	c := s.config
	c.Datacenter, c.Fence, c.Instance = datacenter, fence, datacenter+"-1"
	if err := c.validate(); err != nil {
		s.t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, c, listener, zap.NewNop()) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	i := &instance{t: s.t, url: "http://" + listener.Addr().String(), client: &http.Client{Transport: transport, Timeout: 30 * time.Second}}
	i.stop = sync.OnceValue(func() error {
		cancel()
		defer transport.CloseIdleConnections()
		return <-ended
	})
	s.t.Cleanup(func() {
		if err := i.stop(); err != nil {
			s.t.Error(err)
		}
	})
	return i
}

type reply struct {
	status int
	header http.Header

	Total     int64  `json:"total"`
	Duplicate bool   `json:"duplicate"`
	Instance  string `json:"instance"`
	Shard     string `json:"shard"`
	Outcome   string `json:"outcome"`

	Steps, Requests int64 // of a day

	Name          string `json:"name"`
	LifetimeSteps int64  `json:"lifetime_steps"`
	Updates       int64  `json:"updates"`
}

func (i *instance) do(method, path, user, body string, headers ...string) (reply, error) {
	request, err := http.NewRequestWithContext(i.t.Context(), method, i.url+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Drover-User", user)
	for n := 0; n < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
	}
	response, err := i.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, err
	}
	a := reply{status: response.StatusCode, header: response.Header}
	if err := json.Unmarshal(text, &a); err != nil && len(bytes.TrimSpace(text)) != 2 { // ok
		return reply{}, fmt.Errorf("%s: %w", text, err)
	}
	return a, nil
}

const today = "2026-11-21"

func (i *instance) add(user, id string, steps int, headers ...string) (int, reply) {
	i.t.Helper()
	a, err := i.do("POST", "/1/user/-/steps", user, fmt.Sprintf(`{"request_id": %q, "day": %q, "steps": %d}`, id, today, steps), headers...)
	if err != nil {
		i.t.Error(err)
		return 0, a
	}
	return a.status, a
}

func (i *instance) get(path, user string) reply {
	i.t.Helper()
	a, err := i.do("GET", path, user, "")
	if err != nil || a.status != http.StatusOK {
		i.t.Fatal(path, a, err)
	}
	return a
}

// 8 requests, and 20 with DROVER_SOAK=1.
func TestRepeatedRequestIsAppliedOnce(t *testing.T) {
	for _, mode := range []string{fenceLibrary, fenceTrigger} {
		t.Run(mode, func(t *testing.T) {
			s := newSite(t)
			s.installTriggers()
			instances := []*instance{s.start("legacy", mode), s.start("cloud", mode)}
			ids, repeats := rounds(8, 20), 6
			first := make([]atomic.Int32, ids)
			var all sync.WaitGroup
			for n := range ids * repeats {
				all.Go(func() {
					id, i := n%ids, instances[n%len(instances)]
					for range 50 { // until it is answered
						status, a := i.add("alice", fmt.Sprint("r", id), 10+id)
						if status == http.StatusServiceUnavailable && a.Outcome == "not_committed" {
							continue
						}
						if status != http.StatusOK {
							t.Errorf("status %d", status)
						} else if !a.Duplicate {
							first[id].Add(1)
						}
						return
					}
					t.Error("never answered")
				})
			}
			all.Wait()
			want := int64(0)
			for id := range ids {
				want += int64(10 + id)
				if n := first[id].Load(); n != 1 {
					t.Errorf("request %d was new %d times", id, n)
				}
			}
			day := instances[0].get("/1/user/-/steps/"+today, "alice")
			if day.Steps != want || day.Requests != int64(ids) {
				t.Errorf("got %d steps of %d requests, want %d of %d", day.Steps, day.Requests, want, ids)
			}
			if p := instances[1].get("/1/user/-/profile", "alice"); p.LifetimeSteps != want || p.Updates != int64(ids) {
				t.Errorf("the profile has %d steps of %d", p.LifetimeSteps, p.Updates)
			}
		})
	}
}

func (s *site) installTriggers() {
	s.t.Helper()
	for _, table := range schema.Tables() {
		if err := fence.Install(s.t.Context(), s.db, table, testBuckets, testservers.AccountDrover); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestDuplicateIsAnsweredAsTheFirstTime(t *testing.T) {
	i := newSite(t).start("legacy", fenceLibrary)
	if status, a := i.add("alice", "a", 5); status != 200 || a.Total != 5 || a.Duplicate || a.Shard != "alpha" || a.Instance != "legacy-1" {
		t.Fatal(status, a)
	}
	if status, a := i.add("alice", "b", 7); status != 200 || a.Total != 12 {
		t.Fatal(status, a)
	}
	if status, a := i.add("alice", "a", 99); status != 200 || a.Total != 5 || !a.Duplicate {
		t.Fatal(status, a)
	}
	if day := i.get("/1/user/-/steps/"+today, "alice"); day.Steps != 12 || day.Requests != 2 {
		t.Fatal(day)
	}
}

func TestFrozenBucketIs421AndNothingIsWritten(t *testing.T) {
	for _, c := range []struct {
		mode   string
		status int
		total  int64
	}{
		{fenceLibrary, http.StatusMisdirectedRequest, 5},
		{fenceTrigger, http.StatusMisdirectedRequest, 5},
		{fenceOff, http.StatusOK, 12}, // which is why the fence is there
	} {
		t.Run(c.mode, func(t *testing.T) {
			s := newSite(t)
			if c.mode == fenceTrigger {
				s.installTriggers()
			}
			i := s.start("legacy", c.mode)
			if status, _ := i.add("alice", "a", 5); status != http.StatusOK {
				t.Fatal(status)
			}
			s.setState("alice", fence.Frozen)
			a, err := i.do("POST", "/1/user/-/steps", "alice", `{"request_id": "b", "day": "2026-11-21", "steps": 7}`)
			if err != nil || a.status != c.status {
				t.Fatal(a, err)
			}
			if c.status == http.StatusMisdirectedRequest && (a.header.Get("Drover-Map-Version") != "1" || a.Outcome != "not_committed") {
				t.Errorf("%v, %+v", a.header, a)
			}
			if day := i.get("/1/user/-/steps/"+today, "alice"); day.Steps != c.total {
				t.Errorf("%d steps, want %d", day.Steps, c.total)
			}
		})
	}
}

// 10 writes of each user, and 25 with DROVER_SOAK=1.
func TestProfileIsReadYourWrites(t *testing.T) {
	s := newSite(t)
	instances := []*instance{s.start("legacy", fenceLibrary), s.start("cloud", fenceLibrary)}
	var users sync.WaitGroup
	for u := range 4 {
		users.Go(func() {
			user := fmt.Sprint("user", u)
			for n := range rounds(10, 25) {
				if status, _ := instances[n%2].add(user, fmt.Sprint(n), 1); status != http.StatusOK {
					t.Errorf("%s: status %d", user, status)
					return
				}
				for k := range 3 {
					p, err := instances[(n+k)%2].do("GET", "/1/user/-/profile", user, "")
					if err != nil || p.LifetimeSteps != int64(n+1) {
						t.Errorf("%s: wrote %d, read %d, %v", user, n+1, p.LifetimeSteps, err)
						return
					}
				}
			}
		})
	}
	users.Wait()
}

func TestNewerMapOfTheProxyIsWaitedFor(t *testing.T) {
	s := newSite(t)
	s.config.MapWait = 100 * time.Millisecond
	hasty := s.start("legacy", fenceLibrary)
	s.config.MapWait = 20 * time.Second
	patient := s.start("legacy", fenceLibrary)
	a, err := hasty.do("GET", "/1/user/-/profile", "alice", "", "Drover-Map-Version", "2")
	if err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.Outcome != "not_committed" {
		t.Fatal(a, err)
	}
	answered := make(chan int, 1)
	go func() {
		status, _ := patient.add("alice", "a", 1, "Drover-Map-Version", "2")
		answered <- status
	}()
	if _, err := bucketmap.Update(t.Context(), s.store, bucketmap.Change{Who: "test", Why: "whitelist"}, func(d *bucketmap.Draft) error {
		d.Whitelist["bob"] = "legacy"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if status := <-answered; status != http.StatusOK {
		t.Fatal(status)
	}
}

func TestRequestsUnderWayEndBeforeTheProgram(t *testing.T) {
	s := newSite(t)
	i := s.start("legacy", fenceLibrary)
	answered := make(chan int, 1)
	go func() {
		a, err := i.do("POST", "/1/user/-/steps?think_ms=2000", "alice", `{"request_id": "a", "day": "2026-11-21", "steps": 7}`)
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		answered <- a.status
	}()
	// Until it holds its transaction open. InnoDB renews what it shows of
	// transactions when nobody has looked for 100 ms.
	n := 0
	for deadline := time.Now().Add(10 * time.Second); n == 0 && time.Now().Before(deadline); time.Sleep(120 * time.Millisecond) {
		if err := s.db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 0").Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Fatal("the transaction was never seen")
	}
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	if status := <-answered; status != http.StatusOK {
		t.Fatal(status)
	}
}

func TestBadRequestsAreToldWhy(t *testing.T) {
	i := newSite(t).start("legacy", fenceLibrary)
	const steps = "/1/user/-/steps"
	for _, c := range []struct {
		method, path, user, body string
		status                   int
	}{
		{"POST", steps, "", `{"request_id": "a", "day": "2026-11-21", "steps": 1}`, 401},
		{"POST", steps, strings.Repeat("x", 257), `{"request_id": "a", "day": "2026-11-21", "steps": 1}`, 401},
		{"POST", steps, "alice", `{"request_id": "", "day": "2026-11-21", "steps": 1}`, 400},
		{"POST", steps, "alice", `{"request_id": "a", "day": "2026-02-30", "steps": 1}`, 400},
		{"POST", steps, "alice", `{"request_id": "a", "day": "2026-11-21", "steps": -1}`, 400},
		{"POST", steps, "alice", `{"request_id": "a", "day": "2026-11-21", "stops": 1}`, 400},
		{"POST", steps, "alice", `{"request_id": "` + strings.Repeat("a", 70_000) + `"}`, 400},
		{"POST", steps + "?think_ms=soon", "alice", `{"request_id": "a", "day": "2026-11-21", "steps": 1}`, 400},
		{"GET", steps + "/yesterday", "alice", "", 400},
	} {
		a, err := i.do(c.method, c.path, c.user, c.body)
		if err != nil || a.status != c.status {
			t.Errorf("%s %s %.60s: %v, %v", c.method, c.path, c.body, a, err)
		}
	}
	a, err := i.do("GET", "/healthz", "", "")
	if err != nil || a.status != http.StatusOK {
		t.Error(a, err)
	}
	a, err = i.do("GET", "/1/user/-/profile", "", "", "X-User-Id", "a job's")
	if err != nil || a.status != http.StatusOK {
		t.Error(a, err)
	}
}

func TestAnyUserIDIsKept(t *testing.T) {
	i := newSite(t).start("legacy", fenceLibrary)
	for n, user := range []string{"ü", "\xff\xfe", "a'b\\", "A", "a", "%", strings.Repeat("\xe9", 256)} {
		if status, a := i.add(user, "r", n+1); status != http.StatusOK || a.Total != int64(n+1) {
			t.Errorf("%q: %d, %+v", user, status, a)
		}
		if p := i.get("/1/user/-/profile", user); p.LifetimeSteps != int64(n+1) {
			t.Errorf("%q: %+v", user, p)
		}
	}
}

func TestSeedMakesProfilesQuickly(t *testing.T) {
	s := newSite(t)
	snapshot, err := s.store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const users = 5000
	start := time.Now()
	for range 2 { // the second time, all are there
		if err := schema.Seed(t.Context(), s.db, schema.Users(snapshot, "alpha", users)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d users, twice, in %v", users, time.Since(start))
	var n int
	if err := s.db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM profile").Scan(&n); err != nil || n != users {
		t.Fatal(n, err)
	}
	if p := s.start("legacy", fenceLibrary).get("/1/user/-/profile", "5000"); p.Name != "User 5000" {
		t.Fatal(p)
	}
}

func TestExampleConfigurationLoads(t *testing.T) {
	cmd := &cobra.Command{}
	var listen string
	cmd.Flags().StringVar(&listen, "listen", "", "")
	if err := cmd.Flags().Set("listen", "127.0.0.1:9"); err != nil {
		t.Fatal(err)
	}
	flags := defaults()
	flags.Listen = "127.0.0.1:9"
	c, err := merge(cmd, "sampleapp.yaml", flags)
	if err != nil || c.Listen != "127.0.0.1:9" || c.Instance != "legacy-1" {
		t.Fatal(c, err)
	}
	c.Fence, c.MapDir = "none", ""
	if err := c.validate(); err == nil || !strings.Contains(err.Error(), "fence") || !strings.Contains(err.Error(), "map_dir") {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"schema", "--buckets", "4096"}, &out, io.Discard); err != nil || !strings.Contains(out.String(), "CRC32(user_id) % 4096") {
		t.Fatal(out.String(), err)
	}
	for _, args := range [][]string{{"schema", "--buckets", "0"}, {"--fence", "none"}, {"--nonsense"}, {"surplus"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

// run runs the program as a command line does.
func run(ctx context.Context, args []string, out, messages io.Writer) error {
	c := command(out, messages)
	c.SetArgs(args)
	return c.ExecuteContext(ctx)
}

// BenchmarkRequests is a quarter writes, a quarter reads of the database and a
// half cached reads, the client on the same machine.
func BenchmarkRequests(b *testing.B) {
	s := newSite(b)
	i := s.start("legacy", fenceLibrary)
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			k := n.Add(1)
			user := fmt.Sprint(k / 4 % 1000)
			var err error
			switch k % 4 {
			case 0:
				if status, _ := i.add(user, fmt.Sprint(k), 1); status != http.StatusOK {
					err = fmt.Errorf("status %d", status)
				}
			case 1:
				_, err = i.do("GET", "/1/user/-/steps/"+today, user, "")
			default:
				_, err = i.do("GET", "/1/user/-/profile", user, "")
			}
			if err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "requests/s")
}
