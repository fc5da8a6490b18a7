package console

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
)

const (
	headerWaitMax  = 10 * time.Second
	idleMax        = 2 * time.Minute
	readWaitMax    = 30 * time.Second // for a whole request: none is longer than actionBytesMax
	answerWaitMax  = 30 * time.Second // for a whole answer to be read; a stream has its own
	headerBytesMax = 32 << 10
	// connectionsMax is streamsMax, each with some for what is asked beside it; × 50
	// KiB.
	connectionsMax  = 256
	formBytesMax    = 8 << 10
	shutdownWaitMax = 5 * time.Second
	// actMax is how long a button's work may take: a publication through a store
	// that is slow.
	actMax = 30 * time.Second
)

// Options are what a console needs.
type Options struct {
	Listen string // host:port; loopback, unless there is TLS
	// TLS is nil for clear text. With Access.Certificates it asks for certificates.
	TLS     *tls.Config
	Access  Access
	Maps    Maps
	Weight  func(bucketmap.BucketID) uint64 // users of a bucket; nil when they are not known
	Sources []Source
	Actions []Action
	Log     *zap.Logger // nil: nowhere
	// Now is the clock, nil for the machine's.
	Now func() time.Time
}

// Server is a console that listens.
type Server struct {
	listener net.Listener
	http     *http.Server
	hub      *hub
	feed     *feed
	door     *door
	sources  []Source
	actions  map[string]Action
	actMax   time.Duration
	log      *zap.Logger
	ending   chan struct{} // closed when Serve ends
}

// ErrOptions is the class of options by which no console is served.
var ErrOptions = errors.New("the console is not served")

// Listen checks the options and opens the address. It starts no goroutine.
func Listen(ctx context.Context, o Options) (*Server, error) {
	s, err := newServer(o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	address, err := listenAddress(ctx, o.Listen, o.TLS != nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(ctx, "tcp", address); err != nil {
		return nil, fmt.Errorf("serve the console on %s: %w; give another --listen", o.Listen, err)
	}
	s.listener = netutil.LimitListener(s.listener, connectionsMax)
	if o.TLS != nil {
		config := o.TLS.Clone()
		config.NextProtos = []string{"h2", "http/1.1"}
		s.listener = tls.NewListener(s.listener, config)
	}
	return s, nil
}

func newServer(o Options) (*Server, error) {
	if err := o.Access.Validate(); err != nil {
		return nil, err
	}
	if o.Access.Certificates && (o.TLS == nil || o.TLS.ClientCAs == nil) {
		return nil, errors.New("certificates are for TLS: give the server's certificate, its key and the authority of the others")
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	s := &Server{hub: newHub(now), door: newDoor(o.Access, o.TLS != nil, now), sources: o.Sources,
		actions: map[string]Action{}, actMax: actMax, log: o.Log, ending: make(chan struct{})}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	for _, a := range o.Actions {
		s.actions[a.Name()] = a
	}
	s.feed = &feed{maps: o.Maps, weight: o.Weight, hub: s.hub}
	handler, err := s.handler()
	if err != nil {
		return nil, err
	}
	s.http = &http.Server{Handler: handler, ReadHeaderTimeout: headerWaitMax, ReadTimeout: readWaitMax, IdleTimeout: idleMax,
		MaxHeaderBytes: headerBytesMax, ErrorLog: zap.NewStdLog(s.log)}
	return s, nil
}

// listenAddress returns what to listen on. A name must mean loopback by all its
// addresses, and is then replaced by one of them: what is looked up again later
// may be another.
func listenAddress(ctx context.Context, listen string, secure bool) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("--listen %q: want host:port, such as 127.0.0.1:9920: %w", listen, err)
	}
	if host == "" && !secure {
		host = "127.0.0.1"
	}
	if secure {
		return net.JoinHostPort(host, port), nil
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", fmt.Errorf("--listen %q: %w", listen, err)
	}
	for _, a := range addresses {
		if !a.Unmap().IsLoopback() {
			return "", fmt.Errorf("--listen %s is not loopback, and tokens would go over the network in clear text: give --tls-cert and --tls-key, or reach a console on 127.0.0.1 by ssh -L", listen)
		}
	}
	return net.JoinHostPort(addresses[0].Unmap().String(), port), nil
}

// Addr returns the address that the console listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve watches and answers until ctx ends, then ends the streams, finishes what
// is under way, and returns nil. Any other end is an error.
func (s *Server) Serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("the console: %w", err)
		}
		return nil
	})
	g.Go(func() error { return s.feed.run(ctx) })
	for _, source := range s.sources {
		g.Go(func() error { return s.hub.follow(ctx, source) })
	}
	g.Go(func() error {
		<-ctx.Done()
		close(s.ending)
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWaitMax)
		defer cancel()
		if err := s.http.Shutdown(stop); err != nil {
			return errors.Join(fmt.Errorf("stop the console: %w", err), s.http.Close())
		}
		return nil
	})
	return g.Wait()
}

func zapAction(name, who, why string, err error) []zap.Field {
	return []zap.Field{zap.String("action", name), zap.String("who", who), zap.String("why", why), zap.Error(err)}
}

func zapRemote(address string) []zap.Field { return []zap.Field{zap.String("remote", address)} }
