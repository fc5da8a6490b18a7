package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"drover/bucketmap"
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

func (s *Stage) writeMigratorConfig() error {
	var tables strings.Builder
	for _, t := range schema.Tables() {
		if t.BucketColumn != "" {
			fmt.Fprintf(&tables, "  - {name: %s, bucket_column: %s}\n", t.Name, t.BucketColumn)
		} else {
			fmt.Fprintf(&tables, "  - {name: %s, user_column: %s}\n", t.Name, t.UserColumn)
		}
	}
	var err error
	s.migratorConfig, err = s.write("migrator.yaml", `map: {store: file, dir: %q}
shards: %q
account: {user: %s, password: %s}
replication: {user: %s, password: %s}
# One machine for everything is slower than a datacenter: more tries are lost to
# open transactions.
move: {freeze_tries: 300}
tables:
%s`, mapFolder, shardsFile, testservers.AccountDrover, testservers.Password,
		testservers.AccountReplica, testservers.Password, &tables)
	return err
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

func (s *Stage) writeProxyConfig(client, admin string) (string, error) {
	quoted := func(addresses []string) string { return `"` + strings.Join(addresses, `", "`) + `"` }
	return s.write("proxy.yaml", `listen: %q
admin: {listen: %q}
id: edge-1
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
passport: {slow: 500ms}
access_log: %q
`, client, admin, s.path(mapFolder), s.path("proxy-map.yaml"), Source, quoted(s.Applications[Source]),
		Target, quoted(s.Applications[Target]), s.LogPath("passports"))
}

func (s *Stage) path(name string) string { return filepath.Join(s.Dir, name) }
