package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"drover/internal/pause"
	"drover/migrator/internal/database"
)

// reversing makes the old primary a replica of the new one. While the old
// primary cannot be reached the promotion stays here, and its users are served.
// It may be entered again.
func (r *run) reversing(ctx context.Context) (State, error) {
	if _, err := r.ownRow(ctx); err != nil {
		return "", err
	}
	r.hooksAfter(ctx, AfterPromote)
	limited, cancel := context.WithTimeout(ctx, r.Limits.Reverse)
	defer cancel()
	if err := r.reverse(limited); err != nil {
		return "", r.failed(err, fmt.Sprintf("users are served from %s; once %s is in order run migrator resume %s, "+
			"or give the old primary up with migrator shard finish %s",
			r.promotion.Target, r.from.Name(), r.promotion.Record.Move, r.promotion.Shard))
	}
	r.hooksAfter(ctx, AfterReverse)
	if err := r.release(ctx, r.to, Done, ""); err != nil {
		return "", err
	}
	return Done, nil
}

func (r *run) reverse(ctx context.Context) error {
	if err := reachable(ctx, r.from); err != nil {
		return err
	}
	// It has been since the freeze, unless it was restarted since.
	if readOnly, err := r.from.ReadOnly(ctx); err != nil {
		return err
	} else if !readOnly {
		if err := r.makeReadOnly(ctx, r.from); err != nil {
			return err
		}
	}
	if err := r.doAll(ctx, r.from, commandsStrict(r.dialect)); err != nil {
		return err
	}
	upstream, err := r.followNew(ctx)
	if err != nil {
		return err
	}
	return r.awaitReversed(ctx, upstream)
}

// followNew sets the old primary up to follow the new one, unless it does, and
// starts it. It returns the name of the connection.
func (r *run) followNew(ctx context.Context) (connection string, err error) {
	host, port, err := r.to.HostPort()
	if err != nil {
		return "", err
	}
	upstreams, err := r.from.Upstreams(ctx)
	if err != nil {
		return "", err
	}
	if len(upstreams) > 1 {
		return "", fmt.Errorf("%s follows %d primaries: want none but the new one", r.from.Name(), len(upstreams))
	}
	if len(upstreams) == 1 {
		u := upstreams[0]
		if u.Host != host || u.Port != port {
			return "", fmt.Errorf("%s follows %s:%d: want %s:%d, the new primary; end that with %s",
				r.from.Name(), u.Host, u.Port, host, port, wordsOf(r.dialect).endReplication)
		}
		if u.Failure() == "" {
			return u.Connection, nil
		}
		return u.Connection, r.startOld(ctx, u.Connection)
	}
	if err := r.checkErrant(ctx); err != nil {
		return "", err
	}
	r.crash("before_follow", Reversing)
	if !r.dialect.MySQL() { // there it follows from what the server has
		position, err := oldPosition(ctx, r.from)
		if err != nil {
			return "", err
		}
		if err := r.doAll(ctx, r.from, commandsPosition(r.dialect, position)); err != nil {
			return "", err
		}
	}
	link := r.promotion.Link
	link.Host, link.Port = host, port
	if err := r.do(ctx, r.from, commandFollow(r.dialect, link, r.Replication)); err != nil {
		return "", err
	}
	r.crash("after_follow", Reversing)
	return "", r.startOld(ctx, "")
}

func (r *run) startOld(ctx context.Context, connection string) error {
	r.crash("before_start", Reversing)
	if err := r.do(ctx, r.from, commandStart(r.dialect, connection)); err != nil {
		return err
	}
	r.crash("after_start", Reversing)
	return nil
}

// oldPosition is where a primary that becomes a replica goes on from: the end
// of its binlog, and what it has applied of domains that its binlog has not.
func oldPosition(ctx context.Context, server *database.Server) (database.Position, error) {
	position, err := server.BinlogPosition(ctx)
	if err != nil {
		return nil, err
	}
	applied, err := server.ReplicaPosition(ctx)
	if err != nil {
		return nil, err
	}
	for domain, id := range applied {
		if _, ok := position[domain]; !ok {
			position[domain] = id
		}
	}
	return position, nil
}

// checkErrant makes sure that the new primary has every transaction that the
// old one has: what the old one has alone would be missing elsewhere for good.
func (r *run) checkErrant(ctx context.Context) error {
	errant, err := r.from.Errant(ctx, r.to)
	if err != nil {
		return err
	}
	r.compared(errant)
	if !errant.None() {
		return fmt.Errorf("%w: %s has %s, which the new primary does not have; migrator doctor says how to save them and make it a replica anew",
			ErrErrant, r.from.Name(), errant)
	}
	return nil
}

// reversePoll is how often the threads of a replica that starts are looked at.
const reversePoll = 20 * time.Millisecond

// awaitReversed waits until the old primary receives and applies, and has
// caught up with the new one as it is now.
func (r *run) awaitReversed(ctx context.Context, connection string) error {
	end, err := r.to.Committed(ctx)
	if err != nil {
		return err
	}
	for {
		u, err := r.from.OneUpstream(ctx)
		if err != nil {
			return err
		}
		failure := u.Failure()
		if u.ApplyError != "" && !u.Applies {
			return fmt.Errorf("%w: %s: %s", ErrReplica, r.from.Name(), failure)
		}
		if failure == "" {
			applied, err := r.from.Await(ctx, end, catchUpReport)
			if err != nil {
				return r.reverseEnded(ctx, err, "it has not caught up")
			}
			if applied {
				break
			}
			have, err := r.from.Replicated(ctx)
			if err != nil {
				return r.reverseEnded(ctx, err, "it has not caught up")
			}
			r.report(Event{Move: r.promotion.Record.Move, State: Reversing, Behind: have.Lag(end)})
			continue
		}
		if err := pause.For(ctx, reversePoll); err != nil {
			return r.reverseEnded(ctx, err, failure)
		}
	}
	row, err := shardRow(ctx, r.from)
	if err != nil {
		return err
	}
	id, err := r.to.ServerID(ctx)
	if err != nil {
		return err
	}
	if !r.isSwitched(row, id) {
		return fmt.Errorf("%w: %s has caught up on connection %q, but its row of the shard is %s of server %d",
			ErrReplica, r.from.Name(), connection, row.State, row.ServerID)
	}
	return nil
}

// reverseEnded says what was waited for when the limit ended.
func (r *run) reverseEnded(ctx context.Context, err error, failure string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w within %s: %s: %s", ErrReplica, r.Limits.Reverse, r.from.Name(), failure)
	}
	return err
}

// release takes the promotion's token off the shard's row, which is active on
// the server, and enters the last state, both at once.
func (r *run) release(ctx context.Context, server *database.Server, last State, note string) error {
	row, err := shardRow(ctx, server)
	if err != nil {
		return err
	}
	r.crash("before_release", last)
	err = r.patiently(ctx, func(queue time.Duration) error {
		return r.enterWith(ctx, server, last, note, func(tx *sql.Tx) error {
			if row.Token.Move != r.promotion.Record.Move {
				return nil // planned, and never claimed
			}
			return r.change(ctx, server, tx, queue, changeRelease(r.token))
		})
	})
	if err != nil {
		return fmt.Errorf("free the shard on %s: %w", server.Name(), err)
	}
	r.crash("after_release", last)
	return nil
}
