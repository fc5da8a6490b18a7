package main

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/proxy/internal/routing"
)

// closeWaitMax bounds the store's last call.
const closeWaitMax = 2 * time.Second

// none is the value of a call that has none.
type none struct{}

// announceWaitMax bounds the calls of the store before the first client.
const announceWaitMax = 5 * time.Second

// errNoMap is a process that would replace one and could not route.
var errNoMap = errors.New("this process has no map, and the one that it would replace may have: see that the store or the cache can be read, then restart again")

// startRouting puts in force what decides, before the first client.
func (p *proxy) startRouting(ctx context.Context) error {
	if err := p.startUsers(ctx); err != nil {
		return err
	}
	return p.startMap(ctx)
}

// closeStore takes the acknowledgements back, unless the store does not come
// back: they end with this process all the same.
func (p *proxy) closeStore() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWaitMax)
	defer cancel()
	_, err := routing.Await(ctx, func(context.Context) (none, error) { return none{}, p.source.close() })
	return err
}

// startMap puts the first map in force, in this order: (1) the last good one or
// the store's; (2) the acknowledgement, so that from here on whoever publishes
// waits for this process too; (3) what was published before that and after (1).
// Only then may clients be served: a process that serves and is in no
// publisher's count would go on sending by the old map, for a moment, when all
// the others hold. A store that does not come back is no reason to serve nobody.
func (p *proxy) startMap(ctx context.Context) error {
	err := p.table.Start(ctx)
	stuck := errors.Is(err, routing.ErrStuck)
	if err != nil && !stuck {
		return err
	}
	if p.table.Ready() != nil {
		if p.sockets.Generation() > 0 {
			return errNoMap
		}
		return nil
	}
	if stuck {
		p.log.Warn("clients are served by the map in force, before the store has answered; trying again in the background")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, announceWaitMax)
	defer cancel()
	ack := p.table.Acknowledgement()
	if _, err := routing.Await(ctx, func(ctx context.Context) (none, error) { return none{}, p.source.Ack(ctx, ack) }); err != nil {
		p.log.Warn("clients are served before the store has this process's acknowledgement; trying again in the background", zap.Error(err))
		return nil
	}
	next, err := routing.Await(ctx, p.source.Load)
	if errors.Is(err, bucketmap.ErrNoMap) {
		return nil // the watch says so, if that is wrong
	}
	if err != nil {
		p.log.Warn("the store cannot be read; going on with the map in force", zap.Error(err))
		return nil
	}
	_ = p.table.Offer(ctx, next) // it has reported a refusal
	return nil
}
