package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// ErrListen is a listener that could not be opened.
var ErrListen = errors.New("cannot listen")

// Set is all listeners.
type Set struct {
	options   Options
	listeners []*listener
	stop      sync.Once
}

// Open opens all listeners, or none and says why.
func Open(ctx context.Context, o Options) (*Set, error) {
	o.defaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrListen, err)
	}
	s := &Set{options: o}
	for _, c := range o.Listeners {
		err := ctx.Err()
		if err == nil {
			err = s.open(c)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: listener %s: %w", ErrListen, c.Address, err), s.Close())
		}
	}
	return s, nil
}

func (s *Set) open(c Config) error {
	l := &listener{set: s, config: c, stopping: make(chan struct{})}
	if c.TLS != nil {
		var err error
		if l.keeper, err = newKeeper(c.TLS, c.HTTP2); err != nil {
			return err
		}
	}
	lc := &net.ListenConfig{}
	lc.SetMultipathTCP(false) // it costs every accept, and knows no filter
	if s.options.ReusePort {
		lc.Control = reusePort
	}
	opened, err := s.options.Sockets.Listen("tcp", c.Address, lc)
	if err != nil {
		return fmt.Errorf("%w%s", err, remedy(err))
	}
	socket, ok := opened.(acceptor)
	if !ok {
		return errors.Join(fmt.Errorf("a %T is no TCP listener: give host:port", opened), opened.Close())
	}
	l.socket = socket
	if s.options.Backlog > 0 {
		if err := backlog(socket, s.options.Backlog); err != nil {
			return errors.Join(fmt.Errorf("set the backlog to %d: %w", s.options.Backlog, err), socket.Close())
		}
	}
	s.listeners = append(s.listeners, l)
	return nil
}

func listenNow(network, address string, lc *net.ListenConfig) (net.Listener, error) {
	return lc.Listen(context.Background(), network, address)
}

// remedy says what to do about an address that cannot be had.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return " (another process has the address: stop it, or turn port sharing on in both)"
	case errors.Is(err, syscall.EACCES):
		return " (ports below 1024 want CAP_NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return " (no interface has the address)"
	default:
		return ""
	}
}

func reusePort(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, failed)
}

// backlog sets it on a socket that listens already, which the system allows.
func backlog(l acceptor, n int) error {
	return control(l, func(fd int) error { return unix.Listen(fd, n) })
}

// Addrs are the listeners' addresses, in the order of the options.
func (s *Set) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.socket.Addr()
	}
	return addrs
}

// Serve calls serve for each connection, which must not wait: the next one is
// accepted behind it. It returns after Stop, when all loops have ended and the
// listeners are closed.
func (s *Set) Serve(serve func(*Pending)) error {
	var group errgroup.Group
	for _, l := range s.listeners {
		group.Go(func() error { return l.loop(serve) })
	}
	return group.Wait()
}

// Run takes up changed certificates until ctx ends, and returns nil then.
func (s *Set) Run(ctx context.Context) error {
	var group errgroup.Group
	for _, l := range s.listeners {
		if l.keeper == nil || l.config.TLS.Reload <= 0 {
			continue
		}
		group.Go(func() error {
			tick := time.NewTicker(l.config.TLS.Reload)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					s.reload(l) //nolint:errcheck // logged
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	return group.Wait()
}

// Reload takes up changed certificates now. Where one is bad the old ones stay.
func (s *Set) Reload() error {
	var errs []error
	for _, l := range s.listeners {
		if l.keeper != nil {
			errs = append(errs, s.reload(l))
		}
	}
	return errors.Join(errs...)
}

func (s *Set) reload(l *listener) error {
	changed, err := l.keeper.reload()
	if !changed {
		return err
	}
	log := s.options.Log.With(zap.String("listener", l.config.Address))
	s.options.Counters.Reloaded(l.config.Address, err == nil)
	if err != nil {
		log.Error("certificates are bad; the old ones stay in use", zap.Error(err))
		return fmt.Errorf("listener %s: %w", l.config.Address, err)
	}
	log.Info("certificates reloaded")
	return nil
}

// Stop ends Serve. handedOver: the sockets live on in another process, which
// accepts what waits in the backlog; otherwise that, and whoever is in the middle
// of connecting, is accepted here first, within handshakeWait.
func (s *Set) Stop(handedOver bool) {
	s.stop.Do(func() {
		for _, l := range s.listeners {
			l.end(handedOver)
		}
	})
}

// Close closes the listeners of a Set that does not come to Serve.
func (s *Set) Close() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.socket.Close())
	}
	return errors.Join(errs...)
}
