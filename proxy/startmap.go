package main

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"drover/bucketmap"
)

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

// startMap puts the first map in force, in this order: (1) the last good one or
// the store's; (2) the acknowledgement, so that from here on whoever publishes
// waits for this process too; (3) what was published before that and after (1).
// Only then may clients be served: a process that serves and is in no
// publisher's count would go on sending by the old map, for a moment, when all
// the others hold.
func (p *proxy) startMap(ctx context.Context) error {
	if err := p.table.Start(ctx); err != nil {
		return err
	}
	if p.table.Ready() != nil {
		if p.sockets.Generation() > 0 {
			return errNoMap
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, announceWaitMax)
	defer cancel()
	if err := p.source.Ack(ctx, p.table.Acknowledgement()); err != nil {
		p.log.Warn("clients are served before the store has this process's acknowledgement; trying again in the background", zap.Error(err))
		return nil
	}
	next, err := p.source.Load(ctx)
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
