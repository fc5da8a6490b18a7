package routing

import (
	"context"
	"errors"
	"time"
)

// stuckWaitMax is how long a call of the store may take to see that its context
// has ended.
const stuckWaitMax = time.Second

// ErrStuck is a call of the store that goes on though its context has ended.
var ErrStuck = errors.New("a call of the store does not come back; see whether the file system or the server that it is on answers")

// Await calls f and waits for it, for stuckWaitMax at most once ctx has ended:
// then it returns ErrStuck, and what f returns later is lost. It is for calls
// that may not see the end of a context, as a read does not of a file whose
// server is gone: nothing ends such a call but the answer, or the process's end,
// and neither requests nor a drain may wait for that.
func Await[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1) // so that f ends, whoever listens
	go func() {
		value, err := f(ctx)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(stuckWaitMax)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		var none T
		return none, ErrStuck
	}
}

// awaitError is Await for what returns nothing else.
func awaitError(ctx context.Context, f func(context.Context) error) error {
	_, err := Await(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}
