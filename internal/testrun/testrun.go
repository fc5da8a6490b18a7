// Package testrun is how tests wait, and how many run at once.
//
// The package is for tests alone.
package testrun

import (
	"context"
	"flag"
	"strconv"
	"testing"
	"time"
)

const (
	// patience is when something that must come is given up: a machine with other
	// tests on it is slow, and nothing that comes is waited for longer.
	patience = time.Minute
	// lookEvery is between two looks at what a server alone knows.
	lookEvery = 5 * time.Millisecond
)

// Until looks again and again until is returns nil, and fails the test when that
// does not come within a minute, or the test's context ends. It is for what
// nobody announces, such as the state of a server.
func Until(t testing.TB, what string, is func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	looks := NewPace(lookEvery)
	defer looks.Stop()
	for {
		err := is()
		if err == nil {
			return
		}
		if !looks.Wait(ctx) {
			t.Fatalf("not within %s: %s: %v", patience, what, err)
		}
	}
}

// Pace is how often something is done at most. It is used by one goroutine.
type Pace struct{ ticker *time.Ticker }

// NewPace returns a pace of once in every; 0 is no pace: nobody waits.
func NewPace(every time.Duration) Pace {
	if every == 0 {
		return Pace{}
	}
	return Pace{time.NewTicker(every)}
}

// Wait waits for the next turn; false when ctx has ended. Who is late has the
// next turn at once.
func (p Pace) Wait(ctx context.Context) bool {
	if p.ticker == nil {
		return ctx.Err() == nil
	}
	select {
	case <-p.ticker.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Stop ends the pace.
func (p Pace) Stop() {
	if p.ticker != nil {
		p.ticker.Stop()
	}
}

// Parallel has so many tests run at once, unless -parallel says how many: for
// tests that wait for servers more than they compute. It is for TestMain, before
// Run.
func Parallel(tests int) error {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if said {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(tests))
}
