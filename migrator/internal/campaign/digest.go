package campaign

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"drover/bucketmap"
)

// AssignmentDigest is a digest of every bucket's home and every shard's
// datacenter: what a plan is about. The whitelist, holds and epochs do not count.
func AssignmentDigest(snap *bucketmap.Snapshot) string {
	h := sha256.New()
	fmt.Fprintf(h, "buckets %d\n", snap.Buckets())
	for _, s := range snap.Shards() {
		fmt.Fprintf(h, "shard %q %q\n", s.Name, s.Datacenter)
	}
	for run := range snap.Runs() {
		fmt.Fprintf(h, "run %d %d %q\n", run.First, run.Last, run.Shard)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
