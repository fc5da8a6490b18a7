package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"drover/shardlib/fence"
	"drover/tools/testservers"
)

type options struct {
	moves, writers int
	buckets        uint32
	rtt            time.Duration
	gate           bool
	waits          bool // --holds
	migrator       string

	// Other tables than the writers' own, for the holds.
	tables  func(context.Context, *testservers.MariaDB) error
	sharded []fence.Sharded
}

const (
	// landMax bounds the wait for the first write at the new home.
	landMax = 30 * time.Second
	// The gate: 99 of 100 within two round trips and this, and all within stallMax
	// and two round trips.
	stallP99 = 30 * time.Millisecond
	stallMax = 100 * time.Millisecond
)

var errGate = errors.New("not good enough")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "stall:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "stall", Short: "Measure how long a move keeps a writing user waiting", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	c.Flags().IntVar(&o.moves, "moves", 200, "there and back")
	c.Flags().IntVar(&o.writers, "writers", 16, "that write without a pause")
	c.Flags().Uint32Var(&o.buckets, "buckets", 64, "each with one user")
	c.Flags().DurationVar(&o.rtt, "rtt", 0, "the round trip between the datacenters")
	c.Flags().StringVar(&o.migrator, "migrator", "", "its `binary`; default: ./migrator is built")
	c.Flags().BoolVar(&o.waits, "holds", false, "measure what holds make users behind a proxy wait; --moves is for each row of the table")
	c.Flags().BoolVar(&o.gate, "gate", false, "fail unless the stall is as short as it must be")
	return c
}

// run sets the field, moves, and judges.
func (o options) run(ctx context.Context, out io.Writer) (err error) {
	if o.writers < 1 || o.buckets == 0 || int(o.buckets)%o.writers != 0 {
		return fmt.Errorf("%d buckets, %d writers: want as many buckets as writers, or a multiple: each user has one writer", o.buckets, o.writers)
	}
	if o.waits {
		return o.holds(ctx, out)
	}
	f, err := newField(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	c := newCrowd(f.libs, o.buckets)
	writing, stop := context.WithCancel(ctx)
	defer stop()
	group, writing := errgroup.WithContext(writing)
	for n := range o.writers {
		group.Go(func() error { return c.writer(writing, n, o.writers) })
	}
	group.Go(func() error { return c.checker(writing) })
	began := time.Now()
	m := moved{parts: map[string]figures{}, reasons: map[string]int{}}
	err = o.move(writing, f, c, &m)
	stalls := m.stalls
	stop()
	if err := errors.Join(err, group.Wait()); err != nil {
		return err
	}
	took := time.Since(began)
	lost, doubled, err := c.audit(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d moves in %s, round trip %s, %d writers, %d buckets: %d writes acknowledged, %d refused and sent again\n",
		len(stalls), took.Round(time.Second), o.rtt, o.writers, o.buckets, c.writes.Load(), c.refused.Load())
	fmt.Fprintf(out, "  write stall        %s\n", stalls)
	for _, name := range slices.Sorted(maps.Keys(m.parts)) {
		fmt.Fprintf(out, "  %-22s %s\n", name, m.parts[name])
	}
	for _, reason := range slices.Sorted(maps.Keys(m.reasons)) {
		fmt.Fprintf(out, "  %d × %s\n", m.reasons[reason], reason)
	}
	fmt.Fprintf(out, "  lost %d, doubled %d, stale reads %d of %d\n", lost, doubled, c.stale.Load(), c.reads.Load())
	if lost+doubled != 0 || c.stale.Load() != 0 {
		return fmt.Errorf("%w: writes were lost or doubled, or reads were old", errGate)
	}
	if p99, most := stallP99+2*o.rtt, stallMax+2*o.rtt; o.gate && (stalls.at(0.99) > p99 || stalls.at(1) > most) {
		return fmt.Errorf("%w: 99 of 100 stalls must be at most %s, and all %s", errGate, ms(p99), ms(most))
	}
	return nil
}

// moved is what was measured.
type moved struct {
	stalls  figures
	parts   map[string]figures // of the stall, and the time in each state
	reasons map[string]int     // of steps back
}

// move takes the buckets there, one after the other, and back.
func (o options) move(ctx context.Context, f *field, c *crowd, m *moved) error {
	for n := range o.moves {
		b := n % int(o.buckets)
		args := []string{"bucket", "return", fmt.Sprint(b)}
		if n < int(o.buckets) {
			args = []string{"bucket", "move", fmt.Sprint(b), "--to", "gamma"}
		}
		before, _ := c.users[b].changes()
		c.focus.Store(int64(b))
		events, err := f.migrator(ctx, args...)
		if err != nil {
			return err
		}
		stall, err := c.landed(ctx, b, before)
		if err != nil {
			return err
		}
		c.focus.Store(nobody)
		m.stalls = append(m.stalls, stall)
		addParts(m.parts, events)
		stepsBack(m.reasons, events)
	}
	return nil
}

// landed waits for the first write at the new home.
func (c *crowd) landed(ctx context.Context, bucket, before int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, landMax)
	defer cancel()
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for {
		if n, stall := c.users[bucket].changes(); n != before {
			return stall, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("bucket %d: no write at the new home: %w", bucket, context.Cause(ctx))
		case <-ticks.C:
		}
	}
}
