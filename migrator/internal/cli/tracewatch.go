package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"drover/migrator/internal/metrics"
	"drover/migrator/internal/tracer"
)

const (
	// traceDrawEvery is how often the summary is drawn on a terminal.
	traceDrawEvery = 500 * time.Millisecond
	// traceQueueMax bounds the results that wait to be printed: × 1 KiB = 1 MiB. What
	// finds it full is counted and not printed: a terminal that is stopped stops
	// no tracer.
	traceQueueMax = 1024
	// traceRecent is how many results that are not right a summary shows.
	traceRecent = 8
)

// traceAll sends every tracer through every proxy, once or on and on.
func (a *app) traceAll(ctx context.Context, f *traceFlags) error {
	queue := make(chan tracer.Result, traceQueueMax)
	var mu sync.Mutex
	dropped := 0
	t, err := a.openTracer(f.proxies, func(r tracer.Result) {
		select {
		case queue <- r:
		default:
			mu.Lock()
			dropped++
			mu.Unlock()
		}
	})
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Start(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	if f.lasting != 0 {
		running, stop = context.WithTimeout(ctx, f.lasting)
		defer stop()
	}
	group, working := errgroup.WithContext(running)
	if err := a.serveTracer(working, group, f.metrics, t); err != nil {
		return err
	}
	sent := make(chan struct{})
	group.Go(func() error {
		defer close(sent)
		if f.watching {
			return t.Run(working)
		}
		defer stop() // the metrics end with the round
		return t.Round(working)
	})
	group.Go(func() error { return a.printResults(t, queue, sent, f.watching) })
	err = group.Wait()
	if f.watching && running.Err() != nil {
		a.ended = true
	}
	if err != nil && !a.ended {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	return a.endTracing(ctx, t.Status(), dropped, f.watching)
}

// serveTracer serves the metrics, if they are wanted.
func (a *app) serveTracer(ctx context.Context, group *errgroup.Group, address string, t *tracer.Tracer) error {
	if address == "" {
		return nil
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(t.Collector())
	server, err := metrics.Listen(ctx, address, registry)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	a.remark("metrics", fmt.Sprintf("metrics at http://%s/metrics", server.Addr()), server.Addr())
	group.Go(func() error { return server.Serve(ctx) })
	return nil
}

// printResults prints results until all are sent.
func (a *app) printResults(t *tracer.Tracer, queue <-chan tracer.Result, sent <-chan struct{}, watching bool) error {
	screen, ok := a.out.(*os.File)
	drawn := ok && watching && !a.json() && term.IsTerminal(int(screen.Fd()))
	ticker := time.NewTicker(traceDrawEvery)
	defer ticker.Stop()
	for {
		select {
		case r := <-queue:
			if err := a.printResult(r, drawn); err != nil {
				return err
			}
		case <-ticker.C:
			if drawn {
				var text strings.Builder
				a.printTracing(&text, t.Status())
				const clear = "\x1b[H\x1b[2J" // to the top, and nothing below
				if _, err := fmt.Fprint(screen, clear, text.String()); err != nil {
					return err
				}
			}
		case <-sent:
			for {
				select {
				case r := <-queue:
					if err := a.printResult(r, drawn); err != nil {
						return err
					}
				default:
					return nil
				}
			}
		}
	}
}

// printResult prints one result: every one for programs, what is not right for
// people.
func (a *app) printResult(r tracer.Result, drawn bool) error {
	switch {
	case a.json():
		return json.NewEncoder(a.out).Encode(r)
	case drawn || r.Outcome == tracer.Right:
		return nil
	}
	_, err := fmt.Fprintln(a.out, resultLine(r))
	return err
}

func resultLine(r tracer.Result) string {
	return fmt.Sprintf("%s %-10s %s of %s through %s%s", r.At.Format("15:04:05.000"), r.Outcome, r.Kind, plain(r.User), r.Proxy, after(": ", plain(r.Why)))
}

// printTracing prints how the tracers do.
func (a *app) printTracing(w io.Writer, s tracer.Status) {
	fmt.Fprintf(w, "map version %d, %d tracers\n", s.Version, len(s.Users))
	if s.Error != "" {
		fmt.Fprintf(w, "the map or the fleet cannot be read: %s\n", plain(s.Error))
	}
	for _, dc := range s.Empty {
		fmt.Fprintf(w, "no tracer goes to %s, where no bucket lives: migrator whitelist add --to %s %s-%s sends one there\n", dc, dc, a.cfg.Tracers.Prefix, dc)
	}
	for _, what := range s.Untraced {
		fmt.Fprintf(w, "not looked at: %s\n", plain(what))
	}
	columns := []any{"proxy", "map", "requests"}
	for _, o := range tracer.Outcomes() {
		columns = append(columns, string(o))
	}
	t := a.table(append(columns, "mean ms", "slowest ms")...)
	t.SetOutputMirror(w)
	for _, p := range s.Proxies {
		row := table.Row{p.Proxy, p.Version, p.Requests}
		for _, o := range tracer.Outcomes() {
			row = append(row, p.Outcomes[o])
		}
		t.AppendRow(append(row, fmt.Sprintf("%.1f", p.MeanMS), fmt.Sprintf("%.1f", p.SlowestMS)))
	}
	t.Render()
	for _, r := range s.Recent[:min(len(s.Recent), traceRecent)] {
		fmt.Fprintln(w, resultLine(r))
	}
}

// endTracing prints the summary, and says what the exit code is to be.
func (a *app) endTracing(ctx context.Context, s tracer.Status, dropped int, watching bool) error {
	if a.json() {
		if err := json.NewEncoder(a.out).Encode(struct {
			tracer.Status
			Dropped int `json:"dropped,omitempty"`
		}{s, dropped}); err != nil {
			return err
		}
	} else {
		a.printTracing(a.out, s)
		if dropped != 0 {
			a.printf("%d results were not printed, as printing was too slow; all are counted\n", dropped)
		}
	}
	untraced := slices.Clone(s.Untraced)
	for _, p := range s.Silent() {
		untraced = append(untraced, "proxy "+p+": nothing was sent through it")
	}
	total := uint64(0)
	for _, p := range s.Proxies {
		total += p.Requests
	}
	switch {
	case s.Bad() != 0:
		return fmt.Errorf("%w: %d of %d requests", errNotRight, s.Bad(), total)
	case total == 0 && ctx.Err() == nil:
		return errors.New("nothing was sent: the map gives no bucket a home, or --for is too short for the rate")
	case len(untraced) != 0:
		return &untracedError{untraced}
	case s.Error != "" && watching:
		return fmt.Errorf("every tracer was right, but the map or the fleet cannot be read: %s", plain(s.Error))
	}
	return nil
}
