package cohort

import (
	"sync/atomic"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/passport"
)

// WindowMax is the longest window. What is older is forgotten.
const WindowMax = 24 * time.Hour

// tick is the unit of the times that are kept: 32 bits of it are 13 years.
const tick = 100 * time.Millisecond

// moment is a time in ticks, counted from a little more than WindowMax before the
// program began, so that what was restored is above 0, which is never.
type moment uint32

const (
	windowTicks = moment(WindowMax / tick)
	momentFirst = 2 * windowTicks // that of the program's begin
)

// momentOf returns an instant's moment, rounded down.
func momentOf(at passport.Instant) moment {
	return momentFirst + moment(max(int64(at), 0)/int64(tick))
}

// Options are what a Set works with. Only Window is wanted.
type Options struct {
	// Window is how long a user counts as moved, to a tenth of a second; at most
	// WindowMax.
	Window time.Duration
	// Now is the clock of requests' passports, Wall that of the files that
	// outlive the process. nil: passport.Now and time.Now.
	Now  func() passport.Instant
	Wall func() time.Time
}

// Set says which users were just moved. A nil one says nothing of anybody.
type Set struct {
	window moment
	now    func() passport.Instant
	wall   func() time.Time

	usersMax, listMax int // the constants, but in tests

	marks atomic.Pointer[marks]
}

// marks are all that is known. They are immutable, but for the moments by
// bucket, which later marks share and which only rise.
type marks struct {
	version bucketmap.Version
	of      *bucketmap.Snapshot // that version; nil: restored, with
	digest  bucketmap.Digest
	known   time.Time
	list    Fingerprint     // of the whitelist file's users
	buckets []atomic.Uint32 // moments of the buckets' last changes
	shards  []shardMark     // whose buckets are not in buckets yet
	users   *userMarks      // nil: nobody
}

// shardMark is a shard that was promoted.
type shardMark struct {
	name bucketmap.ShardName
	at   moment
}

// New returns a set that knows nothing.
func New(o Options) *Set {
	s := &Set{window: moment(min(o.Window, WindowMax) / tick), now: o.Now, wall: o.Wall, usersMax: UsersMax, listMax: listMax}
	if s.now == nil {
		s.now = passport.Now
	}
	if s.wall == nil {
		s.wall = time.Now
	}
	return s
}

// Of returns the cohort of a request that began at an instant and was decided by
// a map: none when it was not decided by its user. user is empty where only the
// bucket is known.
func (s *Set) Of(m *bucketmap.Snapshot, d bucketmap.Decision, user []byte, at passport.Instant) passport.Cohort {
	if s == nil || d.Reason != bucketmap.ReasonBucket && d.Reason != bucketmap.ReasonWhitelist {
		return passport.CohortNone
	}
	k := s.marks.Load()
	if k == nil {
		return passport.CohortStayed
	}
	// One that was held began before what it waited for: that is inside, too.
	oldest := momentOf(at) - s.window
	if int(d.Bucket) < len(k.buckets) && moment(k.buckets[d.Bucket].Load()) > oldest ||
		len(k.shards) != 0 && k.promoted(m, d.Bucket, oldest) || k.users.moved(user, oldest) {
		return passport.CohortMoved
	}
	return passport.CohortStayed
}

// promoted is for the moment between Change and Settle.
func (k *marks) promoted(m *bucketmap.Snapshot, b bucketmap.BucketID, oldest moment) bool {
	home, ok := m.Home(b)
	for i := range k.shards {
		if ok && k.shards[i].at > oldest && k.shards[i].name == home.Name {
			return true
		}
	}
	return false
}

// Known returns since when every move is known; the zero time when there is no
// map yet.
func (s *Set) Known() time.Time {
	if k := s.marks.Load(); k != nil {
		return k.known
	}
	return time.Time{}
}

// Change marks who is moved by to, the map that comes into force after from.
// from is nil for the first one, by which nobody is moved. list are the users of
// the whitelist file, nil for none.
func (s *Set) Change(from, to *bucketmap.Snapshot, list *bucketmap.Whitelist) {
	k := s.marks.Load()
	if from == nil || k == nil || int(to.Buckets()) != len(k.buckets) {
		if from == nil && k != nil && k.version >= to.Version() && int(to.Buckets()) == len(k.buckets) {
			return // restored
		}
		s.begin(to, list)
		return
	}
	d := bucketmap.Diff(from, to)
	next, now := *k, momentOf(s.now())
	next.version, next.of = to.Version(), to
	for i := range d.Homes {
		next.mark(d.Homes[i].First, d.Homes[i].Last, now)
	}
	for i := range d.Epochs { // there and back between two versions that came here
		next.mark(d.Epochs[i].First, d.Epochs[i].Last, now)
	}
	for i := range d.Shards {
		if c := &d.Shards[i]; c.From != "" && c.To != "" {
			next.shards = append(next.shards[:len(next.shards):len(next.shards)], shardMark{c.Name, now})
		}
	}
	if len(d.Whitelist) != 0 {
		s.markUsers(&next, changedUsers(d.Whitelist, list), now)
	}
	s.marks.Store(&next)
}

// begin starts anew: nothing is known of what was before.
func (s *Set) begin(m *bucketmap.Snapshot, list *bucketmap.Whitelist) {
	s.marks.Store(&marks{
		version: m.Version(), of: m, known: s.wall(), list: s.fingerprint(list),
		buckets: make([]atomic.Uint32, m.Buckets()),
	})
}

func (k *marks) mark(first, last bucketmap.BucketID, at moment) {
	for b := int(first); b <= int(last) && b < len(k.buckets); b++ {
		k.buckets[b].Store(uint32(at))
	}
}

// Settle enters the buckets of promoted shards. m is the map in force. Its time
// follows the number of buckets, 5 ms for the largest map, after a promotion;
// else it has nothing to do.
func (s *Set) Settle(m *bucketmap.Snapshot) {
	k := s.marks.Load()
	if k == nil || len(k.shards) == 0 {
		return
	}
	at := make(map[bucketmap.ShardName]moment, len(k.shards))
	for _, shard := range k.shards {
		at[shard.name] = max(at[shard.name], shard.at)
	}
	for run := range m.Runs() {
		if when := at[run.Shard]; when != 0 {
			k.mark(run.First, run.Last, when)
		}
	}
	next := *k
	next.shards = nil
	s.marks.Store(&next)
}
