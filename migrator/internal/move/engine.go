package move

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/machine"
	"drover/migrator/internal/publish"
	"drover/shardlib/fence"
)

// Servers finds the primary of a shard, by the map now in force.
type Servers interface {
	Primary(ctx context.Context, shard bucketmap.ShardName) (*database.Server, error)
}

// Limits bound what a move may cost. See DefaultLimits.
type Limits struct {
	// FreezeLock bounds the wait for the rows' locks: longer than that a write
	// of a user does not wait for a freeze that fails.
	FreezeLock time.Duration
	// Freeze bounds the time from the freeze to the commit point.
	Freeze time.Duration
	// FreezeTries is how often the move steps back before it is aborted.
	FreezeTries int
	// GateAge is how long a transaction may have been open at the source
	// before the proxies are not asked to hold because of it.
	GateAge time.Duration
	// GateKnock is how often a freeze is tried though such a transaction seems
	// to have the buckets' rows: it may be another bucket's.
	GateKnock time.Duration
	// GateWait is how long such transactions do not count against FreezeTries.
	GateWait time.Duration
	// Backoff is the first pause between two tries; it doubles, to BackoffMax.
	Backoff, BackoffMax time.Duration
	// CatchUp is how near the tail must be to the source's end to go on, besides
	// the round trips that it cannot do without: one to the source and two to the
	// target, as they are measured when the tail starts.
	CatchUp time.Duration
	// TransactionMax bounds, in bytes, what one transaction of the source may
	// change of the buckets: it is in memory until it is applied. Other buckets'
	// rows do not count.
	TransactionMax int
	// ChunkTime is what a chunk of the copy is sized to take.
	ChunkTime time.Duration
	// CopyParallel is how many chunks are written at once, 1 to CopyParallelMax.
	CopyParallel int
	// Throttle says when copying and purging wait.
	Throttle ThrottleLimits
	// Hold are the bounds of a hold.
	Hold publish.HoldLimits
}

// DefaultLimits are right for shards that are one round trip of a few
// milliseconds apart.
func DefaultLimits() Limits {
	return Limits{
		FreezeLock:   15 * time.Millisecond,
		Freeze:       1 * time.Second,
		FreezeTries:  100,
		GateAge:      1 * time.Second,
		GateKnock:    10 * time.Second,
		GateWait:     1 * time.Hour,
		Backoff:      20 * time.Millisecond,
		BackoffMax:   2 * time.Second,
		CatchUp:      30 * time.Millisecond,
		ChunkTime:    50 * time.Millisecond,
		CopyParallel: 2,

		TransactionMax: binlog.TransactionMax,
		Throttle:       ThrottleLimits{LagMax: 10 * time.Second, ThreadsRunningMax: 200},
		Hold:           publish.DefaultHoldLimits(),
	}
}

// Engine moves buckets. It is safe for concurrent use; one move is run by one
// goroutine.
type Engine struct {
	Servers Servers
	Map     *publish.Publisher
	Tables  []fence.Sharded
	Limits  Limits
	Crash   *crash.Points
	// Report is called at every change of state and now and then between;
	// from the goroutine that runs the move.
	Report func(Event)
}

// Event tells the operator how a move is getting on.
type Event = machine.Event[State]

// Error says in which state of which move something failed, and what to do.
type Error = machine.Error[State]

var (
	// ErrSteppedBack is returned when the move was aborted because no freeze
	// succeeded within Limits.FreezeTries.
	ErrSteppedBack = errors.New("the buckets could not be frozen within the budget")
	// ErrDiffers is returned when rows differ between source and target though
	// the tail has caught up. The move was aborted.
	ErrDiffers = errors.New("rows differ between source and target")
	// ErrHome is returned for buckets that are not all on one other shard.
	ErrHome = errors.New("the buckets of a move must have one home, other than its target")
)

// Plan is what an operator asks for.
type Plan struct {
	Buckets  Buckets
	Target   bucketmap.ShardName
	Who, Why string
}

// Start writes a new move to the journal, in state planned. The preflight is
// the caller's.
func (e *Engine) Start(ctx context.Context, plan Plan) (*Move, error) {
	source, err := e.Source(ctx, plan)
	if err != nil {
		return nil, err
	}
	server, err := e.Servers.Primary(ctx, source)
	if err != nil {
		return nil, err
	}
	id, err := machine.NewID("m")
	if err != nil {
		return nil, err
	}
	m := &Move{
		Record: &journal.Record{Move: id, Kind: journal.KindMove, State: string(Planned), Who: plan.Who, Why: plan.Why},
		Detail: Detail{Buckets: plan.Buckets, Source: source, Target: plan.Target, Leg: 1},
	}
	if m.Record.Detail, err = json.Marshal(m.Detail); err != nil {
		return nil, fmt.Errorf("move %s: %w", id, err)
	}
	if err := journal.Open(server).Begin(ctx, m.Record); err != nil {
		return nil, err
	}
	e.Crash.At("planned.after_journal")
	e.report(Event{Move: id, State: Planned, Entered: true})
	return m, nil
}

// Source finds the one shard that all buckets of the plan are on.
func (e *Engine) Source(ctx context.Context, plan Plan) (bucketmap.ShardName, error) {
	snap, err := e.Map.Store.Load(ctx)
	if err != nil {
		return "", err
	}
	if _, ok := snap.Shard(plan.Target); !ok {
		return "", fmt.Errorf("the map has no shard %q", plan.Target)
	}
	if len(plan.Buckets) == 0 {
		return "", ErrBuckets
	}
	var source bucketmap.ShardName
	for _, b := range plan.Buckets {
		home, ok := snap.Home(b)
		switch {
		case !ok:
			return "", fmt.Errorf("%w: bucket %d has no home", ErrHome, b)
		case home.Name == plan.Target:
			return "", fmt.Errorf("%w: bucket %d is on %s already", ErrHome, b, home.Name)
		case source != "" && home.Name != source:
			return "", fmt.Errorf("%w: bucket %d is on %s, others on %s: move them apart", ErrHome, b, home.Name, source)
		}
		source = home.Name
	}
	return source, nil
}

func (e *Engine) report(ev Event) {
	if e.Report == nil {
		return
	}
	ev.At = time.Now().UTC()
	e.Report(ev)
}
