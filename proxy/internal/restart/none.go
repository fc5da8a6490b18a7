package restart

import (
	"context"
	"net"
)

// None is for a program that is not replaced while it runs: it only listens.
type None struct{}

// Listen opens a socket.
func (None) Listen(network, address string, lc *net.ListenConfig) (net.Listener, error) {
	return lc.Listen(context.Background(), network, address)
}

// Ready does nothing.
func (None) Ready() error { return nil }

// Upgrade is ErrImpossible.
func (None) Upgrade() error { return ErrImpossible }

// Exit is never closed.
func (None) Exit() <-chan struct{} { return nil }

// HasParent is false.
func (None) HasParent() bool { return false }

// Generation is 0.
func (None) Generation() int { return 0 }

// Stop does nothing.
func (None) Stop() {}
