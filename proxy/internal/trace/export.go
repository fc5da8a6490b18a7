package trace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// queueMax bounds the ended requests that wait to be exported.
	queueMax = 2048 // × 1 KB = 2 MB
	// batchMax is how many requests one export has.
	batchMax = 512
	// batchWait is how long a span waits for others.
	batchWait = 5 * time.Second
	// exportMax bounds one export, its retries together.
	exportMax = 10 * time.Second
	// The waits between an export's tries begin and end here.
	retryFirst = 200 * time.Millisecond
	retryMax   = 5 * time.Second
	// flushMax bounds the exports at the program's end.
	flushMax = 3 * time.Second
)

// exporter is what Run wants of the OTLP client.
type exporter interface {
	ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error
	Shutdown(ctx context.Context) error
}

// Run exports until ctx ends, and then what is left, for a bounded time. A
// collector that cannot be reached is no error of the edge's: its spans are
// dropped and counted.
func (t *Tracer) Run(ctx context.Context) error {
	if t == nil {
		<-ctx.Done()
		return nil
	}
	out, err := t.open(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	// What is under way when ctx ends is not cut off at once.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	ended := context.AfterFunc(ctx, func() { time.AfterFunc(flushMax, cut) })
	defer ended()
	r := &run{tracer: t, out: out, resource: t.resource()}
	tick := time.NewTicker(t.options.Wait)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-t.many:
		case <-ctx.Done():
		}
		r.drain(work)
	}
	r.drain(work) // what came while the one before was under way
	if err := out.Shutdown(work); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close the exporter of spans: %w", err)
	}
	return nil
}

func (t *Tracer) open(ctx context.Context) (exporter, error) {
	out, err := otlptracehttp.New(ctx,
		otlptracehttp.WithEndpointURL(t.endpoint), otlptracehttp.WithHeaders(t.options.Headers),
		otlptracehttp.WithTimeout(exportMax), otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMax, MaxElapsedTime: exportMax,
		}))
	if err != nil {
		return nil, fmt.Errorf("open the exporter of spans to %s: %w", t.endpoint, err)
	}
	return out, nil
}

func (t *Tracer) resource() *resource.Resource {
	return resource.NewSchemaless(
		attribute.String("service.name", t.options.Service), attribute.String("service.instance.id", t.options.Instance))
}

// run is Run's state.
type run struct {
	tracer   *Tracer
	out      exporter
	resource *resource.Resource
}

// drain exports what is queued now, a batch at a time.
func (r *run) drain(ctx context.Context) {
	for left := len(r.tracer.queue); left > 0; {
		n := min(left, batchMax)
		left -= n
		r.export(ctx, n)
	}
}

func (r *run) export(ctx context.Context, n int) {
	var spans []sdk.ReadOnlySpan
	for range n { // nobody else takes from the queue
		spans = append(spans, r.tracer.spansOf(<-r.tracer.queue, r.resource)...)
	}
	ctx, cancel := context.WithTimeout(ctx, exportMax)
	defer cancel()
	if err := r.out.ExportSpans(ctx, spans); err != nil {
		r.tracer.drop(n)
	}
}
