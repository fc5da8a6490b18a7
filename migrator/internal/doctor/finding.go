package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"drover/bucketmap"
	"drover/migrator/internal/move"
)

// Kind names a sort of finding, in kebab-case. It never changes its meaning:
// scripts and runbooks go by it.
type Kind string

// The kinds, in the order in which they are reported: the worst first.
const (
	TwoHomes     Kind = "two-homes"     // active on two shards
	TwoPrimaries Kind = "two-primaries" // two servers of a shard are active
	// OldPrimaryWritable: a failover's old primary is back, and open to writes.
	OldPrimaryWritable Kind = "old-primary-writable"
	EpochBehind        Kind = "epoch-behind"      // active, and another shard has seen a newer epoch
	NoHome             Kind = "no-home"           // moved, and active nowhere
	RowMissing         Kind = "row-missing"       // no fence row anywhere
	RowFrozen          Kind = "row-frozen"        // frozen, and no move will go on with it
	RowUnknown         Kind = "row-unknown"       // a state or a bucket that nobody writes
	RowIncoming        Kind = "row-incoming"      // incoming, and no move has it
	ShardRow           Kind = "shard-row"         // the shard's own row refuses every write
	ShardHome          Kind = "shard-home"        // the map and the fence name different primaries
	PrimaryReadOnly    Kind = "primary-read-only" // applications cannot write
	ReplicaWritable    Kind = "replica-writable"
	ReplicaErrant      Kind = "replica-errant" // it has transactions that its primary has not
	MoveStalled        Kind = "move-stalled"   // open, and no migrator has it
	MoveLostRows       Kind = "move-lost-rows" // open, and its rows are not its own
	MoveUnreadable     Kind = "move-unreadable"
	SoakWithoutTail    Kind = "soak-without-tail"
	PurgeUnfinished    Kind = "purge-unfinished"
	MapHome            Kind = "map-home"      // the map names another shard than the fence
	MapEpoch           Kind = "map-epoch"     // or another epoch
	ShardEpoch         Kind = "shard-epoch"   // the same for the shard's
	HoldLeft           Kind = "hold-left"     // in the map, and no move needs it
	TokenUnknown       Kind = "token-unknown" // of no open move
	TokenAhead         Kind = "token-ahead"   // of a run that the journal does not know
	TailLeft           Kind = "tail-left"     // a position of no open move
	FenceTriggers      Kind = "fence-triggers"
	FenceSchema        Kind = "fence-schema"
	TablesMissing      Kind = "tables-missing" // that migrator init makes
	ServerUnlisted     Kind = "server-unlisted"
	RowsOrphaned       Kind = "rows-orphaned"
)

// Kinds lists the kinds, the worst first.
func Kinds() []Kind {
	return []Kind{TwoHomes, TwoPrimaries, OldPrimaryWritable, EpochBehind, NoHome, RowMissing, RowFrozen, RowUnknown, RowIncoming, ShardRow, ShardHome,
		PrimaryReadOnly, ReplicaWritable, ReplicaErrant, MoveStalled, MoveLostRows, MoveUnreadable, SoakWithoutTail, PurgeUnfinished, MapHome, MapEpoch,
		ShardEpoch, HoldLeft, TokenUnknown, TokenAhead, TailLeft, FenceTriggers, FenceSchema, TablesMissing, ServerUnlisted, RowsOrphaned}
}

// Severity says how soon somebody must act.
type Severity string

// The severities.
const (
	// Danger: writes may be lost, or are in two places. Act now.
	Danger Severity = "danger"
	// Refusing: users' writes are refused.
	Refusing Severity = "refusing"
	// Untidy: nobody is harmed yet; it stands in the way of the next move.
	Untidy Severity = "untidy"
)

// SQL is a statement for a person to execute, after thinking.
type SQL struct {
	Server    string `json:"server"` // shard@datacenter (address)
	Statement string `json:"statement"`
}

// Finding is one disagreement.
type Finding struct {
	Kind     Kind                `json:"kind"`
	Severity Severity            `json:"severity"`
	Shard    bucketmap.ShardName `json:"shard,omitempty"`
	Buckets  move.Buckets        `json:"buckets,omitempty"`
	Move     bucketmap.MoveID    `json:"move,omitempty"`
	// Says is what disagrees, and Cause how it may have come about.
	Says  string `json:"says"`
	Cause string `json:"cause"`
	// Mend are the commands that put it right, one after the other; when there
	// are none, a person must decide, by Decide, and SQL says how.
	Mend   []string `json:"mend,omitempty"`
	Decide string   `json:"decide,omitempty"`
	SQL    []SQL    `json:"sql,omitempty"`

	// key is what the finding is about besides its kind, shard, buckets and move.
	key string
	// sql makes the statements, for the buckets that are left after both looks.
	sql func(move.Buckets) []SQL
	// fix puts the map right.
	fix func(*bucketmap.Draft, move.Buckets) error
}

// identity is the same for the same finding of another look.
func (f *Finding) identity() string {
	return strings.Join([]string{string(f.Kind), string(f.Shard), string(f.Move), f.key}, "\x00")
}

// notebook collects findings. Findings of one identity become one, with the
// buckets of all.
type notebook struct {
	byIdentity map[string]*Finding
	order      []*Finding
}

// add enters a finding that is about no bucket.
func (n *notebook) add(f Finding) { n.enter(f) }

// bucket enters a finding about one bucket. says has a %s for the buckets.
func (n *notebook) bucket(b bucketmap.BucketID, f Finding) {
	have := n.enter(f)
	have.Buckets = append(have.Buckets, b)
}

func (n *notebook) enter(f Finding) *Finding {
	id := f.identity()
	if have, ok := n.byIdentity[id]; ok {
		return have
	}
	if n.byIdentity == nil {
		n.byIdentity = map[string]*Finding{}
	}
	have := &f
	n.byIdentity[id] = have
	n.order = append(n.order, have)
	return have
}

// both returns what n has found and the look before it too, with the words of n.
func (n *notebook) both(earlier *notebook) []*Finding {
	var kept []*Finding
	for _, f := range n.order {
		before, ok := earlier.byIdentity[f.identity()]
		if !ok {
			continue
		}
		if len(f.Buckets) != 0 {
			was := map[bucketmap.BucketID]bool{}
			for _, b := range before.Buckets {
				was[b] = true
			}
			f.Buckets = slices.DeleteFunc(f.Buckets, func(b bucketmap.BucketID) bool { return !was[b] })
			if len(f.Buckets) == 0 {
				continue
			}
		}
		kept = append(kept, f)
	}
	return kept
}

// finish completes the words, and sorts the worst first.
func finish(findings []*Finding) {
	rank := map[Kind]int{}
	for i, k := range Kinds() {
		rank[k] = i
	}
	for _, f := range findings {
		slices.Sort(f.Buckets)
		if len(f.Buckets) != 0 {
			f.Says = plural(f.Buckets) + " " + f.Says
		}
		if f.sql != nil {
			f.SQL = f.sql(f.Buckets)
		}
	}
	slices.SortStableFunc(findings, func(a, b *Finding) int {
		return cmp.Or(cmp.Compare(rank[a.Kind], rank[b.Kind]), cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Move, b.Move), cmp.Compare(a.key, b.key))
	})
}

func plural(b move.Buckets) string {
	if len(b) == 1 {
		return "bucket " + b.String()
	}
	return fmt.Sprintf("%d buckets (%s)", len(b), b)
}

// inSQL writes buckets for IN (…).
func inSQL(buckets move.Buckets) string {
	parts := make([]string, len(buckets))
	for i, b := range buckets {
		parts[i] = fmt.Sprint(uint32(b))
	}
	return strings.Join(parts, ", ")
}
