package peer

import (
	"os"
	"path/filepath"
	"strings"
)

// nginxConfig streams both ways, keeps connections to the origin and passes
// on an Upgrade to WebSocket alone.
const nginxConfig = `worker_processes 1;
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	access_log off;
	server_tokens off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;

	map $http_upgrade $upgrade { default ''; ~*^websocket$ websocket; }
	map $http_host $authority { default $http_host; '' $host; }
	map $upgrade $to_origin { default upgrade; '' ''; }

	upstream origin {
		server ORIGIN max_fails=0;
		keepalive 32;
	}
	server {
		listen CLIENT;
		server_name edge.test;
		merge_slashes off;
		underscores_in_headers on;
		client_header_timeout 1s;
		client_body_timeout 30s;
		client_max_body_size 1m;
		client_header_buffer_size 4k;
		large_client_header_buffers 4 16k;
		keepalive_timeout 75s;
		location / {
			proxy_pass http://origin;
			proxy_http_version 1.1;
			proxy_request_buffering off;
			proxy_buffering off;
			proxy_buffer_size 16k;
			proxy_buffers 8 16k;
			proxy_busy_buffers_size 32k;
			proxy_connect_timeout 1s;
			proxy_read_timeout 30s;
			proxy_set_header Host $authority;
			proxy_set_header Upgrade $upgrade;
			proxy_set_header Connection $to_origin;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_pass_header Server;
			proxy_pass_header Date;
		}
	}
}
`

func nginx(binary, client, origin, dir string) (program, error) {
	config := filepath.Join(dir, "nginx.conf")
	text := strings.NewReplacer("CLIENT", client, "ORIGIN", origin).Replace(nginxConfig)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return program{}, err
	}
	return program{
		args:  []string{binary, "-e", "stderr", "-p", dir, "-c", config},
		ready: connects(client),
	}, nil
}
