// Package pause waits for a time, and no longer than a context lasts.
//
// It may be used concurrently.
package pause

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends; 0 and below is no pause. It returns
// ctx.Err(): nil says that the time went by and ctx goes on. Who tells why ctx
// ended asks context.Cause.
func For(ctx context.Context, d time.Duration) error {
	if d > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	return ctx.Err()
}
