package testrun

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestUntilEndsWithTheConditionAndNotBefore(t *testing.T) {
	looks := 0
	Until(t, "three looks", func() error {
		if looks++; looks < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if looks != 3 {
		t.Errorf("%d looks, want 3", looks)
	}
}

func TestAPaceEndsWithTheContextAndNoPaceWaitsForNobody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	none, slow := NewPace(0), NewPace(time.Hour)
	defer none.Stop()
	defer slow.Stop()
	for range 1000 {
		if !none.Wait(ctx) {
			t.Fatal("it ended")
		}
	}
	cancel()
	if none.Wait(ctx) || slow.Wait(ctx) {
		t.Error("it goes on after the end")
	}
}
