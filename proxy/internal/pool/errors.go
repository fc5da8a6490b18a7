package pool

import (
	"errors"
	"fmt"
)

// The ends of Acquire that say nothing of the host's health.
var (
	// ErrQueueFull is a host whose connections are all in use and whose queue
	// has no place left.
	ErrQueueFull = errors.New("all connections are in use and the queue is full (raise the connections to one host, its queue, or add hosts)")
	// ErrQueueTimeout is a wait in the queue that took too long.
	ErrQueueTimeout = errors.New("no connection came free in time (raise the connections to one host, the queue's time, or add hosts)")
	// ErrGone is a client that went away meanwhile.
	ErrGone = errors.New("the client is gone")
)

// ConnectError is a connection that could not be made.
type ConnectError struct {
	Address string
	// Limit says that the request's own limit ended it, sooner than the
	// connect timeout would have: it is not the host's failure.
	Limit bool
	Err   error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("connect to %s: %v (check that the upstream runs and listens there)", e.Address, e.Err)
}

func (e *ConnectError) Unwrap() error { return e.Err }
