// Package admin is the HTTP server by which people and machines look after a
// Drover program: metrics, health, readiness, and what the program adds.
//
// A program, in this order: (1) calls Listen; (2) runs Serve in a goroutine
// that it waits for; (3) ends the context of Serve to stop it: requests under
// way are finished, within a bound.
//
// The server listens on loopback unless told otherwise. With a token, every
// path but /healthz and /readyz wants "Authorization: Bearer TOKEN"; a program
// that listens elsewhere than on loopback should have one. Handlers may be
// called concurrently. The package never logs a token or a header.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// DefaultListen is loopback, at a free port.
const DefaultListen = "127.0.0.1:0"

const (
	headerWaitMax   = 5 * time.Second
	idleMax         = 60 * time.Second
	shutdownWaitMax = 5 * time.Second
	headerBytesMax  = 64 << 10
	bodyBytesMax    = 64 << 20 // above the largest map: 2^20 buckets × ~40 bytes of text
)

// Options says what the server shows.
type Options struct {
	// Listen is host:port; empty is DefaultListen.
	Listen string
	// Token, when not empty, is wanted of every request but those to /healthz
	// and /readyz.
	Token string
	// TLS, when not nil, is spoken. One that wants clients' certificates makes
	// a token unnecessary.
	TLS *tls.Config
	// Open opens the listener; nil: a new one. It is for who inherits it.
	Open func(network, address string) (net.Listener, error)
	// Gatherer is shown at /metrics; nil shows none.
	Gatherer prometheus.Gatherer
	// Ready says why the program is not ready; nil is ready. A nil func is
	// always ready.
	Ready func() error
	// Handlers are added by their patterns, as of http.ServeMux.
	Handlers map[string]http.Handler
}

// Server is a server that listens.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen opens the listener and prepares the server. It starts no goroutine.
func Listen(ctx context.Context, options Options) (*Server, error) {
	address := options.Listen
	if address == "" {
		address = DefaultListen
	}
	open := options.Open
	if open == nil {
		open = func(network, address string) (net.Listener, error) {
			var lc net.ListenConfig
			return lc.Listen(ctx, network, address)
		}
	}
	listener, err := open("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for the admin server on %s: %w", address, err)
	}
	if options.TLS != nil {
		listener = tls.NewListener(listener, options.TLS)
	}
	return &Server{
		listener: listener,
		http: &http.Server{
			Handler:           newHandler(options),
			ReadHeaderTimeout: headerWaitMax,
			IdleTimeout:       idleMax,
			MaxHeaderBytes:    headerBytesMax,
		},
	}, nil
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers requests until ctx ends, then finishes those under way,
// within five seconds, and returns nil. Any other end is an error.
func (s *Server) Serve(ctx context.Context) error {
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("admin server: %w", err)
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
		return fmt.Errorf("stop the admin server: %w", err)
	}
	return nil
}

func newHandler(options Options) http.Handler {
	closed := http.NewServeMux()
	if options.Gatherer != nil {
		closed.Handle("GET /metrics", promhttp.HandlerFor(options.Gatherer, promhttp.HandlerOpts{}))
	}
	closed.HandleFunc("GET /debug/pprof/", pprof.Index)
	closed.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	closed.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	closed.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	closed.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	for pattern, handler := range options.Handlers {
		closed.Handle(pattern, http.MaxBytesHandler(handler, bodyBytesMax))
	}
	open := http.NewServeMux()
	open.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	open.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if options.Ready != nil {
			if err := options.Ready(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ready")
	})
	open.Handle("/", wantToken(options.Token, closed))
	return open
}

func wantToken(token string, next http.Handler) http.Handler {
	if token == "" {
		return next
	}
	// Hashed, so that the comparison takes as long for every length.
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(given))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="drover"`)
			http.Error(w, "the admin token is wanted: send Authorization: Bearer TOKEN", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// WriteJSON answers with v as indented JSON.
func WriteJSON(w http.ResponseWriter, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(text, '\n')) //nolint:errcheck // the client went away
}
