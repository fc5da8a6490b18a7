package bucketmap

import "fmt"

// BucketsMax is the largest bucket count a map may have.
const BucketsMax = 1 << 20

// UserIDMax is the longest user id in bytes; a longer one is unusable.
const UserIDMax = 256

// BucketID numbers a bucket, 0 to the map's bucket count less one.
type BucketID uint32

// Version numbers a map: one higher at each publish, never reused, never
// lowered. 0 is no map.
type Version uint64

// Epoch is an ownership number, one higher each time the home changes. A
// bucket that never moved has epoch 1, and so has a shard that was never
// promoted.
type Epoch uint64

// FirstEpoch is the epoch of what never moved.
const FirstEpoch Epoch = 1

// Datacenter is the name of a place with application servers, shards and
// caches.
type Datacenter string

// ShardName is the name of one primary database server with its replicas.
type ShardName string

// MoveID names a move or a promotion.
type MoveID string

// Reason says which rule of the routing decision gave the datacenter.
type Reason uint8

// The reasons, in the order in which the rules are asked.
const (
	ReasonWhitelist Reason = iota // the user is on the whitelist
	ReasonBucket                  // the user's bucket has a home
	ReasonNoUser                  // the request names no user
	ReasonBadUser                 // the user id is longer than UserIDMax
	ReasonUnmapped                // the user's bucket has no home
)

// Reasons lists every reason, for metrics that must exist before they count.
func Reasons() []Reason {
	return []Reason{ReasonWhitelist, ReasonBucket, ReasonNoUser, ReasonBadUser, ReasonUnmapped}
}

// String gives the word used in headers, metrics and logs.
func (r Reason) String() string {
	switch r {
	case ReasonWhitelist:
		return "whitelist"
	case ReasonBucket:
		return "bucket"
	case ReasonNoUser:
		return "no_user"
	case ReasonBadUser:
		return "bad_user"
	case ReasonUnmapped:
		return "unmapped"
	default:
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
}
