package testservers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

const (
	// ConsulToken is the token that may do everything, on servers with ACL.
	ConsulToken = "5ea1f00d-0000-4000-8000-00000000d04e"

	consulAnswerMax = 1 << 20 // bytes of an answer to the probe
)

// ConsulOptions are for Fleet.Consul; the zero value is good.
type ConsulOptions struct {
	// ACL denies everything to whoever has no token, and makes ConsulToken.
	ACL bool
	// TLS makes the server speak HTTPS alone, and ask clients for a certificate.
	TLS *ConsulTLS
	// Config has keys of the agent's configuration, which go before the
	// defaults.
	Config map[string]any
}

// ConsulTLS names PEM files: the authority, and a certificate that is fit for
// servers and for clients, with its key.
type ConsulTLS struct {
	CAFile, CertFile, KeyFile string
}

// Consul is one Consul server.
type Consul struct {
	process
	program  string
	options  ConsulOptions
	nodeName string
	join     []string // serf addresses of the cluster's others; nil for a server alone
	cluster  bool
	client   *http.Client
	serfPort int
	raftPort int
}

// Consul starts a Consul server that is a cluster of its own, and waits until
// it can be written to. A restart keeps its ports and its data.
func (f *Fleet) Consul(ctx context.Context, name string, opts ConsulOptions) (*Consul, error) {
	return f.consul(ctx, &Consul{options: opts}, name)
}

func (f *Fleet) consul(ctx context.Context, c *Consul, name string) (*Consul, error) {
	program, err := findOrBuildConsul(ctx, f.cache, f.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c.program = program
	if err := f.add(&c.process, name); err != nil {
		return nil, err
	}
	c.nodeName = filepath.Base(f.dir) + "-" + name
	if c.client, err = c.options.TLS.client(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c.setUp(ctx)
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// setUp makes the process a Consul server. Each try of a start has new ports.
func (c *Consul) setUp(ctx context.Context) {
	c.prepare = func(port int) (err error) {
		if c.serfPort, err = c.fleet.reservePort(ctx); err != nil {
			return err
		}
		if c.raftPort, err = c.fleet.reservePort(ctx); err != nil {
			return err
		}
		text, err := json.MarshalIndent(c.config(port), "", "\t")
		if err != nil {
			return err
		}
		return os.WriteFile(c.configPath(), text, 0o600)
	}
	c.command = func() []string { return []string{c.program, "agent", "-config-file=" + c.configPath()} }
	c.probe = c.answers
	c.taken = "bind: address already in use"
}

func (c *Consul) configPath() string { return filepath.Join(c.dir, "consul.json") }

// config is a server with nothing but what tests need: raft as quick as it can
// be, and none of the ports that a client of the key-value store does not use.
func (c *Consul) config(port int) map[string]any {
	ports := map[string]any{
		"http": port, "https": -1, "serf_lan": c.serfPort, "server": c.raftPort,
		"serf_wan": -1, "dns": -1, "grpc": -1, "grpc_tls": -1,
	}
	config := map[string]any{
		"node_name":            c.nodeName,
		"data_dir":             filepath.Join(c.dir, "data"),
		"bind_addr":            loopback,
		"client_addr":          loopback,
		"server":               true,
		"ports":                ports,
		"performance":          map[string]any{"raft_multiplier": 1},
		"autopilot":            map[string]any{"cleanup_dead_servers": false}, // a killed server comes back
		"connect":              map[string]any{"enabled": false},
		"disable_update_check": true,
		"leave_on_terminate":   false,
		"log_level":            "info",
		"retry_interval":       "200ms",
		"bootstrap_expect":     consulClusterSize,
		"retry_join":           c.join,
		"reconnect_timeout":    "8h", // the least that Consul takes
	}
	if !c.cluster {
		config["bootstrap"] = true
		delete(config, "bootstrap_expect")
		delete(config, "retry_join")
	}
	if c.options.ACL {
		config["acl"] = map[string]any{
			"enabled": true, "default_policy": "deny",
			"tokens": map[string]any{"initial_management": ConsulToken, "agent": ConsulToken},
		}
	}
	if t := c.options.TLS; t != nil {
		ports["http"], ports["https"] = -1, port
		config["tls"] = map[string]any{"https": map[string]any{
			"ca_file": t.CAFile, "cert_file": t.CertFile, "key_file": t.KeyFile, "verify_incoming": true,
		}}
	}
	maps.Copy(config, c.options.Config)
	return config
}

// URL returns the server's address with its scheme.
func (c *Consul) URL() string {
	if c.options.TLS != nil {
		return "https://" + c.Addr()
	}
	return "http://" + c.Addr()
}

// answers makes sure that it is this server that answers, and, of a server
// alone, that it can be written to.
func (c *Consul) answers(ctx context.Context) error {
	var self struct{ Config struct{ NodeName string } }
	if err := c.call(ctx, http.MethodGet, "/v1/agent/self", "", &self); err != nil {
		return err
	}
	if self.Config.NodeName != c.nodeName {
		return fmt.Errorf("another server answers on %s, the node %q", c.Addr(), self.Config.NodeName)
	}
	if c.cluster {
		return nil
	}
	return c.writable(ctx)
}

// writable deletes a key that is not there, which has to go through raft.
func (c *Consul) writable(ctx context.Context) error {
	return c.call(ctx, http.MethodPut, "/v1/txn", `[{"KV":{"Verb":"delete","Key":"testservers-probe"}}]`, nil)
}

// call makes one request and reads its answer, which may be nil, as JSON.
func (c *Consul) call(ctx context.Context, method, path, body string, answer any) (err error) {
	request, err := http.NewRequestWithContext(ctx, method, c.URL()+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	if c.options.ACL {
		request.Header.Set("X-Consul-Token", ConsulToken)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, consulAnswerMax))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, strings.TrimSpace(string(text)))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// client returns a client without kept connections: these servers are killed
// on purpose.
func (t *ConsulTLS) client() (*http.Client, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	if t != nil {
		authority, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(authority) {
			return nil, fmt.Errorf("%s has no certificate in PEM", t.CAFile)
		}
		certificate, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport}, nil
}
