package promote

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/machine"
	"drover/shardlib/fence"
)

// A failover makes the replica of a primary that is lost the primary. Nothing
// but an operator begins one, and what it may lose is said before. In order: (1)
// what the replica received is applied, and its replication stopped; (2) the
// promotion is in the new primary's journal, in state switching; (3) the
// replication is forgotten; (4) the
// shard's row becomes active for the new primary, two epochs up; from here on it
// is a promotion like any other that has not reversed yet.
//
// Killed up to (1) it is begun again by the same command, from (2) on it is
// resumed. There is no abort: the replica is the only one that can serve.
//
// The old primary's own row stays active, for its own server_id and in the old
// epoch: it cannot be reached. By a map from before the failover applications
// would write to it when it comes back, by the new one none does. It must come
// back read-only, or not at all, until Resume has made it so.

// ErrNotLost is returned for a failover from a primary that can be reached, or
// that the replica still receives from.
var ErrNotLost = errors.New("the primary is not lost")

// Sighting is what a server knows of the lost primary's transactions.
type Sighting struct {
	Server string `json:"server"`
	What   string `json:"what"` // "applied" or "received"
	GTID   string `json:"gtid"`
}

// Loss says what a failover may lose.
type Loss struct {
	Shard bucketmap.ShardName  `json:"shard"`
	From  bucketmap.Datacenter `json:"from"`
	To    bucketmap.Datacenter `json:"to"`
	// Applied and Received are the replica's; what is received and not applied is
	// applied first.
	Applied  string     `json:"applied"`
	Received string     `json:"received"`
	Seen     []Sighting `json:"seen"`
	// SemiSync says that the replica acknowledges semi-synchronously.
	SemiSync bool            `json:"semi_sync"`
	Epoch    bucketmap.Epoch `json:"epoch"` // that the shard gets
}

func (l *Loss) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "shard %s: the primary in %s is given up, the replica in %s becomes the primary, epoch %d\n", l.Shard, l.From, l.To, l.Epoch)
	fmt.Fprintf(&b, "  kept:  all up to %s, which the replica has received; up to %s it is applied, the rest is applied first\n", orNone(l.Received), orNone(l.Applied))
	for _, s := range l.Seen {
		fmt.Fprintf(&b, "  known: %s has %s %s\n", s.Server, s.What, orNone(s.GTID))
	}
	fmt.Fprintf(&b, "  lost:  every transaction after %s that the primary has acknowledged to users and not sent; how many there are cannot be known here\n", orNone(l.Received))
	if l.SemiSync {
		b.WriteString("         none, if the primary waited for this replica (semi-sync, wait point AFTER_SYNC) and had not given up waiting:\n" +
			"         look for \"Semi-sync replication switched OFF\" in its error log, or at what watched Rpl_semi_sync_master_status\n")
	}
	fmt.Fprintf(&b, "  then:  the primary in %s must not come back writable: see that it cannot start, or starts with read_only = 1;\n"+
		"         when it is back: migrator resume", l.From)
	return b.String()
}

func orNone(gtid string) string {
	if gtid == "" {
		return "nothing"
	}
	return gtid
}

// InspectLost looks for everything that could make a failover fail or lose more
// than it must, says what it may lose, and changes nothing.
func (e *Engine) InspectLost(ctx context.Context, plan Plan) ([]Result, *Loss, error) {
	x, err := e.find(ctx, plan)
	if err != nil {
		return nil, nil, err
	}
	i := &inspection{Engine: e, ends: x}
	if err := reachable(ctx, i.to); err != nil {
		i.refuse(i.to, CheckReachable, "start it, or put the shard list or the account right", "%s", err)
		return i.results, nil, ctx.Err()
	}
	if accepted, err := i.family(ctx, i.to); err != nil || !accepted {
		return i.results, nil, err
	}
	loss := &Loss{Shard: plan.Shard, From: x.shard.Datacenter, To: plan.Target}
	results, err := i.run(ctx, []check{
		{CheckLost, i.from, i.lost},
		{CheckReplica, i.to, func(ctx context.Context) error { return i.lostReplica(ctx, loss) }},
		{CheckCopy, i.to, func(ctx context.Context) error { return i.lostRow(ctx, loss) }},
		{CheckFree, i.to, i.lostMoves},
		{CheckPrivileges, i.to, func(ctx context.Context) error { return i.privilegesOn(ctx, i.to) }},
		{CheckHooks, i.to, func(ctx context.Context) error { i.hooks(ctx, true); return nil }},
	})
	return results, loss, err
}

// lost: the primary does not answer here.
func (i *inspection) lost(ctx context.Context) error {
	if err := reachable(ctx, i.from); err == nil {
		i.refuse(i.from, CheckLost, "run migrator shard promote without --lost", "the primary answers: it is not lost")
	}
	return ctx.Err()
}

// lostReplica: the replica can become the primary, and no other has more.
func (i *inspection) lostReplica(ctx context.Context, loss *Loss) error {
	upstreams, err := i.to.Upstreams(ctx)
	if err != nil {
		return err
	}
	applied, err := i.to.Replicated(ctx)
	if err != nil {
		return err
	}
	received := applied
	switch {
	case len(upstreams) > 1:
		i.refuse(i.to, CheckReplica, "leave it one connection, to "+i.from.Addr, "it follows %d primaries", len(upstreams))
	case len(upstreams) == 1:
		u := upstreams[0]
		received = received.With(u.Received)
		i.lostUpstream(u, applied.Reached(received))
	}
	loss.Applied, loss.Received = applied.String(), received.String()
	if loss.SemiSync, err = i.acknowledges(ctx); err != nil {
		return err
	}
	return i.sightings(ctx, received, loss)
}

func (i *inspection) lostUpstream(u database.Upstream, complete bool) {
	told := wordsOf(i.dialect)
	if u.Receives {
		i.refuse(i.to, CheckLost, "if the primary is known to be dead, "+told.stopReceiving+" on the replica, or wait for its "+told.netTimeout,
			"the replica still has a connection to the primary, and may receive from it")
	}
	if len(u.Filters) != 0 {
		i.refuse(i.to, CheckReplica, "promote another replica", "it replicates a part only: %s", strings.Join(u.Filters, ", "))
	}
	switch {
	case complete:
	case !u.Applies && u.ApplyError != "":
		i.refuse(i.to, CheckReplica, "put right what stopped it, then "+told.startApplying+told.neverStop,
			"it does not apply what it has received: %s", u.ApplyError)
	case !u.Applies:
		i.refuse(i.to, CheckReplica, told.startReceived, "it has received more than it has applied, and does not apply")
	case u.DelaySeconds != 0:
		i.refuse(i.to, CheckReplica, "wait until it has applied what it has received, or promote another replica; "+
			"changing the delay would throw away what it has received", "it is delayed by %d s on purpose, and has received more than it has applied", u.DelaySeconds)
	}
}

// acknowledges says whether the replica is set up for semi-synchronous commits.
func (i *inspection) acknowledges(ctx context.Context) (bool, error) {
	_, value, err := firstVariable(ctx, i.to, semiSyncReplica...)
	return value == "ON", err
}

// sightings asks the shard's other servers what they have of the primary.
func (i *inspection) sightings(ctx context.Context, received database.Transactions, loss *Loss) error {
	snap, err := i.Map.Store.Load(ctx)
	if err != nil {
		return err
	}
	for _, dc := range snap.Datacenters() {
		if dc == i.from.Datacenter || dc == i.to.Datacenter {
			continue
		}
		server, err := i.Servers.In(i.shard.Name, dc)
		if err != nil {
			continue // the shard has none there
		}
		if err := reachable(ctx, server); err != nil {
			i.warn(server, CheckReplica, "ask it first, if it can be reached again", "it may have more than the replica in %s, and cannot be asked: %s", i.to.Datacenter, err)
			continue
		}
		other, err := server.Replicated(ctx)
		if err != nil {
			return err
		}
		loss.Seen = append(loss.Seen, Sighting{server.Name(), "applied", other.String()})
		upstreams, err := server.Upstreams(ctx)
		if err != nil {
			return err
		}
		for _, u := range upstreams {
			loss.Seen = append(loss.Seen, Sighting{server.Name(), "received", u.Received.String()})
			other = other.With(u.Received)
		}
		if !received.Reached(other) {
			i.refuse(server, CheckReplica, fmt.Sprintf("promote this one: migrator shard promote %s --to %s --lost", i.shard.Name, dc),
				"it has %s, more than the replica in %s, which has %s", other, i.to.Datacenter, received)
		}
	}
	return nil
}

// lostRow: the row on the replica is the old primary's, before any commit point.
func (i *inspection) lostRow(ctx context.Context, loss *Loss) error {
	row, err := shardRow(ctx, i.to)
	if err != nil {
		return err
	}
	id, err := i.to.ServerID(ctx)
	if err != nil {
		return err
	}
	loss.Epoch = row.Epoch + lostEpochs
	switch {
	case row.State != fence.Active && row.State != fence.Frozen || row.ServerID == id:
		i.refuse(i.to, CheckCopy, "run migrator resume: a promotion has passed its commit point", "its row of the shard is %s, of server_id %d", row.State, row.ServerID)
	case row.Epoch != i.shard.Epoch:
		i.refuse(i.to, CheckCopy, "find the server that has the newest epoch; see migrator doctor", "its row has epoch %d, the map %d", row.Epoch, i.shard.Epoch)
	}
	return nil
}

// lostMoves: no bucket has another home that the replica has not heard of.
func (i *inspection) lostMoves(ctx context.Context) error {
	snap, err := i.Map.Store.Load(ctx)
	if err != nil {
		return err
	}
	rows, err := fence.AllRows(ctx, i.to.DB)
	if err != nil {
		return err
	}
	var away []string
	for _, row := range rows {
		if row.Bucket == fence.ShardRow || row.State != fence.Active && row.State != fence.Frozen {
			continue
		}
		home, ok := snap.Home(bucketmap.BucketID(row.Bucket))
		switch {
		case ok && home.Name != i.shard.Name:
			away = append(away, fmt.Sprint(row.Bucket))
		case row.Token.Move != "" && row.State == fence.Frozen:
			i.refuse(i.to, CheckFree, "look at the bucket's row on the move's other shard. If it is active there, make it moved here; otherwise active, with move_id '' in both",
				"bucket %d is frozen for %s: the primary may have passed the move's commit point, unheard of", row.Bucket, row.Token.Move)
		}
	}
	if len(away) != 0 {
		i.refuse(i.to, CheckFree, fmt.Sprintf("UPDATE %s SET state = 'moved' WHERE bucket IN (%s) on this server, once the map is known to be right", fence.Table, strings.Join(away, ", ")),
			"buckets %s have moved by the map, and this replica has not heard of it", strings.Join(away, ", "))
	}
	return nil
}

// PromoteLost promotes the replica of a lost primary, and returns when it serves:
// the promotion is reversing until the old primary is back, or Finish gives it up
// for good. A caller must have called InspectLost, shown the loss, and have the
// operator's word.
func (e *Engine) PromoteLost(ctx context.Context, plan Plan) (*Promotion, error) {
	x, err := e.find(ctx, plan)
	if err != nil {
		return nil, err
	}
	if reachable(ctx, x.from) == nil {
		return nil, fmt.Errorf("%w: %s answers", ErrNotLost, x.from.Name())
	}
	if _, err := e.accepts(ctx, x.to); err != nil {
		return nil, err
	}
	row, err := shardRow(ctx, x.to)
	if err != nil {
		return nil, err
	}
	if row.State != fence.Active && row.State != fence.Frozen || row.Epoch != x.shard.Epoch {
		return nil, fmt.Errorf("%w: its row of the shard is %s, epoch %d", ErrTarget, row.State, row.Epoch)
	}
	id, err := machine.NewID("p")
	if err != nil {
		return nil, err
	}
	p := &Promotion{
		Record: &journal.Record{Move: id, Kind: journal.KindPromotion, State: string(Switching), Who: plan.Who, Why: plan.Why},
		Detail: Detail{Shard: plan.Shard, Source: x.shard.Datacenter, Target: plan.Target, Epoch: row.Epoch, Lost: true,
			Row: oldRow{State: row.State, Token: row.Token.String()}},
	}
	p.Record.Run = 1 // as Begin gives it
	err = e.locked(ctx, p, func(r *run) error {
		r.passed = true
		if err := r.detachLost(ctx); err != nil {
			return r.failed(err, "nothing has changed for the users; run the same command again")
		}
		err := r.drive(ctx)
		if p.State() == Reversing && reachable(ctx, r.from) != nil {
			return ctx.Err() // it serves: the rest is for when the old primary is back
		}
		return err
	})
	return p, err
}

// detachLost lets the replica apply what it has received, ends its replication
// and begins the journal.
func (r *run) detachLost(ctx context.Context) error {
	if err := r.hooks(ctx, BeforeCommit); err != nil {
		return err
	}
	upstreams, err := r.to.Upstreams(ctx)
	if err != nil {
		return err
	}
	for _, u := range upstreams { // none, for one that was made no replica by hand
		if u.Receives {
			return fmt.Errorf("%w: %s still receives from it", ErrNotLost, r.to.Name())
		}
		if err := r.applyReceived(ctx, u); err != nil {
			return err
		}
		r.crash("before_stop", Switching)
		if err := r.do(ctx, r.to, commandStop(r.dialect, u.Connection)); err != nil {
			return err
		}
		r.crash("after_stop", Switching)
		r.promotion.Link = u.Link
		r.promotion.Link.Host, r.promotion.Link.Port = "", 0
	}
	if err := r.doAll(ctx, r.to, commandsLenient(r.dialect)); err != nil {
		return err
	}
	applied, err := r.to.Replicated(ctx)
	if err != nil {
		return err
	}
	r.promotion.Frozen = applied.String()
	if r.promotion.Record.Detail, err = json.Marshal(r.promotion.Detail); err != nil {
		return err
	}
	r.crash("before_begin", Switching)
	r.tell(r.to.Name(), textJournal(Switching))
	if err := journal.Open(r.to).Begin(ctx, r.promotion.Record); err != nil {
		return err
	}
	r.token = r.promotion.Record.Token()
	r.crash("after_begin", Switching)
	r.report(Event{Move: r.promotion.Record.Move, State: Switching, Entered: true, Note: "the old primary is given up"})
	return nil
}

// closeOthers ends the promotions that the lost primary had open, and their
// holds: none of them can be gone on with. It may be called again.
func (r *run) closeOthers(ctx context.Context) error {
	j := journal.Open(r.to)
	open, err := j.List(ctx, true)
	if err != nil {
		return err
	}
	for _, o := range open {
		if o.Kind != journal.KindPromotion || o.Move == r.promotion.Record.Move {
			continue
		}
		if err := r.Map.Release(ctx, o.Move); err != nil {
			return err
		}
		record, err := j.TakeOver(ctx, o.Move)
		if err != nil {
			return err
		}
		record.State, record.Open = string(Aborted), false
		if err := j.Write(ctx, record, "the primary was lost: "+string(r.promotion.Record.Move)+" took its place"); err != nil {
			return err
		}
	}
	return nil
}

// forgetLost ends the replication from the lost primary for good, and what that
// had under way.
func (r *run) forgetLost(ctx context.Context) error {
	upstreams, err := r.to.Upstreams(ctx)
	if err != nil {
		return err
	}
	for _, u := range upstreams {
		if u.Receives || u.Applies {
			if err := r.do(ctx, r.to, commandStop(r.dialect, u.Connection)); err != nil {
				return err
			}
		}
		r.crash("before_reset", Switching)
		if err := r.do(ctx, r.to, commandForget(r.dialect, u.Connection)); err != nil {
			return err
		}
		r.crash("after_reset", Switching)
	}
	return r.closeOthers(ctx)
}

// applyReceived waits until the replica has applied what it has received. How
// long that takes is its lag; it ends when nothing is applied for Limits.Reverse.
func (r *run) applyReceived(ctx context.Context, u database.Upstream) error {
	last, since := uint64(0), time.Now()
	for {
		done, err := r.to.Await(ctx, u.Received, catchUpReport)
		if err != nil || done {
			return err
		}
		applied, err := r.to.Replicated(ctx)
		if err != nil {
			return err
		}
		lag := applied.Lag(u.Received)
		if lag != last {
			last, since = lag, time.Now()
		}
		if time.Since(since) > r.Limits.Reverse {
			return fmt.Errorf("%w: %s has received %s and applies no more after %s", ErrReplica, r.to.Name(), u.Received, applied)
		}
		r.report(Event{Move: r.promotion.Record.Move, State: Switching, Behind: lag})
	}
}

// activateLost makes the row, which is still the lost primary's, the new one's.
func (r *run) activateLost(ctx context.Context, id uint32) error {
	token, err := fence.ParseToken(r.promotion.Row.Token)
	if err != nil {
		return err
	}
	change := fence.Change{From: r.promotion.Row.State, FromToken: token, To: fence.Active, ToToken: r.token,
		EpochUp: lostEpochs, ServerID: id}
	err = r.decide(ctx, r.to, func(tx *sql.Tx) error { return r.change(ctx, r.to, tx, 0, change) })
	if err != nil {
		return fmt.Errorf("activate on %s: %w", r.to.Name(), err)
	}
	return nil
}
