package process

import "fmt"

// EdgeConfig is the text of a proxy's configuration: it serves on loopback, with
// a map of the datacenters legacy and cloud, each with one application. The map
// key's text is what stands between its braces, and says where the map is.
func EdgeConfig(id, mapKey, legacy, cloud string) string {
	return fmt.Sprintf(`listen: "127.0.0.1:0"
admin: {listen: "127.0.0.1:0"}
id: %s
map: {%s}
identity: [{header: X-User-Id}]
datacenters:
  legacy: {upstreams: [%q]}
  cloud: {upstreams: [%q]}
passport: {sample: 0}
log: {level: info, format: json}
`, id, mapKey, legacy, cloud)
}
