package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"drover/bench/internal/pace"
	"drover/internal/cli"
	"drover/internal/pause"
)

type options struct {
	promotions, rate, direct, writers, users int
	pause, limit                             time.Duration
	gate                                     bool
	bin                                      string
}

const (
	// stallP99 is the gate: 99 of 100 stalls, each way.
	stallP99 = 150 * time.Millisecond
	// writersMax bounds the connections, to the proxy and from there on.
	writersMax = 1024
	usersMax   = 1_000_000
	// rateShare is how much of the rate must have been reached: below it the
	// stalls are those of other writes than were asked for.
	rateShare = 0.95
	// entriesMax bounds the book: × 72 bytes = 360 MB. 200 promotions under 1,000
	// writes a second make some 300,000.
	entriesMax = 5_000_000
)

var errGate = errors.New("not good enough")

func main() { os.Exit(cli.Run("promote", command())) }

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "promote", Short: "Measure how long promotions keep writing users waiting", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	c.Flags().IntVar(&o.promotions, "promotions", 200, "there and back")
	c.Flags().IntVar(&o.rate, "rate", 1000, "writes a second of all writers together")
	c.Flags().IntVar(&o.direct, "direct", 800, "how many of these go straight to the shard, by shardlib")
	c.Flags().IntVar(&o.writers, "writers", 128, "how many writes may be under way, of each kind")
	c.Flags().IntVar(&o.users, "users", 4096, "of each kind, each with one writer")
	c.Flags().DurationVar(&o.pause, "pause", time.Second, "between two promotions")
	c.Flags().DurationVar(&o.limit, "for", 0, "begin no promotion after this time; 0: all are made")
	c.Flags().StringVar(&o.bin, "bin", "", "a `folder` with migrator, proxy and sampleapp; default: they are built")
	c.Flags().BoolVar(&o.gate, "gate", false, "fail unless the stall is as short as it must be")
	return c
}

// check reports what cannot be run.
func (o options) check() error {
	switch {
	case o.promotions < 1:
		return fmt.Errorf("%d promotions: want at least 1", o.promotions)
	case o.rate < 1 || o.rate > pace.RateMax:
		return fmt.Errorf("rate %d: want 1 to %d writes a second", o.rate, pace.RateMax)
	case o.direct < 0 || o.direct >= o.rate:
		return fmt.Errorf("--direct %d: want at least 0, and fewer than the rate, %d writes a second", o.direct, o.rate)
	case o.writers < 1 || o.writers > writersMax:
		return fmt.Errorf("%d writers: want 1 to %d", o.writers, writersMax)
	case o.users < o.writers || o.users > usersMax:
		return fmt.Errorf("%d users: want at least one a writer, %d, and at most %d", o.users, o.writers, usersMax)
	case o.pause < 0 || o.limit < 0:
		return fmt.Errorf("--pause %s, --for %s: want no time below 0", o.pause, o.limit)
	}
	return nil
}

// run sets the field, promotes under load, and judges.
func (o options) run(ctx context.Context, out io.Writer) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	began := time.Now()
	f, err := newField(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	phase := func(format string, args ...any) {
		fmt.Fprintf(out, "%8s  %s\n", time.Since(began).Round(100*time.Millisecond), fmt.Sprintf(format, args...))
	}
	phase("%s in %s, its replica in %s, an application in each, the proxy", shard, legacy, cloud)
	r, failure := o.measure(ctx, f, phase)
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), failure) // with the migrator's last words
	}
	if r == nil {
		return failure
	}
	if err := r.judge(ctx, f); err != nil {
		return errors.Join(failure, err)
	}
	phase("both servers are compared with what was acknowledged")
	r.print(out)
	return errors.Join(failure, r.verdict(o))
}

// measure promotes while the writers write. What it returns was measured, also
// beside an error, but for nil.
func (o options) measure(ctx context.Context, f *field, phase func(string, ...any)) (r *result, err error) {
	idle, err := pace.WatchIdle()
	if err != nil {
		return nil, err
	}
	r = &result{began: time.Now(), parts: newParts(), reasons: map[string]int{}, failures: map[string]int{}}
	web := newProxied(f.proxy.Address, o.writers)
	defer web.close()
	crowds := []*crowd{newCrowd(web, 0, o.users, o.writers)}
	rates := []int{o.rate - o.direct}
	if o.direct > 0 {
		straight, failure := f.direct(ctx)
		if failure != nil {
			return nil, failure
		}
		defer func() { err = errors.Join(err, straight.close()) }()
		crowds, rates = append(crowds, newCrowd(straight, directFirst, o.users, o.writers)), append(rates, o.direct)
	}
	writing, stop := context.WithCancel(ctx)
	defer stop()
	group, writing := errgroup.WithContext(writing)
	for i, c := range crowds {
		pacer := pace.New(rates[i], r.began)
		for n := range o.writers {
			group.Go(func() error { return c.write(writing, pacer, n) })
		}
	}
	for i, c := range crowds {
		if err := c.wait(writing, rates[i]/4); err != nil { // and the first connections are there
			stop()
			return nil, errors.Join(err, group.Wait())
		}
	}
	phase("%d writes a second through the proxy, %d straight to the shard", o.rate-o.direct, o.direct)
	err = o.promote(writing, f, r)
	phase("%d promotions", len(r.promotions))
	r.took = time.Since(r.began)
	var idleErr error
	r.idle, idleErr = idle.Share(time.Now())
	stop()
	err = errors.Join(err, group.Wait(), idleErr)
	for _, c := range crowds {
		r.entries = append(r.entries, c.all()...)
		for reason, n := range c.reasons() {
			r.failures[reason] += n
		}
	}
	phase("the writers have ended, %d writes", len(r.entries))
	return r, err
}

// promote takes the shard there and back.
func (o options) promote(ctx context.Context, f *field, r *result) error {
	for n := range o.promotions {
		if o.limit > 0 && time.Since(r.began) >= o.limit {
			return nil
		}
		from, to := f.ends(n)
		p := promotion{from: f.servers[from].ServerID(), to: f.servers[to].ServerID(), target: to, began: time.Now()}
		events, err := f.migrator(ctx, "shard", "promote", string(shard), "--to", string(to))
		if err != nil {
			return err
		}
		p.ended, p.entered = time.Now(), entered(events)
		p.stays = stays(events, p.began, p.ended)
		stepsBack(r.reasons, events)
		r.promotions = append(r.promotions, p)
		if pause.For(ctx, o.pause) != nil {
			return nil //nolint:nilerr // a writer's error says why
		}
	}
	return nil
}
