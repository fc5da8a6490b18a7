package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"drover/bench/edge/internal/scene"
)

const (
	idleMax    = 1024     // idle connections to each origin
	copyBuffer = 32 << 10 // as ReverseProxy takes without a pool
	headMax    = 10 * time.Second
)

// ServeNethttp is the peer nethttp: ReverseProxy with a table of users, kept
// connections and a pool of buffers. It serves until ctx ends.
func ServeNethttp(ctx context.Context, listen, admin string, origins [2]string) error {
	s, err := scene.New()
	if err != nil {
		return err
	}
	users := make(map[string]int, len(s.Users))
	for _, u := range s.Users {
		users[u.ID] = u.Datacenter
	}
	var targets [2]*url.URL
	for i, o := range origins {
		targets[i] = &url.URL{Scheme: "http", Host: o}
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(targets[users[r.In.Header.Get("X-User-Id")]])
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport:  &http.Transport{MaxIdleConns: 2 * idleMax, MaxIdleConnsPerHost: idleMax, DisableCompression: true},
		BufferPool: buffers{&sync.Pool{New: func() any { return new([copyBuffer]byte) }}},
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	return serveBoth(ctx,
		&http.Server{Addr: listen, Handler: proxy, ReadHeaderTimeout: headMax},
		&http.Server{Addr: admin, Handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), ReadHeaderTimeout: headMax})
}

func serveBoth(ctx context.Context, servers ...*http.Server) error {
	ended := make(chan error, len(servers))
	for _, s := range servers {
		go func() { ended <- s.ListenAndServe() }()
	}
	var err error
	left := len(servers)
	select {
	case <-ctx.Done():
	case err = <-ended:
		left--
	}
	for _, s := range servers {
		err = errors.Join(err, s.Close())
	}
	for range left {
		if end := <-ended; !errors.Is(end, http.ErrServerClosed) {
			err = errors.Join(err, end)
		}
	}
	if err != nil {
		return fmt.Errorf("serve as nethttp: %w", err)
	}
	return nil
}

// buffers is a pool for ReverseProxy.
type buffers struct{ pool *sync.Pool }

func (b buffers) Get() []byte { return b.pool.Get().(*[copyBuffer]byte)[:] } //nolint:forcetypeassert // New's

func (b buffers) Put(p []byte) { b.pool.Put((*[copyBuffer]byte)(p)) }
