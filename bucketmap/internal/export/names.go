package export

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"drover/bucketmap"
)

// DefaultHeader is the identity header of who names no other.
const DefaultHeader = "X-User-Id"

// DefaultPrefix begins the names of variables.
const DefaultPrefix = "drover_"

const (
	trustedMax    = 1024 // prefixes, a line each or so
	nameMax       = 128  // bytes of a header's or a backend's name
	backendPrefix = "be_"
)

var (
	headerName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	prefixName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
	backendName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
)

// CheckHeader checks the name of an identity header.
func CheckHeader(name string) error {
	if len(name) > nameMax || !headerName.MatchString(name) {
		return fmt.Errorf("identity header %q: want a letter, then letters, digits, '-' and '_', at most %d bytes", name, nameMax)
	}
	if lower := strings.ToLower(name); strings.HasPrefix(lower, "drover-") || strings.HasPrefix(lower, "drover_") {
		return fmt.Errorf("identity header %q: want a name that does not begin with Drover-, which clients may not send", name)
	}
	return nil
}

// CheckPrefix checks what variables' names begin with.
func CheckPrefix(prefix string) error {
	if len(prefix) > nameMax || !prefixName.MatchString(prefix) {
		return fmt.Errorf("variable prefix %q: want a letter, then letters, digits and '_', at most %d bytes", prefix, nameMax)
	}
	return nil
}

// CheckTrusted checks the prefixes of trusted peers.
func CheckTrusted(trusted []netip.Prefix) error {
	if len(trusted) > trustedMax {
		return fmt.Errorf("%d trusted prefixes: want at most %d", len(trusted), trustedMax)
	}
	for _, prefix := range trusted {
		if !prefix.IsValid() || prefix.Addr().Is4In6() {
			return fmt.Errorf("trusted prefix %v: want an address and its bits, such as 10.0.0.0/8 or fd00::/8", prefix)
		}
	}
	return nil
}

// Backends gives every datacenter of the map its backend: the one of named, or
// be_ and the datacenter's name.
func Backends(s *bucketmap.Snapshot, named map[bucketmap.Datacenter]string) (map[bucketmap.Datacenter]string, error) {
	all := map[bucketmap.Datacenter]string{}
	for _, dc := range s.Datacenters() {
		name, ok := named[dc]
		if !ok {
			name = backendPrefix + string(dc)
		}
		if len(name) > nameMax || !backendName.MatchString(name) {
			return nil, fmt.Errorf("backend %q of datacenter %s: want letters, digits, '.', '_' and '-', at most %d bytes", name, dc, nameMax)
		}
		all[dc] = name
	}
	for dc := range named {
		if _, ok := all[dc]; !ok {
			return nil, fmt.Errorf("backend %q is of datacenter %q, which the map does not have", named[dc], dc)
		}
	}
	return all, nil
}
