package main

import (
	"context"

	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/proxy/internal/routing/whitelist"
)

// wireUsers makes the reader of the whitelist file; nil for none.
func (p *proxy) wireUsers() {
	w := p.config.Whitelist
	if w.File == "" {
		return
	}
	p.users = whitelist.New(whitelist.Options{
		Path: w.File, Datacenter: bucketmap.Datacenter(w.Datacenter), Metrics: p.metrics, Log: p.log,
		Swap: func(ctx context.Context, users *bucketmap.Whitelist) {
			if err := p.table.SetUsers(ctx, users); err != nil {
				p.log.Warn("the whitelist file came too late", zap.Error(err)) // the proxy ends
			}
		},
	})
}

// startUsers reads the whitelist file before the first client. A file that is
// wrong keeps no proxy from serving; but one that would take over from a process
// that may have its users does not.
func (p *proxy) startUsers(ctx context.Context) error {
	if p.users == nil {
		return nil
	}
	err := p.users.Load(ctx)
	if err != nil && p.sockets.Generation() > 0 {
		return err
	}
	return nil
}
