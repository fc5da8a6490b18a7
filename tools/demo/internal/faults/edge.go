package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"drover/bucketmap"
)

// edgeWait bounds the start of a proxy.
const edgeWait = 30 * time.Second

// EdgeOptions are for StartEdge. All must be given.
type EdgeOptions struct {
	Program string // the proxy
	ID      string
	Dir     string // for its configuration and its logs
	Map     string // the folder of the map that it follows
	// Applications are the addresses of each datacenter's.
	Applications map[bucketmap.Datacenter][]string
	// Cohort is for how long a user counts as just moved.
	Cohort time.Duration
}

// Edge is one more proxy.
type Edge struct {
	ID         string
	URL, Admin string // for users, and for operators
	process    *Process
}

// StartEdge starts a proxy and waits until it listens. It remembers nothing of
// before: the first map that it has moves nobody.
func StartEdge(ctx context.Context, o EdgeOptions) (*Edge, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, edgeWait, fmt.Errorf("not within %v", edgeWait))
	defer cancel()
	var datacenters strings.Builder
	for name, addresses := range o.Applications {
		fmt.Fprintf(&datacenters, "  %s: {upstreams: [\"%s\"], health: {path: /healthz}}\n", name, strings.Join(addresses, `", "`))
	}
	text := fmt.Sprintf(`listen: "127.0.0.1:0"
admin: {listen: "127.0.0.1:0"}
id: %s
map: {dir: %q}
identity: [{header: X-User-Id}]
datacenters:
%sexpose_headers: true
cohort: {window: %v}
access_log: none
`, o.ID, o.Map, &datacenters, o.Cohort)
	path := filepath.Join(o.Dir, o.ID+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	type listening struct {
		Message, Admin string
		Clients        []string
	}
	feed := NewFeed(func(line []byte) (l listening, ok bool) {
		return l, json.Unmarshal(line, &l) == nil && l.Message == "listening" && len(l.Clients) == 1
	})
	p, err := Start(filepath.Join(o.Dir, "logs", o.ID+".log"), feed, o.Program, "run", "--config", path)
	if err != nil {
		return nil, err
	}
	l, err := feed.Until(ctx, 0, "the proxy "+o.ID+" listens", func(listening) bool { return true })
	if err != nil {
		p.Stop()
		return nil, fmt.Errorf("%w; its log is %s", err, p.Log)
	}
	return &Edge{ID: o.ID, URL: "http://" + l.Clients[0], Admin: "http://" + l.Admin, process: p}, nil
}

// Close ends the proxy.
func (e *Edge) Close() error {
	if code := e.process.Stop(); code != 0 {
		return fmt.Errorf("the proxy %s ended with %d; its log is %s", e.ID, code, e.process.Log)
	}
	return nil
}
