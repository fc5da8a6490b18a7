package book

import (
	"sync"
	"time"

	"drover/bucketmap"
)

// Outcome is what a client was told.
type Outcome string

// The outcomes.
const (
	Pending      Outcome = ""             // not told yet: counts as Unknown
	Acknowledged Outcome = "acknowledged" // it is there, once
	Refused      Outcome = "refused"      // by the fence or an error before COMMIT: it is not there
	Unknown      Outcome = "unknown"      // COMMIT was sent and not answered: it is there, once, or not
)

// Kind is what a client asked for.
type Kind string

// The kinds.
const (
	// Write puts the entry's id into the user's register and sees what was in it.
	Write Kind = "write"
	// Read sees what is in the user's register.
	Read Kind = "read"
)

// ID is an entry's number, from 1. It is what a write writes.
type ID uint64

// Entry is one request of one client.
type Entry struct {
	ID     ID
	Kind   Kind
	User   string
	Bucket bucketmap.BucketID
	Client string
	// Began and Ended are before the first byte and after the answer, since the
	// book was opened.
	Began, Ended time.Duration
	Outcome      Outcome
	// What an acknowledged request saw: the shard it was on, the bucket's epoch
	// there, and what was in the register.
	Shard bucketmap.ShardName
	Epoch bucketmap.Epoch
	Saw   ID
	// Err is why it was not acknowledged.
	Err string
}

// Seen is what a request saw in its transaction.
type Seen struct {
	Shard bucketmap.ShardName
	Epoch bucketmap.Epoch
	Value ID
}

// entriesMax bounds a book: × 200 bytes = 4 GB. A run of 1,000 moves has about
// one million.
const entriesMax = 20_000_000

// Book holds the entries of one run, in memory: a book that outlives its
// process would have nobody to compare it.
type Book struct {
	opened time.Time

	mu struct {
		sync.Mutex
		entries []Entry
		acked   map[string]int // by user: its acknowledged writes
		counts  map[Outcome]int
	}
}

// Open returns an empty book.
func Open() *Book {
	b := &Book{opened: time.Now()}
	b.mu.acked, b.mu.counts = map[string]int{}, map[Outcome]int{}
	return b
}

// Now is the time since the book was opened.
func (b *Book) Now() time.Duration { return time.Since(b.opened) }

// Begin notes a request that is about to be made; false when the book is full.
func (b *Book) Begin(kind Kind, client, user string, bucket bucketmap.BucketID) (ID, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.mu.entries) >= entriesMax {
		return 0, false
	}
	id := ID(len(b.mu.entries) + 1)
	b.mu.entries = append(b.mu.entries, Entry{ID: id, Kind: kind, Client: client, User: user, Bucket: bucket, Began: b.Now()})
	return id, true
}

// End notes what became of it.
func (b *Book) End(id ID, outcome Outcome, seen Seen, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := &b.mu.entries[id-1]
	e.Ended, e.Outcome = b.Now(), outcome
	e.Shard, e.Epoch, e.Saw = seen.Shard, seen.Epoch, seen.Value
	if err != nil {
		e.Err = err.Error()
	}
	b.mu.counts[outcome]++
	if outcome == Acknowledged && e.Kind == Write {
		b.mu.acked[e.User]++
	}
}

// Acked is how many writes of a user were acknowledged so far.
func (b *Book) Acked(user string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.acked[user]
}

// Writes is how many writes were acknowledged so far.
func (b *Book) Writes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, acked := range b.mu.acked {
		n += acked
	}
	return n
}

// Counts returns how many requests had each outcome so far.
func (b *Book) Counts() map[Outcome]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := map[Outcome]int{}
	for o, n := range b.mu.counts {
		counts[o] = n
	}
	return counts
}

// writes returns the writes of an outcome.
func (b *Book) writes(outcome Outcome) []*Entry {
	var found []*Entry
	for i := range b.mu.entries {
		if e := &b.mu.entries[i]; e.Kind == Write && e.Outcome == outcome {
			found = append(found, e)
		}
	}
	return found
}
