// Package plan says which buckets to move so that the shards are even.
//
// The plan has the fewest bucket moves that reach the goal. By buckets alone the
// goal is exact: each shard has its share, rounded down or up, and what is
// rounded up stays where it is, as far as it can. By weights, such as the users
// of each bucket, the goal is a tolerance: no shard has more than its share and
// the tolerance, if buckets of these weights allow that; of each shard that has
// too much the heaviest buckets go that fit elsewhere, which are the fewest.
//
// The plan changes nothing, connects to nothing, and is the same for the same
// input. A function may be called by any number of goroutines.
package plan
