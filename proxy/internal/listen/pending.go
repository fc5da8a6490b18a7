package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"drover/proxy/internal/socket"
)

// ErrUntrusted is a PROXY header's sender that nobody trusts.
var ErrUntrusted = errors.New("the peer is not trusted to send a PROXY header")

// Why an Open fails, for Counters.Failed.
const (
	ReasonUntrusted = "untrusted" // it wants to send a PROXY header and may not
	ReasonHeader    = "header"    // no PROXY header, or not one
	ReasonHandshake = "handshake" // TLS
	ReasonTimeout   = "timeout"   // of either
	ReasonClosed    = "closed"    // by the peer, before either was over
	ReasonSystem    = "system"    // short of something
)

// Reasons are all of them.
func Reasons() []string {
	return []string{ReasonUntrusted, ReasonHeader, ReasonHandshake, ReasonTimeout, ReasonClosed, ReasonSystem}
}

// Pending is a connection of which nothing has been read.
type Pending struct {
	listener *listener
	socket   *socket.Conn
}

// Accepted is a connection that may speak HTTP.
type Accepted struct {
	Link        socket.Link
	Prefix      []byte         // bytes already read that belong to HTTP
	Peer, Local netip.AddrPort // by the PROXY header, if there is one; IPv4 as such
	// Trusted: Peer is in Options.Trusted, or its certificate was verified.
	Trusted    bool
	Scheme     string // http or https
	Protocol   string // http/1.1 or h2
	ServerName string // that the client asked for in the TLS handshake
	Forget     func() // of the watcher; to be called before Close
}

// Interrupt ends Open's waits; it may be called by any goroutine.
func (p *Pending) Interrupt() { p.socket.Interrupt() }

// Close closes a connection that is not wanted, instead of Open.
func (p *Pending) Close() {
	p.socket.Close() //nolint:errcheck // nothing is expected of it
}

// Open reads the PROXY header and shakes hands, as the listener wants it. When
// it fails the connection is closed.
func (p *Pending) Open() (Accepted, error) {
	a, reason, err := p.open()
	if err == nil {
		return a, nil
	}
	p.Close()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = ReasonTimeout
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		reason = ReasonClosed
	}
	p.listener.set.options.Counters.Failed(p.listener.config.Address, reason)
	return Accepted{}, fmt.Errorf("connection of %v to listener %s: %w", p.socket.RemoteAddr(), p.listener.config.Address, err)
}

func (p *Pending) open() (Accepted, string, error) {
	o, c := &p.listener.set.options, &p.listener.config
	a := Accepted{
		Link: socket.Link{Socket: p.socket}, Peer: addrOf(p.socket.RemoteAddr()), Local: addrOf(p.socket.LocalAddr()),
		Scheme: "http", Protocol: "http/1.1", Forget: func() {},
	}
	a.Trusted = o.trusts(a.Peer.Addr())
	if c.ProxyProtocol != "" && c.ProxyProtocol != ProxyOff {
		if !a.Trusted {
			return a, ReasonUntrusted, fmt.Errorf("%w: name its network as trusted, or send no header", ErrUntrusted)
		}
		if err := p.readHeader(&a); err != nil {
			return a, ReasonHeader, err
		}
	}
	if p.listener.keeper != nil {
		if err := p.handshake(&a); err != nil {
			return a, ReasonHandshake, fmt.Errorf("TLS handshake: %w", err)
		}
	}
	if o.Watcher != nil {
		forget, err := o.Watcher.Watch(p.socket)
		if err != nil {
			return a, ReasonSystem, err
		}
		a.Forget = forget
	}
	return a, "", nil
}

// headerFirst is what is read at first: most headers are shorter.
const headerFirst = 256

func (p *Pending) readHeader(a *Accepted) error {
	o := &p.listener.set.options
	p.socket.SetReadLimit(time.Now().Add(o.Header))
	defer p.socket.SetReadLimit(time.Time{})
	b, n := make([]byte, headerFirst), 0
	for {
		if n == len(b) {
			// More than the longest header is never wanted: parseHeader says no.
			b = append(b, make([]byte, headerLen-len(b))...)
		}
		m, err := p.socket.Read(b[n:])
		if err != nil {
			return fmt.Errorf("read the PROXY header: %w", err)
		}
		n += m
		h, size, err := parseHeader(b[:n], p.listener.config.ProxyProtocol)
		if errors.Is(err, errMore) {
			continue
		}
		if err != nil {
			return err
		}
		if size < n {
			a.Prefix = b[size:n]
		}
		if h.known {
			a.Peer, a.Local = h.client, h.local
			a.Trusted = o.trusts(a.Peer.Addr())
		} else if !h.balancer {
			a.Trusted = false
		}
		return nil
	}
}

func (p *Pending) handshake(a *Accepted) error {
	end := time.Now().Add(p.listener.set.options.Handshake)
	p.socket.SetReadLimit(end)
	p.socket.SetWriteLimit(end)
	var conn net.Conn = p.socket
	if len(a.Prefix) != 0 {
		conn = &prefixed{Conn: p.socket, prefix: a.Prefix}
		a.Prefix = nil
	}
	t := tls.Server(conn, p.listener.keeper.base)
	//nolint:noctx // the limits bound it; a context would cost a goroutine
	if err := t.Handshake(); err != nil {
		return err
	}
	p.socket.SetReadLimit(time.Time{})
	p.socket.SetWriteLimit(time.Time{})
	state := t.ConnectionState()
	a.Link.TLS, a.Scheme, a.ServerName = t, "https", state.ServerName
	if state.NegotiatedProtocol == "h2" {
		a.Protocol = "h2"
	}
	if p.listener.set.options.TrustMTLS && len(state.VerifiedChains) != 0 {
		a.Trusted = true
	}
	return nil
}

// prefixed is a connection of which bytes have been read that come first.
type prefixed struct {
	*socket.Conn
	prefix []byte
}

func (c *prefixed) Read(p []byte) (int, error) {
	if len(c.prefix) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.prefix)
	if c.prefix = c.prefix[n:]; len(c.prefix) == 0 {
		c.prefix = nil // the buffer is of no more use
	}
	return n, nil
}

func (o *Options) trusts(a netip.Addr) bool { return Trusts(o.Trusted, a) }

// Trusts says whether an address, IPv4 as such, is in one of the networks.
func Trusts(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

func addrOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
