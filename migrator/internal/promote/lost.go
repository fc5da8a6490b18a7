package promote

import (
	"context"
	"fmt"
	"strings"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

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
