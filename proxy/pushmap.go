package main

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/bucketmap/push"
	"drover/proxy/internal/config"
)

// wireReceiver makes what takes PUT /map and answers GET /map/ack. Every proxy
// has it: whatever the store, an operator can push.
func (p *proxy) wireReceiver() error {
	m := &p.config.Map
	keys, err := m.PublicKeys()
	if err != nil {
		return err
	}
	token, err := m.PushToken()
	if err != nil {
		return err
	}
	p.receiver, err = push.NewReceiver(push.ReceiverOptions{
		Proxy: p.id, Keys: keys, Token: token,
		Offer:   func(ctx context.Context, next *bucketmap.Snapshot) error { return p.table.Offer(ctx, next) },
		Current: func() *bucketmap.Snapshot { return p.table.Current() },
	})
	return err
}

// watchPushes counts what was pushed and is no map. Where nothing else brings
// maps the table does that, and acknowledges it.
func (p *proxy) watchPushes(ctx context.Context) error {
	if p.config.Map.Store == config.StorePush {
		return nil
	}
	err := p.receiver.Watch(ctx, func(_ *bucketmap.Snapshot, err error) {
		var refused *bucketmap.RefusedError
		if errors.As(err, &refused) {
			p.metrics.MapRefused(refused.Rule)
			p.log.Warn("what was pushed is no map for this proxy", zap.String("rule", string(refused.Rule)), zap.Error(err))
		}
	})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
