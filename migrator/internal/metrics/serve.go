package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The server has one page, of a few kilobytes, for one or two scrapers.
const (
	headerWaitMax   = 5 * time.Second
	answerMax       = 10 * time.Second
	idleMax         = 60 * time.Second
	shutdownWaitMax = 1 * time.Second
	headerBytesMax  = 16 << 10
)

// Server serves /metrics and nothing else: there is nothing secret in it, and
// nothing that changes anything.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen opens host:port, without a host on loopback. It starts no goroutine.
func Listen(ctx context.Context, address string, from prometheus.Gatherer) (*Server, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("metrics address %q: want host:port, such as 127.0.0.1:9911: %w", address, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("serve metrics on %s: %w; another migrator may have it: give another --metrics", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(from, promhttp.HandlerOpts{}))
	return &Server{listener: listener, http: &http.Server{Handler: mux, ReadHeaderTimeout: headerWaitMax,
		ReadTimeout: headerWaitMax, WriteTimeout: answerMax, IdleTimeout: idleMax, MaxHeaderBytes: headerBytesMax}}, nil
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers until ctx ends, then finishes what is under way.
func (s *Server) Serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve metrics: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWaitMax)
	defer cancel()
	err := s.http.Shutdown(stop)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	if err != nil {
		return fmt.Errorf("stop serving metrics: %w", err)
	}
	return nil
}
