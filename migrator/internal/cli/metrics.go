package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"drover/migrator/internal/database"
	"drover/migrator/internal/metrics"
	"drover/migrator/internal/move"
	"drover/migrator/internal/promote"
	"drover/migrator/internal/replicate"
)

// measuring is a command's metrics while it runs.
type measuring struct {
	metrics *metrics.Metrics
	own     prometheus.Gatherer // without those of a Go program
	stop    context.CancelFunc  // nil when they are served nowhere
	ended   chan error
}

// canMeasure adds --metrics and --metrics-file to a command that runs moves or
// promotions.
func (a *app) canMeasure(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&a.metricsListen, "metrics", "",
		"serve Prometheus metrics at this address while the command runs, such as :9911, which is loopback; in the place of metrics_listen")
	c.Flags().StringVar(&a.metricsFile, "metrics-file", "",
		"when the command ends, write its metrics to this file, NAME.prom, for the textfile collector of node_exporter")
	return c
}

// measure begins to count, and to serve metrics, if they are wanted. An address
// that the operator has given for this command must be had. One of the
// configuration may be another migrator's, and no move is refused for that.
func (a *app) measure(ctx context.Context) error {
	address, given := a.cfg.MetricsListen, a.metricsListen != ""
	if given {
		address = a.metricsListen
	}
	if address == "" && a.metricsFile == "" || a.measuring != nil || a.dryRun {
		return nil
	}
	if err := a.checkMetricsFile(); err != nil {
		return fmt.Errorf("%w: nothing was changed: %w", errUsage, err)
	}
	own := prometheus.NewRegistry()
	m := &measuring{metrics: metrics.New(own), own: own}
	if address == "" {
		a.measuring = m
		return nil
	}
	program := prometheus.NewRegistry()
	program.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	server, err := metrics.Listen(ctx, address, prometheus.Gatherers{own, program})
	switch {
	case err != nil && given:
		return fmt.Errorf("%w: nothing was changed: %w", errUsage, err)
	case err != nil:
		a.remark("warning", fmt.Sprintf("no metrics: %v", err), nil)
		if a.metricsFile != "" {
			a.measuring = m
		}
		return nil
	}
	// They are there until the command has put everything right, also after an
	// interrupt.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop, m.ended = stop, make(chan error, 1)
	a.measuring = m
	go func() { m.ended <- server.Serve(ctx) }()
	a.remark("metrics", fmt.Sprintf("metrics at http://%s/metrics", server.Addr()), server.Addr())
	return nil
}

// checkMetricsFile refuses a file that nobody would read, or that could not be
// written, before anything is done.
func (a *app) checkMetricsFile() error {
	if a.metricsFile == "" {
		return nil
	}
	if filepath.Ext(a.metricsFile) != ".prom" {
		return fmt.Errorf("--metrics-file %q: want a name that ends with .prom: node_exporter reads no other", a.metricsFile)
	}
	probe, err := os.CreateTemp(filepath.Dir(a.metricsFile), ".probe-*")
	if err != nil {
		return fmt.Errorf("--metrics-file: %w; make the folder, or give another", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// endMeasuring stops serving, and writes the file. That it cannot be written is
// no failure of what the command has done.
func (a *app) endMeasuring() error {
	if a.measuring == nil {
		return nil
	}
	if a.metricsFile != "" {
		if err := prometheus.WriteToTextfile(a.metricsFile, a.measuring.own); err != nil {
			a.remark("warning", fmt.Sprintf("no metrics in %s: %v", a.metricsFile, err), nil)
		}
	}
	if a.measuring.stop == nil {
		return nil
	}
	a.measuring.stop()
	return <-a.measuring.ended
}

// measuredPromotion has an engine's events passed on, and to the metrics.
func (a *app) measuredPromotion(e *promote.Engine) *promote.Engine {
	if a.measuring == nil {
		return e
	}
	m, report := a.measuring.metrics.Promotions, e.Report
	e.Observer = m
	e.Report = func(event promote.Event) {
		m.Event(event)
		if report != nil {
			report(event)
		}
	}
	return e
}

// failedOver counts a failover.
func (a *app) failedOver(loss *promote.Loss) {
	if a.measuring == nil {
		return
	}
	known := metrics.LossUnknown
	if loss.SemiSync {
		known = metrics.LossSemiSync
	}
	a.measuring.metrics.Promotions.FailedOver(known, unapplied(loss))
}

// unapplied is how many transactions the replica of a lost primary has still to
// apply. What the loss says was read from the server: it can be read again.
func unapplied(loss *promote.Loss) uint64 {
	applied, err := database.ParsePosition(loss.Applied)
	if err != nil {
		return 0
	}
	received, err := database.ParsePosition(loss.Received)
	if err != nil {
		return 0
	}
	return applied.Lag(received)
}

// measuredReplica has an engine's events passed on, and to the metrics.
func (a *app) measuredReplica(report func(replicate.Event)) func(replicate.Event) {
	if a.measuring == nil {
		return report
	}
	return func(e replicate.Event) {
		a.measuring.metrics.Replicas.Event(e)
		report(e)
	}
}

// proven counts what a proof found, if it came to its end.
func (a *app) proven(result *replicate.Result, err error) {
	if a.measuring != nil && result != nil && (err == nil || errors.Is(err, replicate.ErrDiffers)) {
		a.measuring.metrics.Replicas.Proven(result, time.Now())
	}
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
