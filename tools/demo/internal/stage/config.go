package stage

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/tools/demo/internal/ledger"
	"drover/tools/sampleapp/schema"
	"drover/tools/testservers"
)

// database is the name of the applications' database on every shard.
const database = "app"

// write writes a configuration into the work folder and returns its path.
func (s *Stage) write(name, format string, args ...any) (string, error) {
	path := filepath.Join(s.Dir, name)
	return path, os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600)
}

func (s *Stage) writeShardList() error {
	_, err := s.write(shardsFile, `# Where the servers are: the same for the applications and the migrator.
database: %s
shards:
  alpha: {legacy: %q}
  beta:  {legacy: %q, cloud: %q} # in the cloud: a replica, until the promotion
  gamma: {cloud: %q}
caches:
  legacy: [%q]
  cloud:  [%q]
`, database, s.servers[alpha].Addr(), s.servers[beta].Addr(), s.servers[delta].Addr(), s.servers[gamma].Addr(),
		s.caches[Source].Addr(), s.caches[Target].Addr())
	return err
}

// writeMigratorConfig writes the migrator's configuration. Once the edge is there
// it has what needs its addresses: the objectives and the tracers.
func (s *Stage) writeMigratorConfig() error {
	weights, err := s.writeWeights()
	if err != nil {
		return err
	}
	var tables strings.Builder
	for _, t := range schema.Tables() {
		if t.BucketColumn != "" {
			fmt.Fprintf(&tables, "  - {name: %s, bucket_column: %s}\n", t.Name, t.BucketColumn)
		} else {
			fmt.Fprintf(&tables, "  - {name: %s, user_column: %s}\n", t.Name, t.UserColumn)
		}
	}
	s.migratorConfig, err = s.write(migratorFile, `map: {store: file, dir: %q}
shards: %q
weights: %q
account: {user: %s, password: %s}
replication: {user: %s, password: %s}
# One machine for everything is slower than a datacenter: more tries are lost to
# open transactions.
move: {freeze_tries: 300}
tables:
%s%s`, mapFolder, shardsFile, weights, testservers.AccountDrover, testservers.Password,
		testservers.AccountReplica, testservers.Password, &tables, s.objectives())
	return err
}

// objectives are the sections that need the edge's addresses; nothing before it
// runs. Windows of 3 and 36 seconds show in a demo what 5 minutes and an hour
// show elsewhere.
func (s *Stage) objectives() string {
	if s.Admin == "" {
		return ""
	}
	return fmt.Sprintf(`slo:
  source: {kind: proxies, urls: ["%s/metrics"]}
  objectives:
    - {name: availability, kind: availability, target: 0.999, min_events: %d}
    - {name: latency, kind: latency, target: 0.9, threshold: %v, min_events: %d}
  windows: {scale: 0.01}
tracers:
  proxies:
    - {name: edge-1, url: %q, admin: %q}
  rate: 5
  headers: {X-User-Id: "{user}"}
  write:
    method: POST
    path: /1/user/-/steps
    body: '{"request_id": "{id}", "day": "{date}", "steps": 1}'
    status: 200
    datacenter: json:datacenter
    shard: json:shard
    instance: json:instance
    count: json:total
    duplicate: json:duplicate
  read:
    method: GET
    path: /1/user/-/steps/{date}
    status: 200
    count: json:requests
`, s.Admin, eventsMin, cmp.Or(s.options.Slow, slow), eventsMin, s.Proxy, s.Admin)
}

// slow is what nine of ten requests keep within on two cores that the servers, the
// applications, the load and whatever else runs share: 100 ms are not, at times.
const slow = time.Second

// eventsMin is what a window of 3 seconds must have to be judged by: few, for the
// load of a small demo, of which a sixth goes to those who were just moved.
const eventsMin = 10

// writeWeights writes how many users each bucket has.
func (s *Stage) writeWeights() (path string, err error) {
	users := make([]int, s.options.Buckets)
	for i := 1; i <= s.options.Users; i++ {
		users[bucketmap.Bucket([]byte(ledger.User(i).ID()), s.options.Buckets)]++
	}
	var text strings.Builder
	for b, n := range users {
		fmt.Fprintf(&text, "\"%d\": %d\n", b, n)
	}
	return s.write(weightsFile, "%s", &text)
}

func (s *Stage) writeAppConfig(name string, datacenter bucketmap.Datacenter, address string) (string, error) {
	return s.write(name+".yaml", `listen: %s
datacenter: %s
instance: %s
map_dir: %q
shards: %q
account: {user: %s, password: %s}
fence: %s
log_level: info
`, address, datacenter, name, s.path(mapFolder), s.path(shardsFile), testservers.AccountApp, testservers.Password, s.options.Fence)
}

// writeEdgeConfig writes what an edge is started with; name begins its files.
func (s *Stage) writeEdgeConfig(name string, o EdgeOptions, client, admin string) (string, error) {
	quoted := func(addresses []string) string { return `"` + strings.Join(addresses, `", "`) + `"` }
	return s.write(name+".yaml", `listen: %q
admin: {listen: %q}
id: %s
map:
  dir: %q
  cache: %q
identity:
  - header: X-User-Id
datacenters:
  %s:
    upstreams: [%s]
    health: {path: /healthz}
  %s:
    upstreams: [%s]
    health: {path: /healthz}
# The demo looks at the headers; an edge that clients see should not show them.
expose_headers: true
cohort: {window: %v}
passport: {slow: 500ms}
access_log: %q
`, client, admin, o.ID, s.path(o.Map), s.path(name+"-map.yaml"), Source, quoted(s.Applications[Source]),
		Target, quoted(o.Target), o.Cohort, cmp.Or(o.passports, "none"))
}

func (s *Stage) path(name string) string { return filepath.Join(s.Dir, name) }
