package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"drover/bucketmap"
	"drover/internal/parity"
	"drover/proxy/internal/config"
	"drover/proxy/internal/mirror"
)

// wireMirror makes what mirrors requests; nil when nothing is mirrored.
func (p *proxy) wireMirror() error {
	c := &p.config.Mirror
	if c.Share == 0 {
		return nil
	}
	rules, err := c.Rules()
	if err != nil {
		return fmt.Errorf("mirror.ignore: %w", err)
	}
	o := mirror.Options{
		Proxy: p.id, Share: c.Share, Salt: c.Salt, Group: mirrorGroup(c.Users), UserIDs: c.UserIDs, Methods: c.Methods,
		Targets: map[bucketmap.Datacenter]mirror.Target{},
		Timeout: c.Timeout, Connect: p.config.Timeouts.Connect, KeepAlive: p.config.Timeouts.UpstreamKeepAlive,
		Concurrency: c.Concurrency, Queue: c.Queue, BodyMax: int(c.BodyMax), HeaderBytes: int(p.config.Limits.HeaderBytes),
		Rules: rules, Noise: c.Noise == config.MirrorNoiseAuto, NoiseShare: c.NoiseShare, Examples: c.Examples,
		Table: p.table, Holds: p.holds, Counter: p.metrics,
	}
	for i, name := range c.Datacenters {
		dc := p.config.Datacenters[name]
		secure, err := mirrorTLS(&dc.TLS)
		if err != nil {
			return fmt.Errorf("datacenters.%s.tls: %w", name, err)
		}
		o.Pair[i] = bucketmap.Datacenter(name)
		o.Targets[o.Pair[i]] = mirror.Target{Upstreams: dc.Upstreams, TLS: secure}
	}
	p.mirror = mirror.New(o)
	return nil
}

func mirrorGroup(word string) mirror.Group {
	switch word {
	case config.MirrorWhitelist:
		return mirror.GroupWhitelist
	case config.MirrorListed:
		return mirror.GroupListed
	default:
		return mirror.GroupAll
	}
}

// mirrorTLS is how a datacenter's upstreams are spoken to, nil for plain.
func mirrorTLS(c *config.TLS) (*tls.Config, error) {
	if !c.Enabled {
		return nil, nil
	}
	t := &tls.Config{
		ServerName: c.ServerName, MinVersion: tlsVersion(c.MinVersion), NextProtos: []string{"http/1.1"},
		InsecureSkipVerify: c.InsecureSkipVerify, //nolint:gosec // as the operator has said of these upstreams
	}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, errors.New("ca: no certificate in " + c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// mirrored is what /mirror shows.
func (p *proxy) mirrored() parity.Report {
	if p.mirror == nil {
		return mirror.Off(p.id)
	}
	return p.mirror.Report()
}
