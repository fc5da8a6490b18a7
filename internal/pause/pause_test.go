package pause

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPauseLastsAsLongAsAskedForOrAsItsContext(t *testing.T) {
	const lasts = time.Minute // the context
	for _, c := range []struct {
		d, took time.Duration
		want    error
	}{
		{-time.Hour, 0, nil},
		{0, 0, nil},
		{lasts - 1, lasts - 1, nil},
		{lasts + 1, lasts, context.DeadlineExceeded},
		{time.Hour, lasts, context.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), lasts, errors.New("too late"))
			defer cancel()
			began := time.Now()
			if err := For(ctx, c.d); err != c.want { //nolint:errorlint // ctx's own error, and no other that is one
				t.Errorf("%v: error %v, want %v", c.d, err, c.want)
			}
			if took := time.Since(began); took != c.took {
				t.Errorf("%v took %v, want %v", c.d, took, c.took)
			}
		})
	}
}

func TestWhereTheContextHasEndedNobodyPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		for _, d := range []time.Duration{-1, 0, 1, time.Hour} {
			if err := For(ctx, d); !errors.Is(err, context.Canceled) {
				t.Errorf("%v: error %v, want %v", d, err, context.Canceled)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}
