package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/push"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/restart"
	"drover/proxy/internal/routing"
)

// hanging is a store on a file system that is gone: no call comes back before
// it is freed.
type hanging struct {
	free chan struct{}
	back chan struct{} // a call came back
}

func (h hanging) wait() error {
	<-h.free
	h.back <- struct{}{}
	return nil
}

func (h hanging) Load(context.Context) (*bucketmap.Snapshot, error) {
	return nil, errors.Join(h.wait(), bucketmap.ErrNoMap)
}

func (h hanging) Watch(context.Context, func(*bucketmap.Snapshot, error)) error { return h.wait() }

func (h hanging) Ack(context.Context, bucketmap.Ack) error { return h.wait() }

func (h hanging) Close() error { return h.wait() }

func TestAProxyWithAGoodCacheStartsAndEndsThoughItsStoreHangs(t *testing.T) {
	t.Parallel()
	kept := aMap(t)
	cache := filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(cache, binary.Append(nil, kept, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	h := hanging{make(chan struct{}), make(chan struct{}, 2)}
	p := &proxy{log: zap.NewNop(), sockets: restart.None{}}
	p.source.source = &source{open: func() (store, error) { return h, nil }}
	p.table = routing.New(routing.Options{
		Source: p.source, Proxy: "p1", Cache: cache, Log: zap.NewNop(),
		Datacenters: map[bucketmap.Datacenter]bool{legacy: true, cloud: true},
		Metrics:     metrics.New(prometheus.NewRegistry(), []bucketmap.Datacenter{legacy, cloud}),
	})
	done := make(chan error, 2)
	go func() {
		done <- p.startMap(t.Context())
		done <- p.closeStore()
	}()
	await := func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(30 * time.Second):
			t.Fatal("the store is waited for")
			return nil
		}
	}
	if err := await(); err != nil || p.table.Ready() != nil {
		t.Errorf("the start: %v, %v", err, p.table.Ready())
	}
	if err := await(); !errors.Is(err, routing.ErrStuck) {
		t.Errorf("the end: %v", err)
	}
	close(h.free)
	<-h.back // Load
	<-h.back // Close
}

func TestThatNothingWasPushedYetIsNoErrorOfTheStore(t *testing.T) {
	t.Parallel()
	receiver, err := push.NewReceiver(push.ReceiverOptions{Proxy: "p1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = receiving{receiver: receiver, pushed: true}.Watch(ctx, func(_ *bucketmap.Snapshot, err error) { t.Errorf("said: %v", err) })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
