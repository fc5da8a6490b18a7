package shardlib

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"drover/bucketmap"
)

// memcachedKeyMax is memcached's own limit.
const memcachedKeyMax = 250

// userHashBytes of a SHA-256 tell users apart in keys. A collision costs a miss,
// never a wrong value: an entry carries the whole user id and key.
const userHashBytes = 16

// cacheKey is where the value of (user, key) is cached while the bucket and its
// shard have these epochs:
//
//	namespace ":" shard epoch "." bucket epoch ":" hash of the user ":" key
//
// A bucket's epoch changes with its shard, and a shard's with its datacenter,
// so the same epochs mean the same home without a break. A key that is long or
// not printable is replaced by its hash: "r" stands before a key as it is, "h"
// before a hash.
func cacheKey(namespace string, shardEpoch, epoch bucketmap.Epoch, user bucketmap.UserID, key string) string {
	b := make([]byte, 0, memcachedKeyMax)
	b = append(b, namespace...)
	b = append(b, ':')
	b = strconv.AppendUint(b, uint64(shardEpoch), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(epoch), 10)
	b = append(b, ':')
	sum := sha256.Sum256([]byte(user))
	b = hex.AppendEncode(b, sum[:userHashBytes])
	if len(b)+2+len(key) <= memcachedKeyMax && printable(key) {
		return string(append(append(b, ":r"...), key...))
	}
	sum = sha256.Sum256([]byte(key))
	return string(hex.AppendEncode(append(b, ":h"...), sum[:]))
}

func printable(key string) bool {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return false
		}
	}
	return true
}
