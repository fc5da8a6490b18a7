package worker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/worker"
	"drover/tools/testservers"
)

// seen is what an upstream got, as it tells.
type seen struct {
	Upstream bucketmap.Datacenter
	Method   string
	Target   string
	Host     string
	Header   http.Header
	Body     string
	Bytes    []byte // of the header X-Bytes
}

// rig is a Worker under workerd, and an upstream for each datacenter, which
// answers what it got unless it was told something else.
type rig struct {
	t      *testing.T
	addr   string
	client *http.Client
	asked  map[bucketmap.Datacenter]*atomic.Int32
}

// start exports a map, runs it, and gives the datacenters upstreams of which
// those in handlers do as they were told.
func start(t *testing.T, s *bucketmap.Snapshot, o worker.Options, handlers map[bucketmap.Datacenter]http.HandlerFunc) *rig {
	t.Helper()
	return startOn(t, "workerd", s, o, handlers)
}

// startOn makes the Worker take its platform for another one.
func startOn(t *testing.T, platform string, s *bucketmap.Snapshot, o worker.Options, handlers map[bucketmap.Datacenter]http.HandlerFunc) *rig {
	t.Helper()
	r, _ := startAs(t, platform, s, o, handlers, func(dir string, s *bucketmap.Snapshot, o worker.Options) (*worker.Bundle, error) {
		return nil, worker.Export(dir, s, o)
	})
	return r
}

// startBuilt builds and writes by itself, and returns what it built: with the
// largest map a second time takes long.
func startBuilt(t *testing.T, s *bucketmap.Snapshot, o worker.Options) (*rig, *worker.Bundle) {
	t.Helper()
	return startAs(t, "workerd", s, o, nil, func(dir string, s *bucketmap.Snapshot, o worker.Options) (*worker.Bundle, error) {
		b, err := worker.Build(s, o)
		if err != nil {
			return nil, err
		}
		return b, b.Write(dir)
	})
}

// exporter writes a Worker of a map into a folder.
type exporter func(dir string, s *bucketmap.Snapshot, o worker.Options) (*worker.Bundle, error)

func startAs(t *testing.T, platform string, s *bucketmap.Snapshot, o worker.Options, handlers map[bucketmap.Datacenter]http.HandlerFunc,
	export exporter) (*rig, *worker.Bundle) {
	t.Helper()
	r := &rig{t: t, asked: map[bucketmap.Datacenter]*atomic.Int32{}}
	o.Upstreams = map[bucketmap.Datacenter]string{}
	for _, d := range s.Datacenters() {
		handler, asked := handlers[d], new(atomic.Int32)
		if handler == nil {
			handler = echo(d)
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			asked.Add(1)
			handler(w, request)
		}))
		t.Cleanup(server.Close)
		r.asked[d], o.Upstreams[d] = asked, server.URL
	}
	dir := t.TempDir()
	bundle, err := export(dir, s, o)
	must(t, err)
	settings := filepath.Join(dir, "workerd.capnp")
	text, err := os.ReadFile(settings)
	must(t, err)
	must(t, os.WriteFile(settings, []byte(strings.Replace(string(text), `text = "workerd"`, fmt.Sprintf("text = %q", platform), 1)), 0o600))
	r.addr = serve(t, dir)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	r.client = &http.Client{
		Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return r, bundle
}

func echo(d bucketmap.Datacenter) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		// What an application says to the edge is not for clients.
		w.Header().Set("Drover-Secret", "of the application")
		_ = json.NewEncoder(w).Encode(seen{d, request.Method, request.RequestURI, request.Host, request.Header, string(body), []byte(request.Header.Get("X-Bytes"))})
	}
}

// misdirected answers that the user is elsewhere, at the datacenter if one is
// named.
func misdirected(at string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Drover-Map-Version", "1")
		if at != "" {
			w.Header().Set("Drover-Datacenter", at)
		}
		w.WriteHeader(http.StatusMisdirectedRequest)
	}
}

// reply is an answer's head.
type reply struct {
	StatusCode    int
	Status        string
	Header        http.Header
	ContentLength int64
}

// do sends a request and returns the answer and its body.
func (r *rig) do(method, target, body string, headers ...string) (reply, string) {
	r.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	return r.send(method, target, reader, headers...)
}

func (r *rig) send(method, target string, body io.Reader, headers ...string) (reply, string) {
	r.t.Helper()
	request, err := http.NewRequest(method, "http://"+r.addr, body)
	if err != nil {
		r.t.Fatal(err)
	}
	request.URL.Opaque = target // as it is, also where it is no good URL
	if strings.HasPrefix(target, "//") {
		request.URL.Opaque, request.URL.Path = "", target // an opaque one would be taken for a host
	}
	for pair := range slices.Chunk(headers, 2) {
		request.Header[pair[0]] = append(request.Header[pair[0]], pair[1])
	}
	answer, err := r.client.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	for name := range answer.Header {
		if name == "Drover-Secret" {
			r.t.Errorf("%s %s: the client sees %s", method, target, name)
		}
	}
	return reply{answer.StatusCode, answer.Status, answer.Header, answer.ContentLength}, string(text)
}

// get sends a request that an upstream must answer, and returns what that got.
func (r *rig) get(target string, headers ...string) seen {
	r.t.Helper()
	answer, text := r.do(http.MethodGet, target, "", headers...)
	return r.read(answer, text)
}

func (r *rig) read(answer reply, text string) seen {
	r.t.Helper()
	var got seen
	if err := json.Unmarshal([]byte(text), &got); err != nil || answer.StatusCode != http.StatusOK {
		r.t.Fatalf("%s: %s: %v", answer.Status, text, err)
	}
	return got
}

// routed is what the edge tells the application, in short.
func (s seen) routed() string {
	return fmt.Sprintf("%s %s user=%q bucket=%s version=%s", s.Header.Get("Drover-Datacenter"), s.Header.Get("Drover-Route"),
		s.Header.Get("Drover-User"), s.Header.Get("Drover-Bucket"), s.Header.Get("Drover-Map-Version"))
}

// want checks where a request went, and what the application was told.
func (s seen) want(t *testing.T, what string, want string) {
	t.Helper()
	if got := s.routed(); got != want || string(s.Upstream) != s.Header.Get("Drover-Datacenter") {
		t.Errorf("%s: at %s: %s\nwant %s", what, s.Upstream, got, want)
	}
}

// told returns what the application must be told of a decision.
func told(s *bucketmap.Snapshot, user string, d bucketmap.Decision) string {
	bucket := ""
	if d.HasBucket {
		bucket = fmt.Sprint(d.Bucket)
	} else {
		user = ""
	}
	return fmt.Sprintf("%s %s user=%q bucket=%s version=%d", d.Datacenter, d.Reason, user, bucket, s.Version())
}

// halves is a map of 16 buckets, the first half in legacy and the second in
// cloud, and one user of the whitelist.
func halves(t testing.TB, edit func(*bucketmap.Draft)) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(16)
	d.Version = bucketmap.VersionMax
	d.Default = bucketmap.Default{Auto: true, Source: "legacy", Target: "cloud", Datacenter: "legacy"}
	must(t, d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	must(t, d.PutShard(bucketmap.Shard{Name: "beta", Datacenter: "cloud"}))
	must(t, d.SetHome(0, 7, "alpha"))
	must(t, d.SetHome(8, 15, "beta"))
	d.Whitelist["emp-1"] = "cloud"
	if edit != nil {
		edit(d)
	}
	s, err := d.Snapshot()
	must(t, err)
	return s
}

// userOf returns a user of a bucket.
func userOf(s *bucketmap.Snapshot, want func(bucketmap.Decision) bool) string {
	for i := 0; ; i++ {
		user := fmt.Sprintf("user-%d", i)
		if want(s.Decide([]byte(user))) {
			return user
		}
	}
}

func at(datacenter bucketmap.Datacenter) func(bucketmap.Decision) bool {
	return func(d bucketmap.Decision) bool { return d.Datacenter == datacenter }
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve runs an export and returns its address.
func serve(t *testing.T, dir string) string {
	t.Helper()
	return testservers.StartWorkerd(t, dir).Addr()
}
