package cli

import (
	"context"
	"fmt"
	"sync"
	"time"

	"drover/bucketmap"
)

const (
	// historyMax bounds a look at the map's history.
	historyMax = 5 * time.Second
	// skewMax is how far the clocks of who publishes may be behind ours: a history
	// that was read so long after a moment has all that was published before it.
	skewMax = 10 * time.Second
	// comparedMax bounds the answers that are kept: × 17 bytes.
	comparedMax = 1024
)

// movedUsers says from the map's history whether users were moved, by whomever.
// It is safe for concurrent use.
type movedUsers struct {
	maps store

	mu       sync.Mutex
	compared map[[2]bucketmap.Version]bool // whether users moved from one version to the other
	records  []bucketmap.Record            // the newest first
	read     time.Time                     // when they were read
}

// history is the map's, with all that was published up to a moment. It is read
// again only when it may not have that: every version is a file in some stores.
func (m *movedUsers) history(ctx context.Context, upTo time.Time) ([]bucketmap.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.read.IsZero() && upTo.Before(m.read.Add(-skewMax)) {
		return m.records, nil
	}
	at := time.Now()
	records, err := m.maps.History(ctx)
	if err != nil {
		return nil, fmt.Errorf("the map's history: %w", err)
	}
	m.records, m.read = records, at
	return records, nil
}

// between says whether the map in force at the second moment has moved users since
// the first. Epochs, and the map's count of buckets moved, tell of a bucket that
// went away and came back; who was put on the whitelist and taken off again is where
// they were. The first map that there is moves nobody.
func (m *movedUsers) between(ctx context.Context, from, to time.Time) (bool, error) {
	records, err := m.history(ctx, to)
	if err != nil {
		return false, err
	}
	var before, after bucketmap.Version
	for _, r := range records { // the newest first
		if r.When.After(to) {
			continue
		}
		if after == 0 {
			after = r.Version
		}
		if before = r.Version; !r.When.After(from) {
			break
		}
	}
	if before == after {
		return false, nil
	}
	m.mu.Lock()
	moved, known := m.compared[[2]bucketmap.Version{before, after}]
	m.mu.Unlock()
	if known {
		return moved, nil
	}
	snaps := [2]*bucketmap.Snapshot{}
	for i, v := range []bucketmap.Version{before, after} {
		if snaps[i], err = m.maps.At(ctx, v); err != nil {
			return false, fmt.Errorf("version %d of the map: %w", v, err)
		}
	}
	moved = moves(snaps[0], snaps[1])
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.compared == nil || len(m.compared) >= comparedMax {
		m.compared = map[[2]bucketmap.Version]bool{}
	}
	m.compared[[2]bucketmap.Version{before, after}] = moved
	return moved, nil
}

// moves says whether users live elsewhere by one map than by another, or have been
// elsewhere meanwhile.
func moves(from, to *bucketmap.Snapshot) bool {
	d := bucketmap.Diff(from, to)
	for _, s := range d.Shards {
		if s.FromEpoch != 0 && s.ToEpoch != 0 { // else it is new, or gone
			return true
		}
	}
	return d.FromMoved != d.ToMoved || len(d.Homes)+len(d.Epochs)+len(d.Whitelist) != 0
}
