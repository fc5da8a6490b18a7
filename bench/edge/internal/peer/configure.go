package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"drover/bench/edge/internal/scene"
	"drover/bucketmap"
	"drover/bucketmap/file"
)

// NginxPath and HaproxyPath are the programs that are installed and not built.
const (
	NginxPath   = "/usr/sbin/nginx"
	HaproxyPath = "/usr/sbin/haproxy"
)

// configure writes what the peer reads, and returns its command line.
func (p *Peer) configure(ctx context.Context, o Options) ([]string, error) {
	at := func(name string) string { return filepath.Join(o.Dir, name) }
	switch p.Name {
	case Drover:
		if err := publish(ctx, p.MapDir(), o.Scene.Snapshot); err != nil {
			return nil, err
		}
		return []string{o.Proxy, "--config", at("proxy.yaml")}, put(at("proxy.yaml"), p.droverText(o))
	case Nginx:
		if err := os.Mkdir(at("temp"), 0o755); err != nil { //nolint:gosec // for the workers' user
			return nil, fmt.Errorf("make nginx's folder: %w", err)
		}
		err := errors.Join(put(at("users"), table(o.Scene.Users, "%s %s;\n")), put(at("nginx.conf"), p.nginxText(o)))
		return []string{NginxPath, "-p", o.Dir, "-e", at("error.log"), "-c", at("nginx.conf")}, err
	case Haproxy:
		err := errors.Join(put(at("users"), table(o.Scene.Users, "%s %s\n")), put(at("haproxy.cfg"), p.haproxyText(o)))
		return []string{HaproxyPath, "-db", "-q", "-f", at("haproxy.cfg")}, err
	default:
		return []string{o.Self, "nethttp", "--listen", p.Address, "--admin", p.Admin,
			"--source", o.Origins[scene.Source], "--target", o.Origins[scene.Target]}, nil
	}
}

// MapDir is the folder of Drover's map.
func (p *Peer) MapDir() string { return filepath.Join(p.Dir, "map") }

func put(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // read by the workers' user
		return fmt.Errorf("write a peer's configuration: %w", err)
	}
	return nil
}

func publish(ctx context.Context, dir string, s *bucketmap.Snapshot) error {
	store, err := file.Open(dir, file.Options{})
	if err != nil {
		return fmt.Errorf("open the map's folder: %w", err)
	}
	return errors.Join(store.Publish(ctx, s, bucketmap.Change{Who: "bench", Why: "the first map"}), store.Close())
}

// table is a line for each user: the id and the datacenter.
func table(users []scene.User, line string) string {
	var b strings.Builder
	names := scene.Datacenters()
	for _, u := range users {
		fmt.Fprintf(&b, line, u.ID, names[u.Datacenter])
	}
	return b.String()
}

func (p *Peer) droverText(o Options) string {
	names := scene.Datacenters()
	text := fmt.Sprintf(`listen: %q
id: bench
admin:
  listen: %q
map:
  dir: %q
  cache: %q
identity:
  - header: X-User-Id
datacenters:
  %s:
    upstreams: [%q]
  %s:
    upstreams: [%q]
passport:
  sample: 0
access_log: none
drain:
  delay: 0s
  idle: 0s
  timeout: 2s
`, p.Address, p.Admin, p.MapDir(), filepath.Join(o.Dir, "cache.yaml"), names[0], o.Origins[0], names[1], o.Origins[1])
	if h := o.Hold; h != (Hold{}) {
		text += fmt.Sprintf("hold:\n  requests_max: %d\n  total: %d\n  wait_max: %s\n", h.RequestsMax, h.Total, h.WaitMax)
		if h.ReleaseRate != 0 {
			text += fmt.Sprintf("  release_rate: %d\n", h.ReleaseRate)
		}
	}
	return text
}

// nginxText: the upstreams' keepalive is the number of idle connections that a
// worker keeps, above the 64 of the load.
func (p *Peer) nginxText(o Options) string {
	names := scene.Datacenters()
	return fmt.Sprintf(`worker_processes %d;
daemon off;
pid nginx.pid;
worker_rlimit_nofile 20000;
events { worker_connections 9000; }
http {
  access_log off;
  client_body_temp_path temp/body;
  proxy_temp_path temp/proxy;
  fastcgi_temp_path temp/fastcgi;
  uwsgi_temp_path temp/uwsgi;
  scgi_temp_path temp/scgi;
  map_hash_max_size 32768;
  map_hash_bucket_size 128;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  map $http_x_user_id $dc { default %s; include users; }
  upstream %s { server %s; keepalive 256; keepalive_requests 1000000000; }
  upstream %s { server %s; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen %s;
    location / {
      proxy_pass http://$dc;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
}
`, o.Workers, names[0], names[0], o.Origins[0], names[1], o.Origins[1], p.Address)
}

func (p *Peer) haproxyText(o Options) string {
	names := scene.Datacenters()
	return fmt.Sprintf(`global
  nbthread %d
  maxconn 9000
defaults
  mode http
  option http-keep-alive
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-request 10s
  timeout http-keep-alive 300s
frontend edge
  bind %s
  use_backend %%[req.hdr(X-User-Id),map(users,%s)]
backend %s
  server one %s
backend %s
  server one %s
`, o.Workers, p.Address, names[0], names[0], o.Origins[0], names[1], o.Origins[1])
}
