package routing

import "drover/bucketmap"

// Route is what a map says of one bucket: as long as it stays the same, a
// newer map changes nothing for the bucket's requests.
type Route struct {
	Shard  bucketmap.Shard // its home, with its datacenter and its epoch
	Epoch  bucketmap.Epoch // the bucket's
	Move   bucketmap.MoveID
	Held   bool
	Homing bool // it has a home
}

// RouteOf returns what s says of a bucket.
func RouteOf(s *bucketmap.Snapshot, b bucketmap.BucketID) Route {
	var r Route
	r.Shard, r.Homing = s.Home(b)
	r.Epoch = s.Epoch(b)
	hold, held := s.HoldOf(b)
	r.Move, r.Held = hold.Move, held
	return r
}
