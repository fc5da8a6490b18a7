package promote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/internal/pause"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/preflight"
	"drover/shardlib/fence"
)

// The checks of Preflight, in their order.
const (
	CheckReachable  = "server-reachable"
	CheckFamily     = "server-family"
	CheckShardRow   = "shard-active"
	CheckFree       = "shard-free"
	CheckPrimary    = "primary-writable"
	CheckReplica    = "replica-follows"
	CheckReadOnly   = "replica-read-only"
	CheckCopy       = "replica-has-fence"
	CheckErrant     = "replica-not-errant"
	CheckLag        = "replica-lag"
	CheckSettings   = "replication-settings"
	CheckDurable    = "commits-durable"
	CheckSemiSync   = "semi-sync"
	CheckEvents     = "scheduled-events"
	CheckPrivileges = "migrator-privileges"
	CheckAccounts   = "accounts-past-read-only"
	CheckFollower   = "replication-account"
	CheckHooks      = "hooks"
	CheckLost       = "primary-lost"
)

// A replica has copyTries times copyPause, 2 s, to catch up with the shard's
// row before its copy is called another one.
const (
	copyTries = 40
	copyPause = 50 * time.Millisecond
)

// inspection is one preflight: what it found, check by check.
type inspection struct {
	*Engine
	ends
	dialect database.Dialect
	results []Result
}

// Preflight looks for everything that could make the promotion fail, and
// changes nothing. The error is ErrTarget for a shard that cannot go there at
// all; what speaks against a promotion there is in the results.
func (e *Engine) Preflight(ctx context.Context, plan Plan) ([]Result, error) {
	x, err := e.find(ctx, plan)
	if err != nil {
		return nil, err
	}
	i := &inspection{Engine: e, ends: x}
	up := true
	for _, server := range []*database.Server{i.from, i.to} {
		err := reachable(ctx, server)
		if err != nil {
			up = false
			i.refuse(server, CheckReachable, "start it, or put the shard list or the account right", "%s", err)
			continue
		}
		i.ok(server, CheckReachable)
	}
	if !up {
		return i.results, ctx.Err()
	}
	if accepted, err := i.family(ctx, i.to, i.from); err != nil || !accepted {
		return i.results, err
	}
	return i.run(ctx, []check{
		{CheckShardRow, i.from, i.shardRow},
		{CheckFree, i.from, i.free},
		{CheckPrimary, i.from, i.primary},
		{CheckReplica, i.to, i.replica},
		{CheckReadOnly, i.to, i.replicaReadOnly},
		{CheckCopy, i.to, i.copy},
		{CheckErrant, i.to, i.errant},
		{CheckLag, i.to, i.lag},
		{CheckSettings, i.from, i.settings},
		{CheckDurable, i.from, i.durable},
		{CheckSemiSync, i.from, i.semiSync},
		{CheckEvents, i.from, i.events},
		{CheckPrivileges, i.from, i.privileges},
		{CheckAccounts, i.from, i.accounts},
		{CheckFollower, i.to, i.follower},
		{CheckHooks, i.to, func(ctx context.Context) error { i.hooks(ctx, false); return nil }},
	})
}

// check is one look at one thing.
type check struct {
	name   string
	server *database.Server // where a failure to check is entered
	do     func(context.Context) error
}

// run makes checks, one after the other.
func (i *inspection) run(ctx context.Context, checks []check) ([]Result, error) {
	for _, check := range checks {
		n := len(i.results)
		if err := check.do(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			i.refuse(check.server, check.name, "make it possible to check this", "it cannot be checked: %s", err)
		}
		if len(i.results) == n {
			i.ok(check.server, check.name)
		}
	}
	return i.results, nil
}

func (i *inspection) enter(server *database.Server, name string, v preflight.Verdict, remedy, reason string) {
	i.results = append(i.results, Result{Name: name, Verdict: v, Shard: i.shard.Name, Server: server.Addr,
		Reason: reason, Remedy: remedy})
}

func (i *inspection) ok(server *database.Server, name string) {
	i.enter(server, name, preflight.OK, "", "")
}

func (i *inspection) refuse(server *database.Server, name, remedy, format string, args ...any) {
	i.enter(server, name, preflight.Error, remedy, fmt.Sprintf(format, args...))
}

func (i *inspection) warn(server *database.Server, name, remedy, format string, args ...any) {
	i.enter(server, name, preflight.Warning, remedy, fmt.Sprintf(format, args...))
}

// shardRow: the fence and the map agree that the old primary is the primary.
func (i *inspection) shardRow(ctx context.Context) error {
	row, err := shardRow(ctx, i.from)
	if err != nil {
		return err
	}
	id, err := i.from.ServerID(ctx)
	if err != nil {
		return err
	}
	if row.State != fence.Active || row.ServerID != id || row.Epoch != i.shard.Epoch {
		i.refuse(i.from, CheckShardRow, "run migrator status; finish or undo what is under way with migrator resume",
			"the shard's row is %s, epoch %d, of server_id %d; the map says epoch %d, and this server has server_id %d",
			row.State, row.Epoch, row.ServerID, i.shard.Epoch, id)
	}
	return nil
}

// free: no move and no other promotion has the shard.
func (i *inspection) free(ctx context.Context) error {
	open, err := journal.Open(i.from).List(ctx, true)
	if err != nil {
		return err
	}
	named := map[bucketmap.MoveID]bool{}
	for _, r := range open {
		named[r.Move] = true
		remedy := fmt.Sprintf("run migrator resume %s, or migrator abort %s", r.Move, r.Move)
		if r.Kind == journal.KindMove && r.State == "soaking" {
			remedy = fmt.Sprintf("end its soak: migrator bucket finish %s", r.Move)
		}
		i.refuse(i.from, CheckFree, remedy, "%s %s is %s", r.Kind, r.Move, r.State)
	}
	row, err := shardRow(ctx, i.from)
	if err != nil {
		return err
	}
	if id := row.Token.Move; id != "" && !named[id] {
		i.refuse(i.from, CheckFree, fmt.Sprintf("run migrator resume %s, or migrator abort %s", id, id), "%s has the shard", id)
	}
	id, err := movesOn(ctx, i.from)
	if err != nil {
		return err
	}
	if id != "" && !named[bucketmap.MoveID(id)] {
		i.refuse(i.from, CheckFree, fmt.Sprintf("finish it: migrator bucket finish %s, or migrator resume %s", id, id),
			"move %s has buckets here", id)
	}
	return nil
}

// primary: the old primary takes writes and follows nobody.
func (i *inspection) primary(ctx context.Context) error {
	readOnly, err := i.from.ReadOnly(ctx)
	if err != nil {
		return err
	}
	if readOnly {
		i.refuse(i.from, CheckPrimary, "SET GLOBAL read_only = 0, once it is sure that this is the primary", "it is read-only")
	}
	upstreams, err := i.from.Upstreams(ctx)
	if err != nil {
		return err
	}
	for _, u := range upstreams {
		i.refuse(i.from, CheckPrimary, "promote the server that it follows, or end that replication with "+wordsOf(i.dialect).endReplication,
			"it is itself a replica, of %s:%d", u.Host, u.Port)
	}
	return nil
}

// replica: the new primary follows the old one, whole, and by GTID.
func (i *inspection) replica(ctx context.Context) error {
	u, err := i.to.OneUpstream(ctx)
	if errors.Is(err, database.ErrNoReplica) {
		i.refuse(i.to, CheckReplica, fmt.Sprintf("make it a replica of %s: migrator shard replicate %s --to %s", i.from.Addr, i.shard.Name, i.to.Datacenter), "it follows nobody")
		return nil
	}
	if err != nil {
		i.refuse(i.to, CheckReplica, "leave it one connection, to "+i.from.Addr, "%s", err)
		return nil
	}
	id, err := i.from.ServerID(ctx)
	if err != nil {
		return err
	}
	if own, err := i.to.ServerID(ctx); err != nil {
		return err
	} else if own == id {
		i.refuse(i.to, CheckReplica, "give each server its own server_id", "both servers have server_id %d", id)
	}
	if u.ServerID != id {
		i.refuse(i.to, CheckReplica, "name the right server in the shard list, or make it follow "+i.from.Addr,
			"it follows server_id %d at %s:%d; the primary has server_id %d", u.ServerID, u.Host, u.Port, id)
	}
	if !u.GTID {
		i.refuse(i.to, CheckReplica, wordsOf(i.dialect).followByGTID, "it does not replicate by GTID")
	}
	if failure := u.Failure(); failure != "" {
		i.refuse(i.to, CheckReplica, wordsOf(i.dialect).startAgain, "%s", failure)
	}
	if len(u.Filters) != 0 {
		i.refuse(i.to, CheckReplica, "end the filters, and make the replica anew: what they left out is missing",
			"it replicates a part only: %s", strings.Join(u.Filters, ", "))
	}
	if u.DelaySeconds != 0 {
		i.refuse(i.to, CheckReplica, wordsOf(i.dialect).noDelay, "it is delayed by %d s on purpose", u.DelaySeconds)
	}
	return nil
}

// replicaReadOnly: nobody writes on the replica, now or until it is promoted.
func (i *inspection) replicaReadOnly(ctx context.Context) error {
	readOnly, err := i.to.ReadOnly(ctx)
	if err != nil {
		return err
	}
	if !readOnly {
		i.refuse(i.to, CheckReadOnly, "SET GLOBAL read_only = 1", "the replica takes writes of everybody")
	}
	return nil
}

// copy: the fence and the journal come over by replication.
func (i *inspection) copy(ctx context.Context) error {
	// A replica that is a little behind has an older row for a moment.
	var want, got fence.Row
	for tries := 0; ; tries++ {
		var err error
		if want, err = shardRow(ctx, i.from); err != nil {
			return err
		}
		if got, err = shardRow(ctx, i.to); err != nil {
			i.refuse(i.to, CheckCopy, "make the replica anew from a backup of the primary", "it has no copy of the fence: %s", err)
			return nil
		}
		if got == want || tries == copyTries {
			break
		}
		if err := pause.For(ctx, copyPause); err != nil {
			return err
		}
	}
	if got != want {
		i.refuse(i.to, CheckCopy, "see that it follows this primary; make it anew from a backup if it does",
			"its copy of the shard's row is %s, epoch %d, move_id %q, of server_id %d; the primary's is %s, epoch %d, move_id %q, of server_id %d",
			got.State, got.Epoch, got.Token, got.ServerID, want.State, want.Epoch, want.Token, want.ServerID)
	}
	if _, err := journal.Open(i.to).List(ctx, true); err != nil {
		i.refuse(i.to, CheckCopy, "make the replica anew from a backup of the primary", "it has no copy of the journal: %s", err)
	}
	return nil
}

// errant: the replica has nothing that the primary does not have. Promoted, it
// would give that to every other replica, or stop them.
func (i *inspection) errant(ctx context.Context) error {
	errant, err := i.to.Errant(ctx, i.from)
	if err != nil {
		return err
	}
	if !errant.None() {
		i.refuse(i.to, CheckErrant, "make the replica anew from a backup of the primary; or, when what it wrote by itself is known to be harmless "+
			"(mysqlbinlog shows it), "+wordsOf(i.dialect).forgetErrant,
			"it has transactions that the primary does not have: %s and perhaps earlier ones", errant)
	}
	return nil
}

// lagLimit is how long the replica may take to apply what the primary has. Two
// servers under load are less than a second apart; a promotion that begins far
// behind only waits.
const lagLimit = 10 * time.Second

// lag: the replica is near.
func (i *inspection) lag(ctx context.Context) error {
	end, err := i.from.Committed(ctx)
	if err != nil {
		return err
	}
	if applied, err := i.to.Await(ctx, end, lagLimit); err != nil || applied {
		return err
	}
	have, err := i.to.Replicated(ctx)
	if err != nil {
		return err
	}
	i.refuse(i.to, CheckLag, "wait until it has caught up; see "+wordsOf(i.dialect).seeLag,
		"it has not applied within %s what the primary had: it is %d transactions behind", lagLimit, have.Lag(end))
	return nil
}
