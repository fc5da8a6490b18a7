package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/internal/pause"
	"drover/migrator/internal/publish"
)

// before counts the errors that there are without the new map: in a few seconds,
// or, when those have few requests, in the proxy's life.
func (c *canary) before(ctx context.Context, f canaryFlags) (counts, error) {
	if f.lasting == 0 {
		return counts{}, nil
	}
	first, err := c.counts(ctx)
	if err != nil {
		return counts{}, err
	}
	if err := pause.For(ctx, min(f.lasting, canaryBefore)); err != nil {
		return counts{}, err
	}
	last, err := c.counts(ctx)
	if err != nil {
		return counts{}, err
	}
	if lately := last.since(first); lately.requests >= canaryFewRequests {
		return lately, nil
	}
	return last, nil
}

// watch looks at the canary for its time. The error says what is wrong with it.
func (c *canary) watch(ctx context.Context, f canaryFlags, next *bucketmap.Snapshot, result *canaryResult) error {
	if f.lasting == 0 {
		return nil
	}
	first, err := c.counts(ctx)
	if err != nil {
		return err
	}
	end := time.Now().Add(f.lasting)
	pace := min(max(f.lasting/canaryPolls, canaryPollMin), canaryPollMax)
	for last := false; !last; {
		left := time.Until(end)
		last = left <= pace
		if err := pause.For(ctx, min(pace, max(left, 0))); err != nil {
			return fmt.Errorf("it was not watched to the end: %w", err)
		}
		if err := c.stillRuns(ctx, next); err != nil {
			return err
		}
		now, err := c.counts(ctx)
		if err != nil {
			return err
		}
		seen := now.since(first)
		if seen.requests < 0 || seen.errors < 0 {
			return errors.New("its counters went back: it began again")
		}
		result.After, result.Requests = seen.share(), uint64(seen.requests)
		if (last || seen.requests >= canaryFewRequests) && result.After > result.Before+f.errors {
			return fmt.Errorf("%.2f%% of its %.0f requests failed, %.2f%% before: more than %.2f%% above that",
				100*result.After, seen.requests, 100*result.Before, 100*f.errors)
		}
	}
	if result.Requests < f.requests {
		return fmt.Errorf("it had %d requests in %s, and %d are wanted: that says nothing of the map. Send it traffic, "+
			"or watch it longer, or give --canary-requests 0", result.Requests, f.lasting, f.requests)
	}
	return nil
}

// stillRuns makes sure that what is watched is the map.
func (c *canary) stillRuns(ctx context.Context, next *bucketmap.Snapshot) error {
	ack, err := c.ack(ctx)
	if err != nil {
		return err
	}
	if ack.Version != next.Version() || ack.Digest != (bucketmap.Digest{}) && ack.Digest != next.Digest() {
		return fmt.Errorf("it runs version %d, digest %.12s, and not version %d, digest %.12s, any more",
			ack.Version, ack.Digest, next.Version(), next.Digest())
	}
	return nil
}

// comesToRun says whether the proxy acknowledges the map, or a newer one, before
// long.
func (c *canary) comesToRun(ctx context.Context, snap *bucketmap.Snapshot) bool {
	ctx, cancel := context.WithTimeout(ctx, canaryComesMax)
	defer cancel()
	for {
		if ack, err := c.ack(ctx); err == nil && len(publish.LateOf(snap, []bucketmap.Ack{ack})) == 0 {
			return true
		}
		if pause.For(ctx, canaryPollMin) != nil {
			return false
		}
	}
}

// firstLine is short enough for the history.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
