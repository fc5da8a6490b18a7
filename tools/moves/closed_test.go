package main

import (
	"context"
	"time"

	"drover/shardlib/fence"
)

// watchClosed measures how long the moved buckets have no writable home at a
// stretch, until the returned function is called.
func (x *trial) watchClosed() (end func()) {
	ctx, cancel := context.WithCancel(x.t.Context())
	var longest time.Duration
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		longest, failed = x.longestClosed(ctx)
	}()
	return func() {
		cancel()
		<-done
		if failed != nil {
			x.t.Errorf("look at the fences: %v", failed)
		}
		x.row.closed = max(x.row.closed, longest)
		if longest > closedMax {
			x.t.Errorf("a bucket had no writable home for %s, want at most %s", longest, closedMax)
		}
	}
}

func (x *trial) longestClosed(ctx context.Context) (longest time.Duration, err error) {
	since := map[int64]time.Time{}
	ticker := time.NewTicker(closedPoll)
	defer ticker.Stop()
	for {
		at := time.Now()
		fences, err := x.f.Fences(ctx)
		if ctx.Err() != nil {
			// The last look did not come to its end: what was closed before it counts until now.
			for _, began := range since {
				longest = max(longest, time.Since(began))
			}
			return longest, nil
		}
		if err != nil {
			return longest, err
		}
		for _, b := range moved {
			bucket, active := int64(b), false
			for _, rows := range fences {
				active = active || rows[bucket].State == fence.Active
			}
			began, closed := since[bucket]
			switch {
			case active && closed:
				longest = max(longest, time.Since(began))
				delete(since, bucket)
			case !active && !closed:
				since[bucket] = at
			}
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}
