package move

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
)

// Move is one move: its journal's record and what the engine keeps in it.
type Move struct {
	Record *journal.Record
	Detail
}

// Detail is the part of a move that only this package reads.
type Detail struct {
	Buckets Buckets             `json:"buckets"`
	Source  bucketmap.ShardName `json:"source"`
	Target  bucketmap.ShardName `json:"target"`
	// Leg is 1 for the move itself and one higher for each return. On odd legs
	// the buckets go from Source to Target, on even ones back.
	Leg int `json:"leg"`
	// Purged is set once a move that is done has removed what it left behind.
	Purged bool `json:"purged,omitempty"`
	// Copied is how many rows the copy brought; nil until it is over.
	Copied *int64 `json:"copied,omitempty"`
	// Stall is for how long the buckets could not be written at the last change of
	// home, in nanoseconds.
	Stall time.Duration `json:"stall,omitempty"`
}

// From returns the shard that the current leg starts from.
func (d Detail) From() bucketmap.ShardName {
	if d.Leg%2 == 1 {
		return d.Source
	}
	return d.Target
}

// To returns the shard that the current leg goes to.
func (d Detail) To() bucketmap.ShardName {
	if d.Leg%2 == 1 {
		return d.Target
	}
	return d.Source
}

// State returns where the move is.
func (m *Move) State() State { return State(m.Record.State) }

// ErrBuckets is the class of bucket lists that cannot be read.
var ErrBuckets = errors.New("buckets are numbers and ranges separated by commas, such as 17 or 0-99,200")

// Buckets is a set of buckets, sorted. Its text is ranges: "0-99,200".
type Buckets []bucketmap.BucketID

// ParseBuckets reads ranges of buckets below count.
func ParseBuckets(text string, count uint32) (Buckets, error) {
	var all Buckets
	for _, part := range strings.Split(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		f, err1 := strconv.ParseUint(first, 10, 32)
		l, err2 := strconv.ParseUint(last, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%w: %q", ErrBuckets, part)
		}
		if f > l || l >= uint64(count) {
			return nil, fmt.Errorf("%w: %q: the map has buckets 0 to %d", ErrBuckets, part, count-1)
		}
		for b := f; b <= l; b++ {
			all = append(all, bucketmap.BucketID(b))
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// String gives the ranges.
func (b Buckets) String() string {
	var parts []string
	for _, r := range b.ranges() {
		if r[0] == r[1] {
			parts = append(parts, fmt.Sprint(r[0]))
			continue
		}
		parts = append(parts, fmt.Sprintf("%d-%d", r[0], r[1]))
	}
	return strings.Join(parts, ",")
}

// ranges gives the runs of consecutive buckets, first and last of each.
func (b Buckets) ranges() [][2]bucketmap.BucketID {
	var runs [][2]bucketmap.BucketID
	for _, bucket := range b {
		if n := len(runs); n != 0 && runs[n-1][1]+1 == bucket {
			runs[n-1][1] = bucket
			continue
		}
		runs = append(runs, [2]bucketmap.BucketID{bucket, bucket})
	}
	return runs
}

// MarshalText writes the ranges.
func (b Buckets) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads the ranges.
func (b *Buckets) UnmarshalText(text []byte) error {
	parsed, err := ParseBuckets(string(text), bucketmap.BucketsMax)
	if err != nil {
		return err
	}
	*b = parsed
	return nil
}

// load reads the move that a record tells of.
func load(r *journal.Record) (*Move, error) {
	m := &Move{Record: r}
	if r.Kind != journal.KindMove {
		return nil, fmt.Errorf("%s is a %s, not a move", r.Move, r.Kind)
	}
	if _, known := Next[State(r.State)]; !known {
		return nil, fmt.Errorf("%s: the journal has state %q, which this program does not know: use the newer migrator", r.Move, r.State)
	}
	if err := json.Unmarshal(r.Detail, &m.Detail); err != nil {
		return nil, fmt.Errorf("%s: the journal's detail: %w", r.Move, err)
	}
	return m, nil
}
