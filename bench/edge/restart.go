package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover/bench/edge/internal/handover"
	"drover/internal/pause"
)

const (
	restartClients = 64
	restartRate    = 500                    // requests a second of all clients
	restartSteady  = 500 * time.Millisecond // before and behind each event
	restartRunsMax = 1000
)

// The ways in which one process follows the other.
const (
	followHot    = "hot restart"         // SIGUSR2: the new one takes the sockets over
	followBeside = "drain, one beside"   // the new one listens beside (reuse_port), then SIGTERM
	followAfter  = "drain, then start"   // SIGTERM, then the new one
	followAll    = "all, and at the end" // the sum
)

// restartSample is one run.
type restartSample struct {
	Run          int            `json:"run"`
	Way          string         `json:"way"`
	Requests     int            `json:"requests"`
	Acknowledged int            `json:"acknowledged"`
	Lost         int            `json:"lost"`
	Doubled      int            `json:"doubled"`
	Refused      int            `json:"refused_connects"`
	Gap          float64        `json:"longest_gap_ms"`
	Kinds        map[string]int `json:"kinds,omitempty"`
}

func restartCommand(b *bench) *cobra.Command {
	var runs int
	cmd := &cobra.Command{
		Use: "restart", Short: "Replace the edge under load and count what is lost", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.run(cmd, func(ctx context.Context) error { return b.restart(ctx, runs) })
		},
	}
	cmd.Flags().IntVar(&runs, "runs", 10, "how often it is replaced in each way")
	return cmd
}

// restart replaces the edge runs times in each way.
func (b *bench) restart(ctx context.Context, runs int) (err error) {
	if runs < 1 || runs > restartRunsMax {
		return fmt.Errorf("--runs is 1 to %d", restartRunsMax)
	}
	ledger, err := handover.NewLedger(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.Stop()) }()
	place, err := handover.NewPlace(ctx, b.dir, b.proxy, ledger.Address, b.scene)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.Close()) }()
	serving, err := place.Start(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if serving != nil {
			err = errors.Join(err, serving.End())
		}
	}()
	crowd := handover.NewCrowd(ctx, place.Address, b.scene.Users, restartClients, restartRate)
	c := &counting{crowd: crowd, ledger: ledger}
	for _, way := range []string{followHot, followBeside, followAfter} {
		for range runs {
			if serving, err = b.follow(ctx, c, place, serving, way); err != nil {
				crowd.Stop()
				return err
			}
		}
	}
	c.end(crowd.Stop())
	b.restartTable(c.samples)
	return errors.Join(c.fault(), b.save("restart", c.samples))
}

// follow has one process follow another, between two steady times.
func (b *bench) follow(ctx context.Context, c *counting, place *handover.Place, old *handover.Process, way string) (next *handover.Process, err error) {
	if err := pause.For(ctx, restartSteady); err != nil {
		return old, err
	}
	switch way {
	case followHot:
		next, err = old.Replace(ctx)
	case followBeside:
		if next, err = place.Start(ctx); err == nil {
			err = old.End()
		}
	default:
		if err = old.End(); err == nil {
			next, err = place.Start(ctx)
		}
	}
	if err != nil {
		return next, fmt.Errorf("%s: %w", way, err)
	}
	if err := pause.For(ctx, restartSteady); err != nil {
		return next, err
	}
	s := c.run(way)
	b.progress("run %d, %s: %d requests, %d lost, %d doubled, %d connects refused, longest gap %.0f ms",
		s.Run, way, s.Requests, s.Lost, s.Doubled, s.Refused, s.Gap)
	return next, nil
}

// counting is the runs so far.
type counting struct {
	crowd   *handover.Crowd
	ledger  *handover.Ledger
	samples []restartSample
	before  handover.Totals
	doubled int
}

// run ends a run: what was counted since the last one is its own.
func (c *counting) run(way string) restartSample {
	now, doubled := c.crowd.Totals(), c.ledger.Doubled()
	s := restartSample{
		Run: len(c.samples) + 1, Way: way, Requests: now.Sent - c.before.Sent, Acknowledged: now.Acknowledged - c.before.Acknowledged,
		Lost: now.Lost - c.before.Lost, Doubled: doubled - c.doubled, Refused: now.Refused - c.before.Refused, Gap: now.Gap.Seconds() * 1e3,
	}
	c.samples, c.before, c.doubled = append(c.samples, s), now, doubled
	return s
}

// end adds the sum. Requests under way at the end of a run are in the next
// one's answers: only the sum comes out even.
func (c *counting) end(all handover.Totals) {
	sum := restartSample{
		Way: followAll, Requests: all.Sent, Acknowledged: all.Acknowledged, Lost: all.Lost,
		Doubled: c.ledger.Doubled(), Refused: all.Refused, Kinds: all.Kinds,
	}
	for number := 1; number <= all.Sent; number++ {
		if !c.ledger.Saw(uint64(number)) && all.Lost == 0 {
			sum.Lost++ // answered by somebody else than the application
		}
	}
	for _, s := range c.samples {
		sum.Gap = max(sum.Gap, s.Gap)
	}
	c.samples = append(c.samples, sum)
}

// fault says what was lost or came twice.
func (c *counting) fault() error {
	sum := c.samples[len(c.samples)-1]
	if sum.Lost == 0 && sum.Doubled == 0 && sum.Acknowledged == sum.Requests {
		return nil
	}
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(sum.Kinds)) {
		kinds = append(kinds, fmt.Sprintf("%d times %s", sum.Kinds[kind], kind))
	}
	return fmt.Errorf("%w: of %d requests %d were acknowledged, %d lost, %d doubled: %s",
		errGate, sum.Requests, sum.Acknowledged, sum.Lost, sum.Doubled, strings.Join(kinds, "; "))
}

func (b *bench) restartTable(samples []restartSample) {
	fmt.Fprintf(b.out, "\n%srestart: %d POSTs/s on %d connections that are kept alive\n\n", prefix(b.label), restartRate, restartClients)
	b.grid(func(w io.Writer) {
		fmt.Fprintln(w, "run\tway\trequests\tacknowledged\tlost\tdoubled\trefused connects\tlongest gap ms")
		for _, s := range samples {
			fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\t%d\t%d\t%.0f\n", s.Run, s.Way, s.Requests, s.Acknowledged, s.Lost, s.Doubled, s.Refused, s.Gap)
		}
	})
}
