package shardlib

// What this process knows of its users' own writes.
//
// A COMMIT tells its GTID in its own answer (connection.go). It is remembered
// by user, in bounded memory: what is forgotten of a user becomes a demand on
// all reads of the shard, the floor, so that forgetting makes reads stricter
// and never wrong. By then the replicas have it, as a rule.
//
// A bucket's epoch says in which of its homes the write was made. A snapshot
// with a later epoch has it, for nothing becomes active before it has all; one
// with the same epoch has it if the replica has reached the GTID; one with an
// earlier epoch has it not.

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"

	"drover/bucketmap"
)

// writersMax bounds the users whose writes are remembered one by one. Each
// takes about 250 bytes: 65,536 × 250 B = 16 MiB.
const writersMax = 1 << 16

// evidence is what a read must see.
type evidence struct {
	epoch    bucketmap.Epoch // of the bucket, when it was written
	position position
	// after, when not zero, stands for a position that is not known: a sample
	// that was begun then or later has it.
	after time.Time
}

// seen says whether a snapshot has it all: one of this epoch of the bucket, on
// a replica at p that has reached a sample which was begun at this time.
func (e evidence) seen(epoch bucketmap.Epoch, p position, sampled time.Time) bool {
	if epoch != e.epoch {
		return epoch > e.epoch
	}
	return p.reached(e.position) && !sampled.Before(e.after)
}

// and returns what demands both.
func (e evidence) and(o evidence) evidence {
	switch {
	case e.epoch > o.epoch:
		return e
	case e.epoch < o.epoch:
		return o
	}
	e.position = e.position.merge(o.position)
	if e.after.Before(o.after) {
		e.after = o.after
	}
	return e
}

// userKey stands for a user: two that share one demand more, and no less.
type userKey [userHashBytes]byte

func keyOf(user bucketmap.UserID) userKey {
	sum := sha256.Sum256([]byte(user))
	return userKey(sum[:userHashBytes])
}

// writer is one user's entry.
type writer struct {
	key   userKey
	shard bucketmap.ShardName
	evidence
}

type writes struct {
	most int // writersMax, or a test's

	mu struct {
		sync.Mutex
		users  map[userKey]*list.Element // of *writer
		recent *list.List                // the last to write is first
		floor  map[bucketmap.ShardName]evidence
		// epochs are those that a write found to be later than the map says.
		epochs map[bucketmap.BucketID]bucketmap.Epoch
	}
}

func newWrites(most int) *writes {
	w := &writes{most: most}
	w.mu.users, w.mu.recent = map[userKey]*list.Element{}, list.New()
	w.mu.floor = map[bucketmap.ShardName]evidence{}
	w.mu.epochs = map[bucketmap.BucketID]bucketmap.Epoch{}
	return w
}

// remember adds a write by a transaction.
func (w *writes) remember(tx *Tx, e evidence) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.epoch > tx.home.Epoch {
		w.mu.epochs[tx.home.Bucket] = max(e.epoch, w.mu.epochs[tx.home.Bucket])
	}
	key := keyOf(tx.user)
	if at := w.mu.users[key]; at != nil {
		there := at.Value.(*writer) //nolint:forcetypeassert // the list has nothing else
		if e.epoch >= there.epoch {
			there.shard = tx.home.Shard
		}
		there.evidence = there.and(e)
		w.mu.recent.MoveToFront(at)
		return
	}
	w.mu.users[key] = w.mu.recent.PushFront(&writer{key, tx.home.Shard, e})
	if len(w.mu.users) > w.most {
		oldest := w.mu.recent.Remove(w.mu.recent.Back()).(*writer) //nolint:forcetypeassert // see above
		delete(w.mu.users, oldest.key)
		floor := w.mu.floor[oldest.shard]
		oldest.epoch = floor.epoch // the floor has none: it holds for every bucket
		w.mu.floor[oldest.shard] = floor.and(oldest.evidence)
	}
}

// known returns what reads of the user at this home must see.
func (w *writes) known(user bucketmap.UserID, home Home) evidence {
	w.mu.Lock()
	defer w.mu.Unlock()
	epoch := home.Epoch
	if ahead, ok := w.mu.epochs[home.Bucket]; ok {
		if epoch = max(epoch, ahead); epoch == home.Epoch {
			delete(w.mu.epochs, home.Bucket) // the map knows now
		}
	}
	e := w.mu.floor[home.Shard]
	e.epoch = epoch
	if at := w.mu.users[keyOf(user)]; at != nil {
		there := at.Value.(*writer) //nolint:forcetypeassert // see remember
		e = e.and(there.evidence)
	}
	return e
}

// learn puts a position that was read at the user's primary after a time in the
// place of that time.
func (w *writes) learn(user bucketmap.UserID, shard bucketmap.ShardName, asked time.Time, e evidence) {
	w.sampled(shard, sample{begun: asked, position: e.position})
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := w.mu.users[keyOf(user)]; at != nil {
		there := at.Value.(*writer) //nolint:forcetypeassert // see remember
		if there.epoch == e.epoch {
			there.evidence = there.resolved(sample{begun: asked, position: e.position})
		}
	}
}

// sampled does so for what was forgotten of users of the shard.
func (w *writes) sampled(shard bucketmap.ShardName, one sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if floor, ok := w.mu.floor[shard]; ok {
		w.mu.floor[shard] = floor.resolved(one)
	}
}

func (e evidence) resolved(one sample) evidence {
	if !e.after.IsZero() && !one.begun.Before(e.after) {
		e.position, e.after = e.position.merge(one.position), time.Time{}
	}
	return e
}
