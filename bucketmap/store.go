package bucketmap

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrNoMap is returned where no map was ever published.
	ErrNoMap = errors.New("no map has been published")
	// ErrConflict is returned by Publish when another version was published
	// meanwhile. Load the new one and decide again.
	ErrConflict = errors.New("another version of the map was published meanwhile")
	// ErrRefused is the class of maps that are valid but may not replace the
	// one in force.
	ErrRefused = errors.New("map refused")
	// ErrMismatch is returned by Apply when the difference does not begin at
	// the map that it is applied to. Load the whole map.
	ErrMismatch = errors.New("the difference does not fit this map")
	// ErrOutcomeUnknown is returned by Publish when the map may or may not be
	// in force. It is never retried blindly: Load says which.
	ErrOutcomeUnknown = errors.New("it is not known whether the map was published; load it and look")
)

// Change says who published a version, and why.
type Change struct {
	Who, Why string
}

// Record is one line of the history.
type Record struct {
	Version Version
	Change
	When time.Time // UTC, by the publisher's clock
	// Digest is the map's, zero when the store does not know it.
	Digest Digest
}

// Ack is what a proxy says of the map that it runs.
type Ack struct {
	Proxy   string    // the proxy's id, a valid name
	Version Version   // the version in force, 0 for none
	Digest  Digest    // of the map in force, zero for none
	Since   time.Time // when it came into force
	// Refused and Reason tell of the last map refused; empty when the newest
	// map seen is the one in force.
	Refused Version
	Reason  string
}

// Source is where readers of the map, the proxies and the applications, get
// it from.
type Source interface {
	// Load returns the newest published map. ErrNoMap when there is none.
	Load(ctx context.Context) (*Snapshot, error)
	// Watch calls changed with the newest map, at once and at every change,
	// until ctx ends, and returns ctx's error. Versions between two calls may
	// be skipped. When what was published cannot be read, changed gets a nil
	// snapshot and the error; the reader goes on with what it has. The calls
	// come one after the other.
	Watch(ctx context.Context, changed func(*Snapshot, error)) error
	// Ack makes known what this proxy runs. The acknowledgement lives as long
	// as the process that gave it.
	Ack(ctx context.Context, ack Ack) error
}

// Publisher is where operators' tools change the map.
type Publisher interface {
	Load(ctx context.Context) (*Snapshot, error)
	// Publish is a compare-and-swap on the version: next must be one higher
	// than the version published, else ErrConflict. The first map has
	// version 1.
	Publish(ctx context.Context, next *Snapshot, change Change) error
	// History returns every record, the newest first.
	History(ctx context.Context) ([]Record, error)
	// At returns the map of one version of the history. ErrNoMap when that
	// version was never in force.
	At(ctx context.Context, version Version) (*Snapshot, error)
}

// Fleet is the publishers' view of the proxies that are alive.
type Fleet interface {
	// Acks returns the acknowledgement of every live proxy, sorted by id.
	Acks(ctx context.Context) ([]Ack, error)
	// WatchAcks calls changed with all acknowledgements, at once and whenever
	// one changes, until ctx ends or changed returns false.
	WatchAcks(ctx context.Context, changed func([]Ack) bool) error
}

// Store is everything that an implementation gives.
type Store interface {
	Source
	Publisher
	Fleet
}

// updateTries bounds Update: each loss means that somebody else won, so a
// handful of publishers at once get through.
const updateTries = 20

// Update loads the map, lets edit change it, and publishes the result as the
// next version, again from the start when another publisher was faster. edit
// may therefore run several times. It declares what the edit moves, see
// Draft.Declare. It returns the map now in force. ErrNoEdit
// from edit ends it without a publication and without an error.
func Update(ctx context.Context, store Publisher, change Change, edit func(*Draft) error) (*Snapshot, error) {
	for range updateTries {
		current, err := store.Load(ctx)
		if err != nil {
			return nil, err
		}
		draft := current.Edit()
		if err := edit(draft); err != nil {
			if errors.Is(err, ErrNoEdit) {
				return current, nil
			}
			return nil, err
		}
		draft.Declare(current)
		next, err := draft.Snapshot()
		if err != nil {
			return nil, err
		}
		err = store.Publish(ctx, next, change)
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, ErrConflict) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w, %d times in a row; run the command again", ErrConflict, updateTries)
}

// ErrNoEdit is what an edit function returns when the map already says what
// it should.
var ErrNoEdit = errors.New("nothing to change")
