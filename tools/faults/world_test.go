package faults

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/consul"
	"drover/bucketmap/file"
	"drover/bucketmap/yaml"
	"drover/internal/testrun"
	"drover/tools/testservers"
)

const (
	buckets = 64
	// good is the version in force before the fault.
	good = 3
	// nobody is the user as whom a proxy runs that must be denied something.
	nobody = 65534
)

// users are where each must be answered, whatever happens. A fault's map may
// say anything but this.
var users = map[string]string{"bob": "legacy", "ann": "cloud", "emp": "cloud", "": "legacy"}

// world is one fault's: a folder, a store, and one proxy after another.
type world struct {
	testing.TB
	fault  *fault
	known  row // what the page says of it
	dir    string
	edge   *edge
	consul *testservers.Consul
	prefix string
	sign   ed25519.PrivateKey
	verify ed25519.PublicKey
	maps   map[bucketmap.Version]*bucketmap.Snapshot // 1 to good, and the next
	as     *syscall.Credential
	full   bool              // the disk, for who starts from here on
	kept   map[string][]byte // what was taken away, to be put back
	aside  func()            // ends what serves in another's place
}

func newWorld(t testing.TB, f *fault) *world {
	w := &world{TB: t, fault: f, dir: t.TempDir(), consul: shared.consul, prefix: "faults/" + rand.Text(), kept: map[string][]byte{},
		maps: map[bucketmap.Version]*bucketmap.Snapshot{}}
	var err error
	w.verify, w.sign, err = ed25519.GenerateKey(nil)
	must(t, err)
	w.makeMaps()
	if f.own != nil {
		w.consul = f.own(w)
	}
	w.write("proxy.yaml", w.proxyConfig())
	w.write("migrator.yaml", w.migratorConfig())
	w.write("shards.yaml", "database: app\nshards:\n  alpha: {legacy: \"127.0.0.1:1\"}\n  gamma: {cloud: \"127.0.0.1:2\"}\n")
	w.write("sign.key", base64.StdEncoding.EncodeToString(w.sign.Seed()))
	w.write("token", testservers.ConsulToken)
	w.publishGood()
	if f.denied {
		w.becomeNobody()
	}
	return w
}

func (w *world) makeMaps() {
	d := bucketmap.NewDraft(buckets)
	must(w, d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	must(w, d.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "cloud"}))
	must(w, d.SetHome(0, 31, "alpha"))
	must(w, d.SetHome(32, 63, "gamma"))
	d.Default = bucketmap.Default{Datacenter: "legacy"}
	d.Whitelist["emp"] = "cloud"
	d.Epochs[40] = 2
	now, err := d.Snapshot()
	must(w, err)
	w.maps[1] = now
	for v := bucketmap.Version(2); v <= good+2; v++ {
		w.maps[v] = w.after(w.maps[v-1], nil)
	}
}

// after returns the version after, with one user more, and what edit changes.
func (w *world) after(from *bucketmap.Snapshot, edit func(*bucketmap.Draft)) *bucketmap.Snapshot {
	w.Helper()
	d := from.Edit()
	d.Whitelist[fmt.Sprintf("more-%d", d.Version)] = "cloud"
	if edit != nil {
		edit(d)
	}
	d.Declare(from)
	next, err := d.Snapshot()
	must(w, err)
	return next
}

func (w *world) path(names ...string) string {
	return filepath.Join(append([]string{w.dir}, names...)...)
}

func (w *world) mapFile() string { return w.path("map", "map.yaml") }

func (w *world) write(name, text string) {
	w.Helper()
	must(w, os.WriteFile(w.path(name), []byte(text), 0o644))
}

// text is the map for people.
func (w *world) text(v bucketmap.Version) string {
	w.Helper()
	text, err := yaml.Encode(w.maps[v])
	must(w, err)
	return string(text)
}

func (w *world) proxyConfig() string {
	var m string
	switch w.fault.store {
	case "file":
		m = "dir: " + w.path("map")
	case "consul":
		m = fmt.Sprintf("store: consul\n  consul: {address: %q, prefix: %q, token_file: %q}", w.consul.URL(), w.prefix, w.path("token"))
	case "push":
		m = "store: push"
	}
	if w.fault.signed {
		m += "\n  keys: [" + base64.StdEncoding.EncodeToString(w.verify) + "]"
	}
	return fmt.Sprintf(`listen: "127.0.0.1:0"
admin: {listen: "127.0.0.1:0"}
id: p1
map:
  %s
  cache: %s
identity: [{header: X-User-Id}]
datacenters:
  legacy: {upstreams: [%q]}
  cloud: {upstreams: [%q]}
passport: {sample: 0}
log: {level: info, format: json}
`, m, w.path("cache"), shared.apps["legacy"].Listener.Addr(), shared.apps["cloud"].Listener.Addr())
}

func (w *world) migratorConfig() string {
	m := "{store: file, dir: map}"
	if w.fault.store == "consul" {
		m = fmt.Sprintf("{store: consul, consul: {address: %q, prefix: %q, token_file: token}", w.consul.URL(), w.prefix)
		if w.fault.signed {
			w.write("verify.key", base64.StdEncoding.EncodeToString(w.verify))
			m += ", sign_key_file: sign.key, keys: [verify.key]"
		}
		m += "}"
	}
	return fmt.Sprintf("map: %s\nshards: shards.yaml\naccount: {user: nobody, password: none}\ntables: [{name: steps, bucket_column: bucket}]\n", m)
}

// becomeNobody gives the folder to another user, as whom the proxy will run:
// root is denied nothing.
func (w *world) becomeNobody() {
	if os.Geteuid() != 0 {
		return
	}
	w.as = &syscall.Credential{Uid: nobody, Gid: nobody}
	must(w, os.Chmod(filepath.Dir(w.dir), 0o755))
	must(w, filepath.Walk(w.dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, nobody, nobody)
	}))
}

// store opens the store for one call.
func (w *world) store(use func(bucketmap.Store)) {
	w.Helper()
	switch w.fault.store {
	case "consul":
		s, err := consul.Open(w.consulOptions())
		must(w, err)
		use(s)
		must(w, s.Close())
	default:
		s, err := file.Open(w.path("map"), file.Options{})
		must(w, err)
		use(s)
		must(w, s.Close())
	}
}

func (w *world) consulOptions() consul.Options {
	o := consul.Options{Address: w.consul.URL(), Prefix: w.prefix, Token: testservers.ConsulToken}
	if w.fault.signed {
		o.Sign, o.Keys = w.sign, []ed25519.PublicKey{w.verify}
	}
	return o
}

func (w *world) publishGood() {
	w.Helper()
	w.store(func(s bucketmap.Store) {
		for v := bucketmap.Version(1); v <= good; v++ {
			must(w, s.Publish(w.Context(), w.maps[v], bucketmap.Change{Who: "test", Why: "good"}))
		}
	})
}

// publishAside puts the good versions in a folder of their own.
func (w *world) publishAside(dir string) {
	w.Helper()
	s, err := file.Open(dir, file.Options{})
	must(w, err)
	for v := bucketmap.Version(1); v <= good; v++ {
		must(w, s.Publish(w.Context(), w.maps[v], bucketmap.Change{Who: "test", Why: "good"}))
	}
	must(w, s.Close())
}

// start starts a proxy.
func (w *world) start() {
	w.Helper()
	w.edge = startEdge(w.TB, w.path("proxy.yaml"), w.as, w.full)
}

// keep waits until the proxy's cache has a version, or the proxy says that it
// cannot write it, and returns which.
func (w *world) keep(v bucketmap.Version) bool {
	w.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(poll) {
		data, err := os.ReadFile(w.path("cache"))
		if err == nil {
			if kept, err := binary.Decode(data, nil); err == nil && kept.Version() == v {
				return true
			}
		}
		if w.edge.cacheErrors() {
			return false
		}
		if time.Now().After(end) {
			w.Fatalf("the cache does not have version %d: %v\n%s", v, err, w.edge.text())
		}
	}
}

// send is the push store's publisher.
func (w *world) send(data []byte, contentType string) int {
	w.Helper()
	req, err := http.NewRequest(http.MethodPut, "http://"+w.edge.admin+"/map", bytes.NewReader(data))
	must(w, err)
	req.Header.Set("Content-Type", contentType)
	resp, err := client.Do(req)
	must(w, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

// answersRightly asks for every user.
func (w *world) answersRightly(version uint64) {
	w.Helper()
	for user, dc := range users {
		status, body, err := w.edge.ask(user)
		if want := fmt.Sprintf("%s by %d", dc, version); err != nil || status != http.StatusOK || body != want {
			w.Errorf("user %q: %d %q %v, want %q\n%s", user, status, body, err, want, w.edge.text())
		}
	}
}

// traffic asks for every user, again and again, until the returned function is
// called.
func (w *world) traffic() (end func()) {
	ctx, stop := context.WithCancel(w.Context())
	var clients sync.WaitGroup
	for user, dc := range users {
		clients.Go(func() {
			turns := testrun.NewPace(pace)
			defer turns.Stop()
			for turns.Wait(ctx) {
				status, body, err := w.edge.ask(user)
				if err != nil || status != http.StatusOK || !strings.HasPrefix(body, dc+" by ") {
					w.Errorf("user %q, while the fault came: %d %q %v, want %s", user, status, body, err, dc)
					return
				}
			}
		})
	}
	return func() { stop(); clients.Wait() }
}

var ruleWord = regexp.MustCompile(`map refused[^(:]*\(([a-z_]+)\): `)

// push is migrator map push of a file, by an operator who forces what can be
// forced, and what became of it.
func (w *world) push(config string, content []byte) string {
	w.Helper()
	w.write("pushed", string(content))
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, shared.migrator, "--config", w.path(config), "map", "push", w.path("pushed"), "--force-homes")
	if w.full {
		command = exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `ulimit -f 0; exec "$0" "$@"`}, command.Args...)...)
	}
	if w.as != nil {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: w.as}
	}
	output, err := command.CombinedOutput()
	w.Logf("map push: %v\n%s", err, output)
	said := string(output)
	found := ruleWord.FindStringSubmatch(said)
	switch code := command.ProcessState.ExitCode(); {
	case code == 0:
		return "publishes it"
	case found != nil:
		return "refuses: `" + found[1] + "`"
	case code == 2 && strings.Contains(said, "migrator: usage: "+w.path("pushed")):
		return "refuses: no map"
	case code == 3 && strings.Contains(said, "is in force, so the file's must be"):
		return "refuses: not the next version"
	case code == 3:
		w.Errorf("a refusal without a rule:\n%s", said)
		return "refuses"
	case code == 1:
		return "cannot publish, says why"
	default:
		w.Errorf("exit code %d:\n%s", code, said)
		return "fails"
	}
}

// key is the store's own client, for who damages what is in it.
func (w *world) kv() *api.KV {
	w.Helper()
	c := api.DefaultConfig()
	c.Address, c.Token = w.consul.URL(), testservers.ConsulToken
	client, err := api.NewClient(c)
	must(w, err)
	return client.KV()
}

func (w *world) keyGet(key string) []byte {
	w.Helper()
	pair, _, err := w.kv().Get(w.prefix+"/"+key, nil)
	must(w, err)
	if pair == nil {
		w.Fatalf("no key %s", key)
	}
	return pair.Value
}

func (w *world) keyPut(key string, value []byte) {
	w.Helper()
	_, err := w.kv().Put(&api.KVPair{Key: w.prefix + "/" + key, Value: value}, nil)
	must(w, err)
}

func (w *world) keyDelete(key string) {
	w.Helper()
	_, err := w.kv().Delete(w.prefix+"/"+key, nil)
	must(w, err)
}

// keys returns the keys below a folder of the prefix.
func (w *world) keys(folder string) []string {
	w.Helper()
	names, _, err := w.kv().Keys(w.prefix+"/"+folder+"/", "", nil)
	must(w, err)
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], w.prefix+"/")
	}
	return names
}
