package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	relayChunk = 32 << 10
	// relayBacklog × relayChunk bounds one direction of a connection: 8 MiB,
	// and memory only as it is used.
	relayBacklog = 256
)

// relay carries connections to a server, each direction delayed.
type relay struct {
	listener net.Listener
	server   string
	delay    time.Duration
	work     sync.WaitGroup
	stop     context.CancelFunc
}

func startRelay(ctx context.Context, server string, delay time.Duration) (*relay, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	r := &relay{listener: listener, server: server, delay: delay, stop: stop}
	r.work.Go(func() { r.accept(ctx) })
	return r, nil
}

func (r *relay) close() error {
	r.stop()
	err := r.listener.Close()
	r.work.Wait()
	return err
}

func (r *relay) accept(ctx context.Context) {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.work.Go(func() { r.carry(ctx, client) })
	}
}

func (r *relay) carry(ctx context.Context, client net.Conn) {
	defer client.Close()
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", r.server)
	if err != nil {
		return
	}
	defer server.Close()
	both := func() { client.Close(); server.Close() }
	defer context.AfterFunc(ctx, both)()
	var directions sync.WaitGroup
	directions.Go(func() { r.direction(server, client); both() })
	directions.Go(func() { r.direction(client, server); both() })
	directions.Wait()
}

type delayed struct {
	data []byte
	due  time.Time
}

// direction carries what comes from one end to the other, in order.
func (r *relay) direction(to io.Writer, from io.Reader) {
	pieces := make(chan delayed, relayBacklog)
	var writing sync.WaitGroup
	writing.Go(func() {
		var failed error
		for p := range pieces { // to the end, so that the reader never blocks
			if failed == nil {
				time.Sleep(time.Until(p.due))
				_, failed = to.Write(p.data)
			}
		}
	})
	for {
		buffer := make([]byte, relayChunk)
		n, err := from.Read(buffer)
		if n != 0 {
			pieces <- delayed{buffer[:n], time.Now().Add(r.delay)}
		}
		if err != nil && !errors.Is(err, io.ErrNoProgress) {
			break
		}
	}
	close(pieces)
	writing.Wait()
}
