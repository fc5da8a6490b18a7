package pool

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS is how a datacenter's hosts are spoken to. HTTP/1.1 is all that is
// offered.
type TLS struct {
	// ServerName is asked for and verified; empty: the upstream's name, or its
	// address, as configured.
	ServerName string
	// CA is the path of a PEM file with the only authorities that are trusted;
	// empty: the system's.
	CA string
	// Cert and Key are the paths of the edge's own certificate and its key, in
	// PEM; empty: none is shown.
	Cert, Key string
	// MinVersion is the lowest version, tls.VersionTLS12 when 0.
	MinVersion uint16
	// InsecureSkipVerify trusts anybody. It is for tests.
	InsecureSkipVerify bool
}

// sessionsPerHost is how many sessions are kept to resume: one is used again
// and again, the others are for a host behind which several machines are.
const sessionsPerHost = 4

// config reads the files.
func (t *TLS) config() (*tls.Config, error) {
	c := &tls.Config{
		ServerName:         t.ServerName,
		MinVersion:         max(t.MinVersion, tls.VersionTLS12),
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: t.InsecureSkipVerify,
	}
	var problems []error
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			problems = append(problems, fmt.Errorf("read tls.ca: %w", err))
		} else if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			problems = append(problems, fmt.Errorf("tls.ca: %s holds no certificate in PEM", t.CA))
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		problems = append(problems, errors.New("tls.cert and tls.key go together: give both or none"))
	} else if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			problems = append(problems, fmt.Errorf("read tls.cert and tls.key: %w", err))
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, errors.Join(problems...)
}

// forHost is the configuration for one host.
func forHost(c *tls.Config, serverName string) *tls.Config {
	if c == nil {
		return nil
	}
	own := c.Clone()
	if own.ServerName == "" {
		own.ServerName = serverName
	}
	own.ClientSessionCache = tls.NewLRUClientSessionCache(sessionsPerHost)
	return own
}
