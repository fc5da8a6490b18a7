package doctor

import (
	"context"
	"time"

	"drover/bucketmap"
	"drover/internal/pause"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/shardlib"
	"drover/shardlib/fence"
)

// Map is where the map in force comes from.
type Map interface {
	Load(ctx context.Context) (*bucketmap.Snapshot, error)
}

// Servers finds the server of a shard in a datacenter.
type Servers interface {
	In(shard bucketmap.ShardName, dc bucketmap.Datacenter) (*database.Server, error)
}

const (
	// DefaultAgain is long enough for any step of a move that several servers
	// must take, and short enough to wait for.
	DefaultAgain = 1 * time.Second
	// DefaultSoak is how long a soak may be without a live reverse tail: far
	// within the time for which servers keep their binlogs.
	DefaultSoak = 1 * time.Hour
	// looksMax bounds the looks: two for a healthy connection, two more for a
	// server that answers now and then.
	looksMax = 4
	// readMax bounds reading one server, --rows apart.
	readMax = 20 * time.Second
	// rowsMax bounds counting the rows of one table on one server.
	rowsMax = 30 * time.Second
	// serversAtOnce bounds the servers that are read side by side.
	serversAtOnce = 16
)

// Doctor looks at one installation.
type Doctor struct {
	Map     Map
	Servers Servers
	List    shardlib.ShardList
	Tables  []fence.Sharded
	// Account is the user name that passes the fence.
	Account string
	// Rows looks for rows where their buckets neither live nor move, too. It reads
	// whole tables that have no index on the bucket.
	Rows bool
	// Again is the pause between two looks, Soak how long a soak may be without
	// a live reverse tail. 0 is the default of each.
	Again, Soak time.Duration
}

// Unseen is a place that could not be looked at.
type Unseen struct {
	Shard  bucketmap.ShardName `json:"shard"`
	Server string              `json:"server,omitempty"`
	Reason string              `json:"reason"`
}

// Running is a move that a live migrator has.
type Running struct {
	Move  bucketmap.MoveID `json:"move"`
	Kind  journal.Kind     `json:"kind"`
	State string           `json:"state"`
	Since time.Time        `json:"since"`
}

// Report is what Examine found.
type Report struct {
	Version  bucketmap.Version `json:"version"`
	Shards   int               `json:"shards"`
	Buckets  uint32            `json:"buckets"`
	Looks    int               `json:"looks"`
	Findings []*Finding        `json:"findings"`
	Unseen   []Unseen          `json:"unseen"`
	Running  []Running         `json:"running"`

	snap *bucketmap.Snapshot
}

// Healthy says that everything was seen and nothing found.
func (r *Report) Healthy() bool { return len(r.Findings) == 0 && len(r.Unseen) == 0 }

// Examine looks until two looks in a row have seen the same servers, and
// reports what both have found. The error is of the map: what is wrong with
// servers is in the report.
func (d *Doctor) Examine(ctx context.Context) (*Report, error) {
	var before *view
	var found *notebook
	for looks := 1; ; looks++ {
		now, err := d.look(ctx)
		if err != nil {
			return nil, err
		}
		notes := d.judge(now)
		report := now.report()
		report.Looks = looks
		switch {
		case len(notes.order) == 0 && len(now.unseen) == 0:
			return report, nil
		case before != nil && (now.saw(before) || looks == looksMax):
			report.Findings = append(report.Findings, notes.both(found)...)
			finish(report.Findings)
			return report, nil
		}
		before, found = now, notes
		if err := pause.For(ctx, orDefault(d.Again, DefaultAgain)); err != nil {
			return nil, err
		}
	}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// judge is pure: it looks at nothing but the view.
func (d *Doctor) judge(v *view) *notebook {
	n := &notebook{}
	v.judgeServers(n, d)
	v.judgeReplicas(n)
	v.judgeBuckets(n)
	v.judgeMoves(n, orDefault(d.Soak, DefaultSoak))
	v.judgeHolds(n)
	v.judgeTails(n)
	v.judgeTriggers(n)
	v.judgeRows(n)
	return n
}

// MendedMap returns the map that follows the databases, for migrator map push;
// nil when no finding is about the map. Nothing else in it is changed.
func (r *Report) MendedMap() (*bucketmap.Snapshot, error) {
	var draft *bucketmap.Draft
	for _, f := range r.Findings {
		if f.fix == nil {
			continue
		}
		if draft == nil {
			draft = r.snap.Edit()
			draft.Version = r.snap.Version() + 1
		}
		if err := f.fix(draft, f.Buckets); err != nil {
			return nil, err
		}
	}
	if draft == nil {
		return nil, nil
	}
	draft.Declare(r.snap)
	return draft.Snapshot()
}
