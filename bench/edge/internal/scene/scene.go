package scene

import (
	"fmt"

	"drover/bucketmap"
)

// The two datacenters, by their index.
const (
	Source = 0
	Target = 1
)

const (
	// UsersCount is how many users the map's peers know.
	UsersCount = 10_000
	// Buckets of the map.
	Buckets = 1024
	// shards of the map, every other one in the source.
	shards = 8
	// UserLength is the length of every user id in bytes.
	UserLength = 10
	// UserPrefix begins every user id, and nothing else in a request.
	UserPrefix = "usr_"
)

// Datacenters are the names of Source and Target.
func Datacenters() [2]string { return [2]string{"legacy", "cloud"} }

// User is one user and the datacenter that is right for it.
type User struct {
	ID         string `json:"user"`
	Datacenter int    `json:"datacenter"` // Source or Target
}

// Scene is the map and its users.
type Scene struct {
	Snapshot *bucketmap.Snapshot
	Users    []User
}

// New makes the scene: 5,000 users in each datacenter.
func New() (*Scene, error) {
	draft := bucketmap.NewDraft(Buckets)
	names := Datacenters()
	source, target := bucketmap.Datacenter(names[Source]), bucketmap.Datacenter(names[Target])
	draft.Version, draft.Datacenters = 1, []bucketmap.Datacenter{source, target}
	draft.Default = bucketmap.Default{Datacenter: source}
	draft.Whitelist = map[string]bucketmap.Datacenter{}
	for i := range shards {
		name := bucketmap.ShardName(fmt.Sprintf("shard%d", i))
		dc := bucketmap.Datacenter(names[i%2])
		if err := draft.PutShard(bucketmap.Shard{Name: name, Datacenter: dc, Epoch: bucketmap.FirstEpoch}); err != nil {
			return nil, fmt.Errorf("put %s into the map: %w", name, err)
		}
		first := bucketmap.BucketID(i * Buckets / shards)
		if err := draft.SetHome(first, first+Buckets/shards-1, name); err != nil {
			return nil, fmt.Errorf("give %s its buckets: %w", name, err)
		}
	}
	bare, err := draft.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("check the map: %w", err)
	}
	s := &Scene{}
	var count [2]int
	for n := 0; len(s.Users) < UsersCount; n++ {
		id := fmt.Sprintf("%s%06d", UserPrefix, n)
		dc := n / 2 % 2
		if n%2 == 1 { // by bucket
			dc = Index(bare.Decide([]byte(id)).Datacenter)
		}
		if count[dc] == UsersCount/2 {
			continue
		}
		count[dc]++
		s.Users = append(s.Users, User{ID: id, Datacenter: dc})
		if n%2 == 0 {
			draft.Whitelist[id] = bucketmap.Datacenter(names[dc])
		}
	}
	s.Snapshot, err = draft.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("check the map with its whitelist: %w", err)
	}
	return s, nil
}

// Index returns the index of a datacenter's name.
func Index(dc bucketmap.Datacenter) int {
	if string(dc) == Datacenters()[Source] {
		return Source
	}
	return Target
}
