package bucketmap

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
	return BucketID(checksum(user) % buckets)
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
	crc := checksum(user)
	b := BucketID(crc % s.buckets)
	if s.whitelist.length != 0 {
		if dc, ok := s.whitelist.lookup(user, crc); ok {
			return Decision{Datacenter: dc, Reason: ReasonWhitelist, Bucket: b, HasBucket: true}
		}
	}
	if s.more != nil {
		if dc, ok := s.more.lookup(user, crc); ok {
			return Decision{Datacenter: dc, Reason: ReasonWhitelist, Bucket: b, HasBucket: true}
		}
	}
	return s.place(b)
}

// DecideBucket says to which datacenter a request goes of which the bucket is
// known and the user is not; no whitelist can tell. A bucket that the map does
// not have is a user that cannot be used. Otherwise it is like Decide.
func (s *Snapshot) DecideBucket(b BucketID) Decision {
	if uint64(b) >= uint64(s.buckets) {
		return Decision{Datacenter: s.dflt.Datacenter, Reason: ReasonBadUser}
	}
	return s.place(b)
}
