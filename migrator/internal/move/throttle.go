package move

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"drover/migrator/internal/database"
	"drover/migrator/internal/throttle"
)

// ThrottleLimits say when copying and purging wait. Zero values bound nothing.
type ThrottleLimits struct {
	// LagMax is how far each of Replicas may be behind its primary.
	LagMax time.Duration
	// Replicas are addresses, host:port, of replicas of either end, with commas
	// between.
	Replicas string
	// ThreadsRunningMax bounds Threads_running at both ends.
	ThreadsRunningMax int
	// HistoryMax bounds the InnoDB history list at both ends.
	HistoryMax int
	// RowsPerSecond bounds the rows copied or purged.
	RowsPerSecond int
}

// throttled calls f with a throttle that looks at both ends of the leg and at
// the replicas while f runs.
func (r *run) throttled(ctx context.Context, f func(*throttle.Throttle) error) (err error) {
	limits := r.Limits.Throttle
	t := &throttle.Throttle{RowsPerSecond: limits.RowsPerSecond, Report: func(reason string) {
		r.report(Event{Move: r.move.Record.Move, State: r.move.State(), Note: "waiting: " + reason})
	}}
	for _, server := range []*database.Server{r.from, r.to} {
		if limits.ThreadsRunningMax > 0 {
			t.Gauges = append(t.Gauges, throttle.Status{Server: server, Name: throttle.ThreadsRunning, Max: uint64(limits.ThreadsRunningMax)})
		}
		if limits.HistoryMax > 0 {
			t.Gauges = append(t.Gauges, throttle.Status{Server: server, Name: throttle.HistoryLength, Max: uint64(limits.HistoryMax)})
		}
	}
	for addr := range strings.SplitSeq(limits.Replicas, ",") {
		if addr = strings.TrimSpace(addr); addr == "" {
			continue
		}
		// A replica has the account of its primary.
		replica, err := database.Open(r.from.Shard, r.from.Datacenter, addr, "", r.from.Account)
		if err != nil {
			return fmt.Errorf("throttle: %w", err)
		}
		defer func() { err = errors.Join(err, replica.Close()) }()
		t.Gauges = append(t.Gauges, &throttle.Lag{Replica: replica, Primaries: []*database.Server{r.from, r.to}, Max: limits.LagMax})
	}
	t.Start(ctx)
	defer t.Stop()
	return f(t)
}
