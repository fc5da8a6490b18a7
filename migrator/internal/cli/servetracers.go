package cli

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/migrator/internal/tracer"
)

const (
	// tracersTick is how often it is told how the tracers do.
	tracersTick = time.Second
	// tracersRecentMax bounds the results that were not right and are shown: × 1 KiB.
	tracersRecentMax = 20
	// tracersUsersMax bounds the tracers that are named: × 260 bytes = 52 KB.
	tracersUsersMax = 200
)

// tracersSource sends tracers all the time, and tells how they do.
type tracersSource struct {
	app     *app // with the store itself: what a tracer proves, it proves by the newest map
	on      bool
	proxies []string
}

func (*tracersSource) Topic() string { return "tracers" }

// consoleTracers is what the topic tracers carries.
type consoleTracers struct {
	tracer.Status
	More int `json:"users_more,omitempty"`
}

// Watch sends tracers until ctx ends. A run that cannot begin, or breaks off, is
// begun again by the console, with a date and counts of its own.
func (s *tracersSource) Watch(ctx context.Context, told func(any)) error {
	if !s.on {
		told(off{"no tracers are sent from here: migrator serve --trace sends them, by the section tracers of the configuration; see docs/tracers.md"})
		<-ctx.Done()
		return ctx.Err()
	}
	t, err := s.app.openTracer(s.proxies, nil)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Start(ctx); err != nil {
		return err
	}
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return t.Run(running) })
	g.Go(func() error {
		ticker := time.NewTicker(tracersTick)
		defer ticker.Stop()
		for {
			told(shownTracers(t.Status()))
			select {
			case <-ticker.C:
			case <-running.Done():
				return nil
			}
		}
	})
	return g.Wait()
}

func shownTracers(status tracer.Status) consoleTracers {
	shown := consoleTracers{Status: status}
	shown.Recent = shown.Recent[:min(len(shown.Recent), tracersRecentMax)]
	if over := len(shown.Users) - tracersUsersMax; over > 0 {
		shown.Users, shown.More = shown.Users[:tracersUsersMax], over
	}
	return shown
}
