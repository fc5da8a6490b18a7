package replicate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/migrator/internal/machine"
)

// State is how far a replica has come. States are stored as words in the mark.
type State string

// The states, in the order of a run. An adopted replica begins with proving.
const (
	Copying   State = "copying"   // from a snapshot; after a death it begins anew
	Copied    State = "copied"    // all is there as of the position
	Following State = "following" // replication was begun
	Proving   State = "proving"   // compared, chunk by chunk
	Done      State = "done"
)

// Event tells the operator how a replica is getting on.
type Event = machine.Event[State]

var (
	// ErrBusy is returned while another process makes this replica.
	ErrBusy = errors.New("another migrator makes this replica")
	// ErrReplaced is returned to a run whose mark another run has taken.
	ErrReplaced = errors.New("another run has taken this replica over")
	// ErrForeign is returned for a server with data that no mark names.
	ErrForeign = errors.New("the server has data that was not made here")
	// ErrDefinition is returned when a definition changed meanwhile.
	ErrDefinition = errors.New("a definition changed meanwhile")
	// ErrReplication is returned for a replica that does not replicate.
	ErrReplication = errors.New("the replica does not replicate")
	// ErrPurged is returned when the primary no longer has the binlog that the
	// replica needs.
	ErrPurged = errors.New("the primary has purged the binlog that the replica needs")
	// ErrDiffers is returned when the replica does not equal its primary.
	ErrDiffers = errors.New("the replica differs from its primary")
	// ErrWaiting is returned when a statement waited for the copy's locks on a
	// table's definition: users would wait behind it.
	ErrWaiting = errors.New("a statement waits for the copy on the primary, and others would wait behind it")
)

// Limits bound what making a replica may cost. See DefaultLimits.
type Limits struct {
	// Connections is how many tables are copied at once, 1 to ConnectionsMax.
	Connections int
	// RowsPerSecond, BytesPerSecond and ThreadsRunningMax (on the primary) bound
	// copying and proving; 0 for no bound.
	RowsPerSecond, BytesPerSecond, ThreadsRunningMax int
	// Connect is how long the replica may take to reach the primary.
	Connect time.Duration
	// CatchUp is how long the replica may take to catch up after the copy.
	CatchUp time.Duration
	// Round is how long the replica stands still, at most, while chunks are
	// compared; then it catches up, and the next round begins. A chunk that is
	// under way is finished.
	Round time.Duration
}

// ConnectionsMax: each needs a connection of eight (database.Open) at either
// end, where the lock, the mark, the guard and the gauge have one each.
const ConnectionsMax = 4

// DefaultLimits leave a primary most of its disk and all but two of its cores.
func DefaultLimits() Limits {
	return Limits{Connections: 2, BytesPerSecond: 32 << 20, ThreadsRunningMax: 64,
		Connect: 30 * time.Second, CatchUp: time.Hour, Round: 5 * time.Second}
}

// Engine makes one replica of one primary.
type Engine struct {
	From, To *database.Server
	// Replication is the account by which the replica follows.
	Replication database.Account
	// TLS and TLSVerify are how it connects.
	TLS, TLSVerify bool
	// Restart empties what an earlier run made, and begins anew.
	Restart bool
	// Method is where the copy comes from; nil is Dump.
	Method Method
	Limits Limits
	Crash  *crash.Points
	// Report is called at every change of state and now and then between, from
	// several goroutines but never at once. It may be nil.
	Report func(Event)
}

// Method makes a copy of the primary on the replica, which is empty.
type Method interface {
	// Copy returns where the copy is in the primary's binlog. What it makes, it
	// names beforehand with Job.Intend.
	Copy(ctx context.Context, job *Job) (Start, error)
}

// Start is where replication begins: the position of the copy, and the
// primary's history up to there.
type Start struct {
	Position database.Position
	History  string // as gtid_binlog_state takes it
}

// Result is what Run made or found.
type Result struct {
	Shard   bucketmap.ShardName  `json:"shard"`
	From    bucketmap.Datacenter `json:"from"`
	To      bucketmap.Datacenter `json:"to"`
	State   State                `json:"state"`
	Adopted bool                 `json:"adopted"`
	// Position is where the last chunk was compared.
	Position string `json:"position"`
	Tables   int    `json:"tables"`
	// Copied and Compared are rows; Copied is 0 where an earlier run copied.
	Copied   int64         `json:"rows_copied"`
	Compared int64         `json:"rows_compared"`
	Chunks   int           `json:"chunks"`
	Differ   []Difference  `json:"differ,omitempty"`
	Took     time.Duration `json:"took_ns"`
}

// Difference is a row, or a definition, that is not the same.
type Difference struct {
	Table string `json:"table"` // schema.table
	Key   string `json:"key,omitempty"`
	// Kind is "missing", "extra" or "different", as seen from the primary.
	Kind string `json:"kind"`
}

// differMax bounds the differences that are named.
const differMax = 100

// Error says in which state something failed, and what to do.
type Error = machine.Error[State]

// run is one call of Run.
type run struct {
	*Engine
	id       bucketmap.MoveID
	from, to *database.Server // with no default database: the replica's may not be there yet
	mark     *mark
	result   Result
	say      chan struct{} // one at a time through it
}

func (r *run) crash(name string, s State) { r.Crash.At(crash.Point(string(s) + "." + name)) }

func (r *run) report(e Event) {
	if r.Report == nil {
		return
	}
	r.say <- struct{}{}
	defer func() { <-r.say }()
	e.Move, e.At = r.id, time.Now().UTC()
	r.Report(e)
}

func (r *run) note(s State, format string, args ...any) {
	r.report(Event{State: s, Note: fmt.Sprintf(format, args...)})
}

// bare opens the server again without a default database.
func bare(s *database.Server) (*database.Server, error) {
	return database.Open(s.Shard, s.Datacenter, s.Addr, "", s.Account)
}
