package throttle

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"drover/migrator/internal/database"
)

// Status waits while a number of SHOW GLOBAL STATUS is above Max.
type Status struct {
	Server *database.Server
	Name   string // such as Threads_running
	Max    uint64
}

// The numbers that are worth looking at.
const (
	ThreadsRunning = "Threads_running"
	HistoryLength  = "Innodb_history_list_length"
)

// Look reads the number.
func (s Status) Look(ctx context.Context) (string, error) {
	var name, text string
	err := s.Server.DB.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE ?", s.Name).Scan(&name, &text)
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", s.Server.Name(), s.Name, err)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return "", fmt.Errorf("%s: %s is %q: %w", s.Server.Name(), s.Name, text, err)
	}
	if n > s.Max {
		return fmt.Sprintf("%s: %s is %d, above %d", s.Server.Name(), s.Name, n, s.Max), nil
	}
	return "", nil
}

// Lag waits while a replica is more than Max behind.
//
// It is measured in two ways, and the worse one counts. The replica's own
// figure, in whole seconds, leaves out what it has not yet received. So the end
// of its primary's binlog is noted at every look, with the time: the replica is
// behind by the age of the first of these that it has not reached. No clock but
// our own is in that. It needs to know the primary: it is one of Primaries, by
// server id, or the replica's own figure is all there is.
type Lag struct {
	Replica   *database.Server
	Primaries []*database.Server
	Max       time.Duration

	mu      sync.Mutex
	primary *database.Server
	ends    []end // oldest first
}

// end is where a primary's binlog ended.
type end struct {
	at       time.Time
	position database.Position
}

// endsMax bounds what is remembered: a minute's looks. A replica that is
// further behind is at least so much behind.
const endsMax = int(time.Minute / Interval)

// Look measures the lag.
func (l *Lag) Look(ctx context.Context) (string, error) {
	name := "replica " + l.Replica.Addr
	upstream, err := l.Replica.OneUpstream(ctx)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if failure := upstream.Failure(); failure != "" {
		return name + ": " + failure, nil
	}
	if !upstream.BehindSeconds.Valid {
		return name + ": it does not say how far behind it is", nil
	}
	lag := time.Duration(upstream.BehindSeconds.Int64) * time.Second
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.findPrimary(ctx, upstream.ServerID); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if l.primary != nil {
		behind, err := l.behind(ctx)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		lag = max(lag, behind)
	}
	if lag > l.Max {
		return fmt.Sprintf("%s is %s behind, more than %s", name, lag.Round(time.Millisecond), l.Max), nil
	}
	return "", nil
}

func (l *Lag) findPrimary(ctx context.Context, id uint32) error {
	if l.primary != nil {
		return nil
	}
	for _, p := range l.Primaries {
		own, err := p.ServerID(ctx)
		if err != nil {
			return err
		}
		if own == id {
			l.primary = p
		}
	}
	return nil
}

// behind notes the primary's end, and returns the age of the first end that the
// replica has not reached.
func (l *Lag) behind(ctx context.Context) (time.Duration, error) {
	now := time.Now()
	position, err := l.primary.BinlogPosition(ctx)
	if err != nil {
		return 0, err
	}
	if len(l.ends) == endsMax {
		l.ends = append(l.ends[:1], l.ends[2:]...) // the oldest one stays: it is the lag
	}
	l.ends = append(l.ends, end{now, position})
	applied, err := l.Replica.ReplicaPosition(ctx)
	if err != nil {
		return 0, err
	}
	for len(l.ends) != 0 && applied.Reached(l.ends[0].position) {
		l.ends = l.ends[1:]
	}
	if len(l.ends) == 0 {
		return 0, nil
	}
	return now.Sub(l.ends[0].at), nil
}
