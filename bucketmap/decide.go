package bucketmap

import "hash/crc32"

// Decision is where one request goes, and why.
type Decision struct {
	Datacenter Datacenter
	Reason     Reason
	// Bucket is the user's bucket when HasBucket: for every usable user id,
	// a whitelisted one too.
	Bucket    BucketID
	HasBucket bool
}

// Bucket returns the user's bucket: CRC-32 (IEEE) of the id's bytes modulo
// buckets, the same as CRC32(user_id) % N in SQL. buckets must not be 0.
func Bucket(user []byte, buckets uint32) BucketID {
	return BucketID(crc32.ChecksumIEEE(user) % buckets)
}

// Decide says to which datacenter a request of this user goes. An empty user
// is a request with no user. It is a pure function of the snapshot and the
// user id, allocates nothing and takes no lock.
func (s *Snapshot) Decide(user []byte) Decision {
	if len(user) == 0 {
		return Decision{Datacenter: s.dflt.Datacenter, Reason: ReasonNoUser}
	}
	if len(user) > UserIDMax {
		return Decision{Datacenter: s.dflt.Datacenter, Reason: ReasonBadUser}
	}
	b := Bucket(user, s.buckets)
	d := Decision{Bucket: b, HasBucket: true}
	if len(s.whitelist) != 0 {
		if dc, ok := s.whitelist[string(user)]; ok {
			d.Datacenter, d.Reason = dc, ReasonWhitelist
			return d
		}
	}
	if home := s.homes[b]; home != 0 {
		d.Datacenter, d.Reason = s.shards[home-1].Datacenter, ReasonBucket
		return d
	}
	d.Datacenter, d.Reason = s.dflt.Datacenter, ReasonUnmapped
	return d
}
