package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"drover/bench/internal/pace"
	"drover/bench/internal/times"
	"drover/internal/cli"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

type options struct {
	moves, writers int
	rate           int // writes a second, of all writers; 0 for as many as they can
	buckets        uint32
	rtt            time.Duration
	gate           bool
	waits          bool // --holds
	limit          time.Duration
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

func main() { os.Exit(cli.Run("stall", command())) }

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "stall", Short: "Measure how long a move keeps a writing user waiting", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	c.Flags().IntVar(&o.moves, "moves", 200, "there and back")
	c.Flags().IntVar(&o.writers, "writers", 16, "each with its own users")
	c.Flags().IntVar(&o.rate, "rate", 300, "writes a second of all writers together, besides those to the bucket that moves; 0: no writer pauses")
	c.Flags().Uint32Var(&o.buckets, "buckets", 64, "each with one user")
	c.Flags().DurationVar(&o.rtt, "rtt", 0, "the round trip between the datacenters")
	c.Flags().DurationVar(&o.limit, "for", 0, "begin no move after this time; 0: all are made")
	c.Flags().StringVar(&o.migrator, "migrator", "", "its `binary`; default: ./migrator is built")
	c.Flags().BoolVar(&o.waits, "holds", false, "measure what holds make users behind a proxy wait; --moves is for each row of the table")
	c.Flags().BoolVar(&o.gate, "gate", false, "fail unless the stall is as short as it must be")
	return c
}

// run sets the field, moves, and judges.
func (o options) run(ctx context.Context, out io.Writer) (err error) {
	if o.rate < 0 || o.rate > pace.RateMax {
		return fmt.Errorf("rate %d: want 0 to %d writes a second", o.rate, pace.RateMax)
	}
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
	idle, err := pace.WatchIdle()
	if err != nil {
		return err
	}
	writing, stop := context.WithCancel(ctx)
	defer stop()
	group, writing := errgroup.WithContext(writing)
	began := time.Now()
	pacer := pace.New(o.rate, began)
	for n := range o.writers {
		group.Go(func() error { return c.writer(writing, pacer, n, o.writers) })
	}
	group.Go(func() error { return c.checker(writing) })
	m := moved{parts: map[string]times.Times{}, reasons: map[string]int{}}
	err = o.move(writing, f, c, &m)
	share, idleErr := idle.Share(time.Now())
	stop()
	if err := errors.Join(err, group.Wait(), idleErr); err != nil {
		return err
	}
	took := time.Since(began)
	lost, doubled, err := c.audit(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d moves in %s, round trip %s, %d writers, %s writes, %d buckets: %d writes acknowledged, %d refused and sent again\n",
		len(m.there)+len(m.back), took.Round(time.Second), o.rtt, o.writers, pacer, o.buckets, c.writes.Load(), c.refused.Load())
	fmt.Fprintf(out, "  of the machine's CPU time %.0f %% was idle\n", 100*share)
	m.print(out)
	fmt.Fprintf(out, "  lost %d, doubled %d, stale reads %d of %d\n", lost, doubled, c.stale.Load(), c.reads.Load())
	if lost+doubled != 0 || c.stale.Load() != 0 {
		return fmt.Errorf("%w: writes were lost or doubled, or reads were old", errGate)
	}
	if o.gate {
		return m.judge(o.rtt)
	}
	return nil
}

// moved is what was measured.
type moved struct {
	there, back times.Times            // the stalls
	parts       map[string]times.Times // of the stall, and the time in each state
	reasons     map[string]int         // of steps back
	longest     []longMove             // at most longestMax, the longest first
}

// longMove is a move that took long, and what the migrator says of its stall.
type longMove struct {
	stall time.Duration
	what  string
}

// longestMax is how many of the longest stalls are told one by one.
const longestMax = 5

// remember keeps a move if it is among the longest.
func (m *moved) remember(stall time.Duration, what string) {
	m.longest = append(m.longest, longMove{stall, what})
	slices.SortStableFunc(m.longest, func(a, b longMove) int { return cmp.Compare(b.stall, a.stall) })
	m.longest = m.longest[:min(len(m.longest), longestMax)]
}

// print gives all figures.
func (m *moved) print(out io.Writer) {
	fmt.Fprintf(out, "  write stall, there           %s\n  write stall, back            %s\n", m.there, m.back)
	for _, name := range slices.Sorted(maps.Keys(m.parts)) {
		fmt.Fprintf(out, "  %-28s %s\n", name, m.parts[name])
	}
	for _, l := range m.longest {
		fmt.Fprintf(out, "  among the longest: %s, %s\n", times.Ms(l.stall), l.what)
	}
	for _, reason := range slices.Sorted(maps.Keys(m.reasons)) {
		fmt.Fprintf(out, "  %d × %s\n", m.reasons[reason], reason)
	}
}

// judge says whether the stalls of each direction are as short as they must be.
func (m *moved) judge(rtt time.Duration) error {
	p99, most := stallP99+2*rtt, stallMax+2*rtt
	for name, stalls := range map[string]times.Times{"there": m.there, "back": m.back} {
		if stalls.At(0.99) > p99 || stalls.At(1) > most {
			return fmt.Errorf("%w: 99 of 100 stalls must be at most %s, and all %s; %s they are %s", errGate, times.Ms(p99), times.Ms(most), name, stalls)
		}
	}
	return nil
}

// move takes one bucket after the other there and back.
func (o options) move(ctx context.Context, f *field, c *crowd, m *moved) error {
	began := time.Now()
	for n := range o.moves {
		if o.limit != 0 && time.Since(began) > o.limit {
			break
		}
		b := n / 2 % int(o.buckets)
		args, stalls := []string{"bucket", "return", fmt.Sprint(b)}, &m.back
		if n%2 == 0 {
			args, stalls = []string{"bucket", "move", fmt.Sprint(b), "--to", "gamma"}, &m.there
		}
		if n%2 == 0 && n/2 >= int(o.buckets) {
			// A bucket that goes a second time makes a whole move again. One that
			// soaked through all the others would first have to read what they wrote.
			if _, err := f.migrator(ctx, "bucket", "finish", fmt.Sprint(b)); err != nil {
				return err
			}
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
		*stalls = append(*stalls, stall)
		m.remember(stall, strings.Join(args[:3], " ")+": "+stallNote(events))
		parts := map[string]times.Times{}
		addParts(parts, events)
		for name, all := range parts {
			name += map[bool]string{true: ", there", false: ", back"}[n%2 == 0]
			m.parts[name] = append(m.parts[name], all...)
		}
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
