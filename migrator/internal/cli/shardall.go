package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
)

// parallelMax bounds promotions at a time: each has about ten connections to
// two servers, and 160 of them are few for the machine that runs them.
const parallelMax = 16

// lockedWriter is a writer for several promotions: a line is never within
// another one.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// promotedOf is one shard of migrator shard promote --all.
type promotedOf struct {
	promoted
	took  time.Duration
	begun bool
	err   error
}

// errNotAll is returned when a shard was not promoted.
var errNotAll = errors.New("not every shard was promoted")

// promoteAll promotes every shard that does not live in the target, each with a
// journal of its own.
func (a *app) promoteAll(ctx context.Context, f promoteFlags) error {
	snap, err := a.store.Load(ctx)
	if err != nil {
		return err
	}
	var all []*promotedOf
	for _, s := range snap.Shards() {
		if s.Datacenter != bucketmap.Datacenter(f.to) {
			all = append(all, &promotedOf{promoted: promoted{Shard: s.Name, From: s.Datacenter, To: bucketmap.Datacenter(f.to)}})
		}
	}
	a.errOut = &lockedWriter{w: a.errOut}
	var failed atomic.Bool
	goesOn := func() bool { return ctx.Err() == nil && (f.keepGoing || !failed.Load()) }
	var group errgroup.Group
	group.SetLimit(f.parallel)
	for _, one := range all {
		group.Go(func() error {
			if !goesOn() {
				return nil // what became of it is in the table
			}
			one.begun = true
			began, from := time.Now(), one.From
			one.promoted, one.err = a.promote(ctx, a.promotionPlan(one.Shard, f))
			one.took, one.From = time.Since(began), from
			if one.err != nil {
				one.Error = one.err.Error()
				failed.Store(true)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := a.printAll(all); err != nil {
		return err
	}
	return errOfAll(ctx, all)
}

// errOfAll is what the command ends with: refused, when nothing was changed.
func errOfAll(ctx context.Context, all []*promotedOf) error {
	good, refused, begun := 0, 0, 0
	for _, one := range all {
		switch {
		case one.err == nil && one.begun:
			good++
		case errors.Is(one.err, errRefused):
			refused++
		}
		if one.begun {
			begun++
		}
	}
	switch {
	case good == len(all):
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %d of %d were: %w", errNotAll, good, len(all), ctx.Err())
	case good == 0 && refused == begun:
		return fmt.Errorf("%w: %w: %d of %d shards were tried, and each was refused", errRefused, errNotAll, begun, len(all))
	}
	return fmt.Errorf("%w: %d of %d were; the table above says why, and migrator status what is open", errNotAll, good, len(all))
}

func (a *app) printAll(all []*promotedOf) error {
	if a.json() {
		lines := make([]promoted, len(all))
		for i, one := range all {
			lines[i] = one.promoted
			if !one.begun {
				lines[i].Error = "not begun: another shard failed"
			}
		}
		return a.printJSON(lines)
	}
	if a.dryRun {
		for _, one := range all {
			if one.begun && one.err == nil {
				if err := a.printPromoted(one.promoted); err != nil {
					return err
				}
				a.printf("\n")
			}
		}
	}
	t := a.table("shard", "from", "to", "move", "result", "took", "why")
	for _, one := range all {
		result := string(one.State)
		switch {
		case !one.begun:
			result = "not begun"
		case errors.Is(one.err, errRefused):
			result = "refused"
		case one.DryRun && one.err == nil:
			result = "every check passed"
		case result == "":
			result = "failed"
		}
		t.AppendRow(table.Row{one.Shard, one.From, one.To, one.Move, result, one.took.Round(time.Millisecond), one.Error})
	}
	t.Render()
	return nil
}
