package faults

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// headMax bounds how long a request's head may take.
const headMax = 10 * time.Second

// server is an HTTP server on a loopback port of its own.
type server struct {
	address string
	server  *http.Server
	served  chan error
}

func serve(ctx context.Context, handler http.Handler) (*server, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{address: listener.Addr().String(), server: &http.Server{Handler: handler, ReadHeaderTimeout: headMax}, served: make(chan error, 1)}
	go func() { s.served <- s.server.Serve(listener) }() // close waits for it
	return s, nil
}

// close ends it at once, with what is under way.
func (s *server) close() error {
	err := s.server.Close()
	if end := <-s.served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
