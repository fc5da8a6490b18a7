package metrics

import (
	"context"
	"fmt"
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"drover/internal/admin"
)

// Listen opens host:port, without a host on loopback, for a server that shows
// the metrics, and the health and the profiles that every program shows. It
// starts no goroutine.
func Listen(ctx context.Context, address string, from prometheus.Gatherer) (*admin.Server, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("metrics address %q: want host:port, such as 127.0.0.1:9911: %w", address, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	server, err := admin.Listen(ctx, admin.Options{Listen: net.JoinHostPort(host, port), Gatherer: from})
	if err != nil {
		return nil, fmt.Errorf("serve metrics on %s: %w; another migrator may have it: give another --metrics", address, err)
	}
	return server, nil
}
