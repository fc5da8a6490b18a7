package replicate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"drover/internal/pause"
	"drover/migrator/internal/database"
)

// follow makes the replica follow the primary from the copy's position on. It
// may be entered again.
func (r *run) follow(ctx context.Context) error {
	upstreams, err := r.to.Upstreams(ctx)
	if err != nil {
		return err
	}
	if len(upstreams) == 0 {
		if err := r.setUp(ctx); err != nil {
			return fmt.Errorf("%s: %w", r.to.Name(), err)
		}
	}
	if r.mark.State != Following {
		if err := r.saveMark(ctx, func(m *mark) { m.State = Following }); err != nil {
			return err
		}
	}
	r.report(Event{State: Following, Entered: true})
	upstream, err := r.to.OneUpstream(ctx)
	if err != nil {
		return err
	}
	r.crash("before_start", Following)
	if err := r.to.StartReplica(ctx, upstream.Connection); err != nil {
		return err
	}
	r.crash("after_start", Following)
	return r.catchUp(ctx)
}

// setUp gives the replica the history of a server restored from a backup, and
// its upstream. CHANGE MASTER comes last: where there is an upstream, the rest
// was done.
func (r *run) setUp(ctx context.Context) error {
	host, port, err := r.From.HostPort()
	if err != nil {
		return err
	}
	r.crash("before_history", Copied)
	if err := r.quietly(ctx, func(s *session) error {
		if err := s.exec(ctx, "RESET MASTER"); err != nil {
			return err
		}
		if r.mark.Start.History == "" {
			return nil
		}
		return s.exec(ctx, "SET GLOBAL gtid_binlog_state = '"+r.mark.Start.History+"'")
	}); err != nil {
		return err
	}
	r.crash("after_history", Copied)
	if err := r.to.SetReplicaPosition(ctx, r.mark.Start.Position); err != nil {
		return err
	}
	r.crash("before_follow", Copied)
	const retrySeconds = 5
	err = r.to.Follow(ctx, database.Link{Host: host, Port: port, TLS: r.TLS, TLSVerify: r.TLSVerify, RetrySeconds: retrySeconds}, r.Replication)
	r.crash("after_follow", Copied)
	return err
}

const (
	followPoll = 50 * time.Millisecond
	// nearWait is how soon a replica that has caught up applies what is new.
	nearWait = 5 * time.Second
)

// catchUp waits until the replica receives and applies, and is near.
func (r *run) catchUp(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, r.Limits.CatchUp)
	defer cancel()
	err := r.catchUpWithin(limited)
	if errors.Is(limited.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w: it has not caught up within %s; it goes on: run this again, later", ErrReplication, r.Limits.CatchUp)
	}
	return err
}

func (r *run) catchUpWithin(ctx context.Context) error {
	began := time.Now()
	for {
		u, err := r.to.OneUpstream(ctx)
		if err != nil {
			return err
		}
		if err := r.broken(u, time.Since(began)); err != nil {
			return err
		}
		if u.Failure() != "" {
			if err := pause.For(ctx, followPoll); err != nil {
				return err
			}
			continue
		}
		end, err := r.from.BinlogPosition(ctx)
		if err != nil {
			return err
		}
		near, err := r.to.WaitApplied(ctx, end, nearWait)
		if err != nil || near {
			return err
		}
		have, err := r.to.ReplicaPosition(ctx)
		if err != nil {
			return err
		}
		r.report(Event{State: Following, Behind: have.Lag(end)})
	}
}

// broken says why a replica will not go on by itself.
func (r *run) broken(u database.Upstream, since time.Duration) error {
	remedy := "see SHOW ALL SLAVES STATUS"
	switch {
	case strings.Contains(u.ReceiveError, "1236"):
		return fmt.Errorf("%w: %s; keep binlogs for longer (binlog_expire_logs_seconds) and begin anew with --restart", ErrPurged, u.ReceiveError)
	case u.ApplyError != "" && !u.Applies:
		return fmt.Errorf("%w: %s: %s; begin anew with --restart, or mend it and run this again", ErrReplication, r.to.Name(), u.Failure())
	case u.Failure() != "" && since > r.Limits.Connect:
		if u.ReceiveError != "" {
			remedy = "see that the replica's machine reaches the primary's address in the shard list, by the replication account"
		}
		return fmt.Errorf("%w within %s: %s: %s; %s", ErrReplication, r.Limits.Connect, r.to.Name(), u.Failure(), remedy)
	default:
		return nil
	}
}
