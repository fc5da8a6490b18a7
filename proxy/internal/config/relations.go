package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"drover/internal/config"
)

func (c *Config) listenerProblems(p *config.Problems) {
	switch {
	case c.Listen != "" && len(c.Listeners) != 0:
		p.Add("listen", c.Listen, "either listen or listeners, not both")
	case c.Listen == "" && len(c.Listeners) == 0:
		p.Add("listen", c.Listen, "host:port, or listeners")
	}
	taken := map[string]string{} // key by address
	for i := range c.Listeners {
		l := &c.Listeners[i]
		key := fmt.Sprintf("listeners[%d]", i)
		if first := taken[l.Address]; first != "" {
			p.Add(key+".address", l.Address, "another address than "+first)
		} else if !anyPort(l.Address) {
			taken[l.Address] = key
		}
		p.Want(!l.HTTP2 || l.TLS != nil, key+".http2", l.HTTP2, "false, or tls")
		p.Want(l.ProxyProtocol == ProxyOff || len(c.TrustedPeers) != 0, key+".proxy_protocol", l.ProxyProtocol, "off, or trusted_peers that may send it")
		if l.TLS != nil {
			p.Want(l.TLS.ClientCA != "" || l.TLS.ClientAuth == ClientAuthNone, key+".tls.client_auth", l.TLS.ClientAuth, "none, or a client_ca")
		}
	}
	if first := taken[c.Admin.Listen]; first != "" || c.Listen == c.Admin.Listen && !anyPort(c.Listen) {
		p.Add("admin.listen", c.Admin.Listen, "an address on which no clients connect")
	}
}

// anyPort says whether an address is of a free port, which is another each
// time.
func anyPort(address string) bool { return strings.HasSuffix(address, ":0") }

func (c *Config) adminProblems(p *config.Problems) {
	a := &c.Admin
	pairProblem(p, "admin.tls", a.TLS.Cert, a.TLS.Key)
	p.Want(a.TLS.ClientCA == "" || a.TLS.Cert != "", "admin.tls.client_ca", a.TLS.ClientCA, "cert and key with it")
	closed := a.Token != "" || a.TLS.ClientCA != ""
	p.Want(closed || !address(a.Listen) || onLoopback(a.Listen), "admin.listen", a.Listen, "a loopback address, or a token, or a tls.client_ca")
}

func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func pairProblem(p *config.Problems, key, cert, private string) {
	p.Want(private != "" || cert == "", key+".key", private, "the key of cert")
	p.Want(cert != "" || private == "", key+".cert", cert, "the certificate of key")
}

func (c *Config) identityProblems(p *config.Problems) {
	for i := range c.Identity {
		id := &c.Identity[i]
		key := fmt.Sprintf("identity[%d]", i)
		var given []string
		for _, one := range []struct {
			name  string
			given bool
		}{
			{"header", id.Header != ""}, {"cookie", id.Cookie != ""}, {"query", id.Query != ""},
			{"path", id.Path != ""}, {"jwt", id.JWT != nil}, {"bucket", id.Bucket != ""},
		} {
			if one.given {
				given = append(given, one.name)
			}
		}
		p.Want(len(given) == 1, key, strings.Join(given, ", "), "exactly one of header, cookie, query, path, jwt and bucket")
		if id.JWT != nil {
			id.JWT.problems(p, key+".jwt")
		}
	}
}

func (j *JWT) problems(p *config.Problems, key string) {
	p.Want(j.Header == "" || j.Cookie == "", key+".cookie", j.Cookie, "either a header or a cookie")
	if (j.JWKSURL == "") == (j.JWKSFile == "") {
		p.Add(key, fmt.Sprintf("jwks_url %s, jwks_file %s", j.JWKSURL, j.JWKSFile), "exactly one of jwks_url and jwks_file")
	}
}

func (c *Config) trustProblems(p *config.Problems) {
	authorities := slices.ContainsFunc(c.Listeners, func(l Listener) bool {
		return l.TLS != nil && l.TLS.ClientAuth != ClientAuthNone
	})
	p.Want(!c.TrustMTLS || authorities, "trust_mtls", c.TrustMTLS, "false, or a listener with a client_ca")
}

func (c *Config) datacenterProblems(p *config.Problems, name string) {
	dc := c.Datacenters[name]
	key := "datacenters." + name
	p.Want(validName(name), "datacenters", name, nameWords)
	for i, other := range dc.Failover {
		_, known := c.Datacenters[other]
		p.Want(known && other != name && slices.Index(dc.Failover, other) == i,
			fmt.Sprintf("%s.failover[%d]", key, i), other, "another of the datacenters, once")
	}
	pairProblem(p, key+".tls", dc.TLS.Cert, dc.TLS.Key)
}

func (c *Config) limitProblems(p *config.Problems) {
	p.Want(c.Limits.RequestLine <= c.Limits.HeaderBytes, "limits.request_line", c.Limits.RequestLine,
		fmt.Sprintf("at most header_bytes, %s", c.Limits.HeaderBytes))
	p.Want(c.Upstream.EjectFirst <= c.Upstream.EjectMax, "upstream.eject_max", c.Upstream.EjectMax,
		fmt.Sprintf("at least eject_first, %s", c.Upstream.EjectFirst))
}
