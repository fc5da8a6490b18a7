package promote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/machine"
	"drover/migrator/internal/publish"
	"drover/shardlib/fence"
)

// Servers finds the server of a shard in a datacenter.
type Servers interface {
	In(shard bucketmap.ShardName, dc bucketmap.Datacenter) (*database.Server, error)
}

// Limits bound what a promotion may cost. See DefaultLimits.
type Limits struct {
	// FreezeLock bounds the wait for the lock of the shard's row: longer than
	// that no write of a user waits for a freeze that fails. Where transactions
	// always last longer it grows with the tries, to queueMax times.
	FreezeLock time.Duration
	// ReadOnly bounds making the old primary read-only. Meanwhile writers that
	// the fence does not know wait.
	ReadOnly time.Duration
	// Freeze bounds the time from the freeze to the commit point.
	Freeze time.Duration
	// FreezeTries is how often the promotion steps back before it is aborted.
	FreezeTries int
	// Backoff is the first pause between two tries; it doubles, to BackoffMax.
	Backoff, BackoffMax time.Duration
	// CatchUp is how far behind the replica may be to go on.
	CatchUp time.Duration
	// Switch is how long the new primary may wait for what the old one has
	// committed past Detail.Frozen, which no user wrote.
	Switch time.Duration
	// Reverse is how long the old primary may take to follow the new one and
	// catch up, before the promotion rests in reversing.
	Reverse time.Duration
	// Hold are the bounds of a hold.
	Hold publish.HoldLimits
}

// DefaultLimits are right for servers that are a few milliseconds apart.
func DefaultLimits() Limits {
	return Limits{
		FreezeLock:  15 * time.Millisecond,
		ReadOnly:    250 * time.Millisecond,
		Freeze:      1 * time.Second,
		FreezeTries: 100,
		Backoff:     20 * time.Millisecond,
		BackoffMax:  2 * time.Second,
		CatchUp:     30 * time.Millisecond,
		Switch:      5 * time.Second,
		Reverse:     30 * time.Second,
		Hold:        publish.DefaultHoldLimits(),
	}
}

// Engine promotes replicas. It is safe for concurrent use; one promotion is run
// by one goroutine.
type Engine struct {
	Servers Servers
	Map     *publish.Publisher
	// Replication is the account by which the old primary will follow the new
	// one.
	Replication database.Account
	// AllowMySQL allows servers of MySQL, on which only tests that are built with
	// the tag mysql run. Without it they are refused.
	AllowMySQL bool
	// Hooks are the operator's programs.
	Hooks []Hook
	// PastReadOnly names accounts that read_only does not stop and that the
	// operator vouches for: by them nobody writes during a promotion.
	PastReadOnly []string
	Limits       Limits
	Crash        *crash.Points
	// Report is called at every change of state and now and then between;
	// from the goroutine that runs the promotion.
	Report func(Event)
	// Executed is called with everything that changes something, before it is
	// done; from the goroutine that runs the promotion. It may be nil.
	Executed func(Statement)
	// Observer may be nil.
	Observer Observer
}

// Event tells the operator how a promotion is getting on.
type Event = machine.Event[State]

// Error says in which state of which promotion something failed, and what to
// do.
type Error = machine.Error[State]

var (
	// ErrState says that what was asked does not go with the state of the
	// promotion.
	ErrState = errors.New("the promotion is in another state")
	// ErrSteppedBack is returned when the promotion was aborted because no
	// freeze succeeded within Limits.FreezeTries.
	ErrSteppedBack = errors.New("the shard could not be frozen within the budget")
	// ErrReplica is returned for a replica that does not replicate.
	ErrReplica = errors.New("the replica does not replicate")
	// ErrErrant is returned for a server that has transactions which its
	// primary does not have.
	ErrErrant = errors.New("errant transactions")
	// ErrUndecided is returned when the servers that can be reached do not say
	// whether the commit point was passed.
	ErrUndecided = errors.New("it cannot be known which server is the primary")
	// ErrTarget is returned for a shard that cannot go where it is told to.
	ErrTarget = errors.New("the shard cannot be promoted there")
)

// Plan is what an operator asks for.
type Plan struct {
	Shard    bucketmap.ShardName
	Target   bucketmap.Datacenter
	Who, Why string
}

// ends are the two servers of a promotion.
type ends struct {
	shard    bucketmap.Shard // by the map
	from, to *database.Server
}

// find looks up the servers of a plan. It connects to none.
func (e *Engine) find(ctx context.Context, plan Plan) (ends, error) {
	snap, err := e.Map.Store.Load(ctx)
	if err != nil {
		return ends{}, err
	}
	shard, ok := snap.Shard(plan.Shard)
	if !ok {
		return ends{}, fmt.Errorf("%w: the map has no shard %q", ErrTarget, plan.Shard)
	}
	if shard.Datacenter == plan.Target {
		return ends{}, fmt.Errorf("%w: %s lives in %s already", ErrTarget, plan.Shard, plan.Target)
	}
	x := ends{shard: shard}
	if x.from, err = e.Servers.In(plan.Shard, shard.Datacenter); err != nil {
		return ends{}, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	if x.to, err = e.Servers.In(plan.Shard, plan.Target); err != nil {
		return ends{}, fmt.Errorf("%w: %w; make a replica there and add it to the shard list", ErrTarget, err)
	}
	return x, nil
}

// Start writes a new promotion to the journal, in state planned. The preflight
// is the caller's.
func (e *Engine) Start(ctx context.Context, plan Plan) (*Promotion, error) {
	x, err := e.find(ctx, plan)
	if err != nil {
		return nil, err
	}
	if _, err := e.accepts(ctx, x.to, x.from); err != nil {
		return nil, err
	}
	row, err := shardRow(ctx, x.from)
	if err != nil {
		return nil, err
	}
	upstream, err := x.to.OneUpstream(ctx)
	if err != nil {
		return nil, err
	}
	id, err := machine.NewID("p")
	if err != nil {
		return nil, err
	}
	link := upstream.Link
	link.Host, link.Port = "", 0 // the reverse link has its own ends
	p := &Promotion{
		Record: &journal.Record{Move: id, Kind: journal.KindPromotion, State: string(Planned), Who: plan.Who, Why: plan.Why},
		Detail: Detail{Shard: plan.Shard, Source: x.shard.Datacenter, Target: plan.Target, Epoch: row.Epoch, Link: link},
	}
	if p.Record.Detail, err = json.Marshal(p.Detail); err != nil {
		return nil, fmt.Errorf("promotion %s: %w", id, err)
	}
	if e.Executed != nil {
		e.Executed(Statement{State: Planned, Server: x.from.Name(), Do: textJournal(Planned)})
	}
	if err := journal.Open(x.from).Begin(ctx, p.Record); err != nil {
		return nil, err
	}
	e.Crash.At("planned.after_journal")
	e.report(Event{Move: id, State: Planned, Entered: true})
	return p, nil
}

// shardRow reads the shard's row of the fence on a server.
func shardRow(ctx context.Context, server *database.Server) (fence.Row, error) {
	return shardRowBy(ctx, server, server.DB)
}

func shardRowBy(ctx context.Context, server *database.Server, q fence.Querier) (fence.Row, error) {
	rows, err := fence.Rows(ctx, q, nil)
	if err != nil {
		return fence.Row{}, fmt.Errorf("%s: %w", server.Name(), err)
	}
	if len(rows) != 1 {
		return fence.Row{}, fmt.Errorf("%s has no fence row of the shard: run migrator fence install", server.Name())
	}
	return rows[0], nil
}

func (e *Engine) report(ev Event) {
	if e.Report == nil {
		return
	}
	ev.At = time.Now().UTC()
	e.Report(ev)
}
