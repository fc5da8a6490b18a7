package main

import (
	"io"
	"net"
	"os"

	"drover/bucketmap"
)

// surroundings are what the program has of its process.
type surroundings struct {
	out, err io.Writer
	// sockets is where listening sockets come from; nil: they are opened.
	sockets sockets
	// reopen asks for the access log to be opened anew, restart for a new
	// process to take over; nil: never.
	reopen, restart <-chan os.Signal
	// listening, when not nil, is told where the clients and the admin server
	// are listened for.
	listening func(clients, admin net.Addr)
}

// sockets is where listening sockets come from, and what hands them over to a
// new process.
type sockets interface {
	Listen(network, address string, lc *net.ListenConfig) (net.Listener, error)
	// Ready says that this process serves; Exit that another one does now.
	Ready() error
	Exit() <-chan struct{}
	// Upgrade starts a new process and waits until it is ready.
	Upgrade() error
	// Generation counts the processes before this one.
	Generation() int
	// Stop gives the sockets up: what holds copies of them closes them.
	Stop()
}

// idMax bounds a proxy's id.
const idMax = bucketmap.NameMax
