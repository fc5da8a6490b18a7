package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drover/bucketmap"
	report "drover/internal/parity"
	"drover/internal/testrun"
	"drover/migrator/internal/campaign"
	"drover/tools/sources"
	"drover/tools/testservers"
)

// judgedWorld is a desktop with a real proxy before an application in each
// datacenter, users who keep asking, and, between the proxy's page of metrics and
// the campaign, a server that a test spoils.
type judgedWorld struct {
	*traceWorld
	admin   string // of the proxy, http://host:port
	page    *spoiler
	differs atomic.Bool // the answers of cloud
}

// stepOf is how many buckets a step of the campaigns here has.
const stepOf = 2

func newJudgedWorld(t *testing.T) *judgedWorld {
	t.Helper()
	w := &judgedWorld{traceWorld: &traceWorld{desktop: ready(t)}}
	w.bin = w.path("bin")
	must(t, sources.Build(t.Context(), w.bin, "proxy"))
	app := func(datacenter string) string {
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(rw, `{"steps": %d}`, map[bool]int{true: 8, false: 7}[datacenter == "cloud" && w.differs.Load()])
		}))
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	config := w.write("edge.yaml", fmt.Sprintf(`listen: "127.0.0.1:0"
admin: {listen: "127.0.0.1:0"}
id: edge-1
map: {dir: %q, max_change: 0}
identity: [{header: X-User-Id}]
datacenters:
  legacy: {upstreams: [%q]}
  cloud: {upstreams: [%q]}
cohort: {window: 1m}
mirror: {share: 1, datacenters: [legacy, cloud]}
`, w.path("map"), app("legacy"), app("cloud")))
	client, admin := w.start("proxy", "--config", config)
	w.admin = "http://" + admin
	w.page = newSpoiler(t, w.admin+"/metrics")
	w.write("migrator.yaml", fmt.Sprintf(`map: {store: file, dir: map}
shards: shards.yaml
account: {user: %s, password: %s}
tables:
  - {name: steps, bucket_column: bucket}
  - {name: profile, user_column: user_id}
slo:
  source: {kind: proxies, urls: [%q], timeout: 2s, max_age: 1500ms}
  windows:
    page: [{burn: 14.4, long: 8s, short: 4s}]
    ticket: [{burn: 1, long: 16s, short: 8s}]
  objectives:
    - {name: availability, kind: availability, target: 0.99, min_events: 3}
    - {name: latency, kind: latency, target: 0.9, threshold: 1s, min_events: 3}
`, testservers.AccountDrover, testservers.Password, w.page.url))
	w.asks("http://" + client)
	return w
}

// asks has a user of each step ask again and again, until the test ends: 200
// requests a second.
func (w *judgedWorld) asks(edge string) {
	var users []string
	for n := 0; len(users) < 64/stepOf; n++ {
		id := fmt.Sprintf("user-%d", n)
		if bucketmap.Bucket([]byte(id), 64) == bucketmap.BucketID(len(users)*stepOf) {
			users = append(users, id)
		}
	}
	const clients, pause = 4, 20 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for c := range clients {
		running.Go(func() {
			pace := testrun.NewPace(pause)
			defer pace.Stop()
			for n := c; pace.Wait(ctx); n += clients {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, edge+"/1/steps", nil)
				if err != nil {
					w.t.Error(err)
					return
				}
				r.Header.Set("X-User-Id", users[n%len(users)])
				if answer, err := http.DefaultClient.Do(r); err == nil {
					_, _ = io.Copy(io.Discard, answer.Body) // what it says, the proxy has counted
					answer.Body.Close()
				}
			}
		})
	}
	w.t.Cleanup(func() { cancel(); running.Wait() })
}

// file is what a file of the world has.
func (w *judgedWorld) file(name string) []byte {
	w.t.Helper()
	text, err := os.ReadFile(w.path(name))
	must(w.t, err)
	return text
}

// planned begins a campaign that moves a few buckets of alpha at a time.
func (w *judgedWorld) planned(gate string) {
	w.t.Helper()
	plan := w.path("plan.yaml")
	w.want(0, []string{"campaign", "plan", "--to", "cloud", "--rate", "10000000", "--rate-max", "100000000", "--into", "gamma", "--out", plan + ".all", "--force"})
	text := string(w.file("plan.yaml.all"))
	head, _, ok := strings.Cut(text, "waves:\n")
	if !ok {
		w.t.Fatal(text)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%swaves:\n- name: few\n  kind: buckets\n  gate: {%s}\n  steps:\n", head, gate)
	snap := w.load()
	for first := bucketmap.BucketID(0); first < 64; first += stepOf {
		if home, _ := snap.Home(first); home.Name == "alpha" {
			fmt.Fprintf(&b, "  - {buckets: %d-%d, from: alpha, to: gamma}\n", first, first+stepOf-1)
		}
	}
	w.write("plan.yaml", b.String())
	w.want(0, []string{"campaign", "apply", plan})
}

// runs runs the campaign beside the test.
func (w *judgedWorld) runs() chan ran {
	ended := make(chan ran, 1)
	go func() {
		var out, errOut bytes.Buffer
		code := Run(w.t.Context(), Environment{Args: []string{"campaign", "run", "--proxy", w.admin}, Out: &out, Err: &errOut, Who: "runner", Config: w.path("migrator.yaml")})
		ended <- ran{code, out.String(), errOut.String()}
	}()
	return ended
}

// entries is the journal of the campaign.
func (w *judgedWorld) entries() []campaign.Entry {
	w.t.Helper()
	var all []campaign.Entry
	lines := json.NewDecoder(bytes.NewReader(w.file("campaign/" + w.campaignStatus().Campaign + "/journal.jsonl")))
	for lines.More() {
		var e campaign.Entry
		must(w.t, lines.Decode(&e))
		all = append(all, e)
	}
	return all
}

// mirrored is what the proxy has compared so far.
func (w *judgedWorld) mirrored() report.Counts {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.admin+"/mirror", nil)
	must(w.t, err)
	answer, err := http.DefaultClient.Do(r)
	must(w.t, err)
	defer answer.Body.Close()
	var all report.Report
	must(w.t, json.NewDecoder(answer.Body).Decode(&all))
	return all.Total
}

// spoiler passes a page on, or spoils it.
type spoiler struct {
	t      *testing.T
	source string
	url    string
	addr   string

	mu     sync.Mutex
	spoil  func(page string) string
	answer http.HandlerFunc // in the page's place
	server *http.Server     // nil: nobody listens
	ended  chan struct{}
}

func newSpoiler(t *testing.T, source string) *spoiler {
	s := &spoiler{t: t, source: source, addr: "127.0.0.1:0"}
	s.listen()
	s.url = "http://" + s.addr + "/metrics"
	t.Cleanup(s.kill)
	return s
}

func (s *spoiler) listen() {
	s.t.Helper()
	var l net.Listener
	testrun.Until(s.t, "the port is free", func() (err error) {
		l, err = new(net.ListenConfig).Listen(s.t.Context(), "tcp", s.addr)
		return err
	})
	s.addr = l.Addr().String()
	server, ended := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}, make(chan struct{})
	s.mu.Lock()
	s.server, s.ended = server, ended
	s.mu.Unlock()
	go func() {
		defer close(ended)
		_ = server.Serve(l) // until kill
	}()
}

// kill ends the server and its connections.
func (s *spoiler) kill() {
	s.mu.Lock()
	server, ended := s.server, s.ended
	s.server = nil
	s.mu.Unlock()
	if server != nil {
		_ = server.Close()
		<-ended
	}
}

func (s *spoiler) set(spoil func(string) string, answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil, s.answer = spoil, answer
}

func (s *spoiler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	spoil, answer := s.spoil, s.answer
	s.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.source, nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	page, err := http.DefaultClient.Do(request)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer page.Body.Close()
	text, _ := io.ReadAll(page.Body) // half of it is no page, which is found
	if spoil != nil {
		text = []byte(spoil(string(text)))
	}
	_, _ = w.Write(text)
}
