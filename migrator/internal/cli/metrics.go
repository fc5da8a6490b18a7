package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"drover/migrator/internal/metrics"
	"drover/migrator/internal/move"
)

// measuring is a command's metrics while they are served.
type measuring struct {
	metrics *metrics.Metrics
	stop    context.CancelFunc
	ended   chan error
}

// canMeasure adds --metrics to a command that runs moves.
func (a *app) canMeasure(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&a.metricsListen, "metrics", "",
		"serve Prometheus metrics at this address while the command runs, such as :9911, which is loopback; in the place of metrics_listen")
	return c
}

// measure begins to serve metrics, if they are wanted. An address that the
// operator has given for this command must be had. One of the configuration may
// be another migrator's, and no move is refused for that.
func (a *app) measure(ctx context.Context) error {
	address, given := a.cfg.MetricsListen, a.metricsListen != ""
	if given {
		address = a.metricsListen
	}
	if address == "" || a.measuring != nil || a.dryRun {
		return nil
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m := metrics.New(registry)
	server, err := metrics.Listen(ctx, address, registry)
	switch {
	case err != nil && given:
		return fmt.Errorf("%w: nothing was changed: %w", errUsage, err)
	case err != nil:
		a.remark("warning", fmt.Sprintf("no metrics: %v", err), nil)
		return nil
	}
	// They are there until the command has put everything right, also after an
	// interrupt.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	a.measuring = &measuring{metrics: m, stop: stop, ended: ended}
	go func() { ended <- server.Serve(ctx) }()
	a.remark("metrics", fmt.Sprintf("metrics at http://%s/metrics", server.Addr()), server.Addr())
	return nil
}

// endMeasuring stops serving.
func (a *app) endMeasuring() error {
	if a.measuring == nil {
		return nil
	}
	a.measuring.stop()
	return <-a.measuring.ended
}

// measured passes events on, and to the metrics.
func (a *app) measured(report func(move.Event)) func(move.Event) {
	if a.measuring == nil {
		return report
	}
	return func(e move.Event) {
		a.measuring.metrics.Event(e)
		if report != nil {
			report(e)
		}
	}
}

// remark says something beside the result, for people or, as an event, for
// programs.
func (a *app) remark(event, text string, at net.Addr) {
	if !a.json() {
		fmt.Fprintf(a.errOut, "migrator: %s\n", text)
		return
	}
	said := map[string]string{"event": event, "note": text}
	if at != nil {
		said["address"] = at.String()
	}
	_ = json.NewEncoder(a.errOut).Encode(said) // who has gone needs no word
}

// closeAll ends what a command has opened.
func (a *app) closeAll() error { return errors.Join(a.endMeasuring(), a.close()) }
