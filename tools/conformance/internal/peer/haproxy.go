package peer

import (
	"os"
	"path/filepath"
	"strings"
)

// haproxyConfig keeps connections to the origin, sees clients that go away,
// and passes on an Upgrade to WebSocket alone. A request without an answer is
// sent again only if its method allows it.
const haproxyConfig = `global
	nbthread 1
	maxconn 1000
	noreuseport
	tune.bufsize 16384
defaults
	mode http
	timeout connect 1s
	timeout client 30s
	timeout server 30s
	timeout http-request 1s
	timeout http-keep-alive 75s
	timeout tunnel 1m
	option forwardfor
	option http-no-delay
	option abortonclose
	http-reuse safe
	retries 1
	retry-on conn-failure empty-response
frontend clients
	bind CLIENT
	http-request deny deny_status 413 if { req.body_size gt 1048576 }
	http-request del-header Upgrade if !{ req.hdr(Upgrade) -i websocket }
	http-request disable-l7-retry unless METH_GET or { method HEAD }
	default_backend origin
backend origin
	server origin ORIGIN
`

func haproxy(binary, client, origin, dir string) (program, error) {
	config := filepath.Join(dir, "haproxy.cfg")
	text := strings.NewReplacer("CLIENT", client, "ORIGIN", origin).Replace(haproxyConfig)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return program{}, err
	}
	return program{args: []string{binary, "-db", "-q", "-f", config}, ready: connects(client)}, nil
}
