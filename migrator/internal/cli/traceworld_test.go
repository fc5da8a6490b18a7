package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/migrator/internal/tracer"
	"drover/tools/sampleapp/schema"
	"drover/tools/sources"
	"drover/tools/testservers"
)

// foundMax is how long a fault may go unseen.
const foundMax = 10 * time.Second

// traceWorld is a desktop with the sample application in both datacenters, and as
// many proxies as a test wants: real programs all.
type traceWorld struct {
	*desktop
	bin         string
	apps        map[string]string // addresses, by datacenter
	rate, grace string            // of the tracers
}

func newTraceWorld(t *testing.T) *traceWorld {
	t.Helper()
	both, n := takeServers(t)
	w := &traceWorld{desktop: &desktop{t: t, dir: t.TempDir(), database: fmt.Sprintf("tracers%d", n), alpha: both[0], gamma: both[1]}, apps: map[string]string{},
		rate: "40", grace: "1s"}
	w.bin = w.path("bin")
	built := make(chan error, 1)
	go func() { built <- sources.Build(t.Context(), w.bin, "proxy", "tools/sampleapp") }()
	for _, m := range both {
		must(t, m.Exec(t.Context(), append([]string{"CREATE DATABASE " + w.database, "USE " + w.database}, schema.Statements(64)...)...))
	}
	w.write("shards.yaml", fmt.Sprintf("database: %s\nshards:\n  alpha: {legacy: %q}\n  gamma: {cloud: %q}\n", w.database, w.alpha.Addr(), w.gamma.Addr()))
	w.tracers("")
	w.want(0, []string{"init", "--buckets", "64", "--shard", "alpha=legacy", "--shard", "gamma=cloud",
		"--home", "alpha=0-47", "--home", "gamma=48-63", "--source", "legacy", "--target", "cloud"}, "map version 1 is published")
	w.want(0, []string{"fence", "install"})
	w.want(0, []string{"whitelist", "add", "--to", "cloud", "tracer-cloud"})
	must(t, <-built)
	for _, dc := range []string{"legacy", "cloud"} {
		w.apps[dc] = w.app(dc)
	}
	return w
}

// in is the world for a part of a test.
func (w *traceWorld) in(t *testing.T) *traceWorld {
	part, desk := *w, *w.desktop
	desk.t, part.desktop = t, &desk
	return &part
}

// tracers writes the migrator's configuration, with the proxies that tracers go
// through.
func (w *traceWorld) tracers(proxies string) {
	w.t.Helper()
	w.write("migrator.yaml", fmt.Sprintf(`map: {store: file, dir: map}
shards: shards.yaml
account: {user: %s, password: %s}
tables:
  - {name: steps, bucket_column: bucket}
  - {name: request, bucket_column: bucket}
  - {name: profile, user_column: user_id}
tracers:
  proxies: [%s]
  rate: %s
  grace: %s
  headers: {X-User-Id: "{user}"}
  write:
    method: POST
    path: /1/user/-/steps
    body: '{"request_id": "{id}", "day": "{date}", "steps": 1}'
    datacenter: json:datacenter
    shard: json:shard
    instance: json:instance
    count: json:total
    duplicate: json:duplicate
  read:
    method: GET
    path: /1/user/-/steps/{date}
    count: json:requests
`, testservers.AccountDrover, testservers.Password, proxies, w.rate, w.grace))
}

// app starts a sample application that says that it is of a datacenter, and
// returns its address.
func (w *traceWorld) app(datacenter string) string {
	address, _ := w.start("sampleapp", "--listen", "127.0.0.1:0", "--datacenter", datacenter, "--instance", datacenter+"-1", "--map-dir", w.path("map"),
		"--shards", w.path("shards.yaml"), "--user", testservers.AccountApp, "--password", testservers.Password)
	return address
}

// edgeOptions are what the proxies of the tests differ in.
type edgeOptions struct {
	dir           string // of the map; empty: the world's
	legacy, cloud string // upstreams; empty: the world's
	hidden        bool   // the headers, so that only the admin server tells
	headersOnly   bool   // the tracers are not told the admin server
}

// proxy starts a proxy and returns its entry in tracers.proxies.
func (w *traceWorld) proxy(id string, o edgeOptions) string {
	w.t.Helper()
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	config := w.write(id+".yaml", fmt.Sprintf(`listen: "127.0.0.1:0"
admin: {listen: "127.0.0.1:0"}
id: %s
map: {dir: %q, max_change: 0}
identity: [{header: X-User-Id}]
datacenters:
  legacy: {upstreams: [%q]}
  cloud: {upstreams: [%q]}
expose_headers: %t
passport: {slow: 1ms}
`, id, or(o.dir, w.path("map")), or(o.legacy, w.apps["legacy"]), or(o.cloud, w.apps["cloud"]), !o.hidden))
	client, admin := w.start("proxy", "--config", config)
	if o.headersOnly {
		return fmt.Sprintf("{name: %s, url: %q}", id, "http://"+client)
	}
	return fmt.Sprintf("{name: %s, url: %q, admin: %q}", id, "http://"+client, "http://"+admin)
}

// start starts a program, waits until it listens, and ends it with the test.
func (w *traceWorld) start(program string, args ...string) (address, admin string) {
	w.t.Helper()
	command := exec.Command(filepath.Join(w.bin, program), args...)
	stderr, err := command.StderrPipe()
	must(w.t, err)
	must(w.t, command.Start())
	listening := make(chan [2]string, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(listening)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var l struct {
				Message, Address, Admin string
				Clients                 []string
			}
			if json.Unmarshal(lines.Bytes(), &l) == nil && l.Message == "listening" {
				listening <- [2]string{strings.Join(append(l.Clients, l.Address), ""), l.Admin}
				break
			}
		}
		_, _ = io.Copy(io.Discard, stderr)
	})
	w.t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		reading.Wait()
		if err := command.Wait(); err != nil {
			w.t.Errorf("%s: %v", program, err)
		}
	})
	select {
	case at, ok := <-listening:
		if ok {
			return at[0], at[1]
		}
		w.t.Fatalf("%s %v does not listen", program, args)
	case <-time.After(time.Minute):
		w.t.Fatalf("%s %v does not listen within a minute", program, args)
	}
	return "", ""
}

// watch is a migrator trace --all --watch that is under way.
type watch struct {
	t       *testing.T
	mu      sync.Mutex
	results []tracer.Result
	more    chan struct{}
	stop    context.CancelFunc
	ended   chan int
	errOut  bytes.Buffer
}

func (w *traceWorld) watch(proxies ...string) *watch {
	w.t.Helper()
	w.tracers(strings.Join(proxies, ", "))
	in, out := io.Pipe()
	ctx, stop := context.WithCancel(w.t.Context())
	r := &watch{t: w.t, more: make(chan struct{}, 1), stop: stop, ended: make(chan int, 1)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			var result tracer.Result
			if json.Unmarshal(lines.Bytes(), &result) == nil && result.Outcome != "" { // else the status at the end
				r.mu.Lock()
				r.results = append(r.results, result)
				r.mu.Unlock()
				select {
				case r.more <- struct{}{}:
				default:
				}
			}
		}
	}()
	go func() {
		code := Run(ctx, Environment{Args: []string{"trace", "--all", "--watch", "-o", "json"}, Out: out, Err: &r.errOut, Who: "tester", Config: w.path("migrator.yaml")})
		_ = out.Close()
		<-read
		r.ended <- code
	}()
	return r
}

// until waits for a result, and says how long that took.
func (r *watch) until(what string, is func(tracer.Result) bool) time.Duration {
	r.t.Helper()
	began, late := time.Now(), time.After(foundMax)
	r.mu.Lock()
	seen := len(r.results)
	r.mu.Unlock()
	for {
		r.mu.Lock()
		for ; seen < len(r.results); seen++ {
			if is(r.results[seen]) {
				r.mu.Unlock()
				return time.Since(began)
			}
		}
		r.mu.Unlock()
		select {
		case <-r.more:
		case code := <-r.ended:
			r.t.Fatalf("%s: migrator trace ended with %d: %s", what, code, &r.errOut)
		case <-late:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("%s: not within %s; the last results: %+v", what, foundMax, r.results[max(0, len(r.results)-4):])
		}
	}
}

// end interrupts it, and returns the exit code.
func (r *watch) end() int {
	r.t.Helper()
	r.stop()
	return <-r.ended
}

// bad are the results that were not right.
func (r *watch) bad() (bad []tracer.Result) {
	for _, result := range r.results {
		if result.Outcome != tracer.Right {
			bad = append(bad, result)
		}
	}
	return bad
}

// outcome finds results of a proxy with an outcome, and words in their reason.
func outcome(proxy string, o tracer.Outcome, word string) func(tracer.Result) bool {
	return func(r tracer.Result) bool {
		return r.Proxy == proxy && r.Outcome == o && strings.Contains(r.Why, word)
	}
}

// copied is a copy of the map's folder, as a store that is cut off has it.
func (w *traceWorld) copied(name string) string {
	w.t.Helper()
	must(w.t, os.CopyFS(w.path(name), os.DirFS(w.path("map"))))
	return w.path(name)
}

// tracerOf is a tracer of a shard.
func (w *traceWorld) tracerOf(shard bucketmap.ShardName) (string, bucketmap.BucketID) {
	w.t.Helper()
	snap := w.load()
	for n := range 1000 {
		id := fmt.Sprintf("tracer-%d", n)
		b := bucketmap.Bucket([]byte(id), snap.Buckets())
		if home, ok := snap.Home(b); ok && home.Name == shard {
			return id, b
		}
	}
	w.t.Fatal("no id lives on", shard)
	return "", 0
}

// otherMap is a store whose newest map has the version that comes next, and
// another home for one bucket.
func (w *traceWorld) otherMap(name string, bucket bucketmap.BucketID) string {
	w.t.Helper()
	dir := w.copied(name)
	store, err := file.Open(dir, file.Options{})
	must(w.t, err)
	defer func() { must(w.t, store.Close()) }()
	_, err = bucketmap.Update(w.t.Context(), store, bucketmap.Change{Who: "somebody", Why: "by hand"}, func(d *bucketmap.Draft) error {
		return d.SetHome(bucket, bucket, "gamma")
	})
	must(w.t, err)
	return dir
}
