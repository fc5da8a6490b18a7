package consul

import (
	"context"
	"fmt"

	"drover/bucketmap"
)

// A publisher and a proxy, which are two processes in earnest.
func ExampleOpen() {
	ctx := context.Background()
	store, err := Open(Options{Address: shared.server.Addr(), Prefix: "example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }() // what it says is of the session, whose time runs out anyway

	draft := bucketmap.NewDraft(16)
	draft.Default = bucketmap.Default{Datacenter: "legacy"}
	_ = draft.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"})
	_ = draft.SetHome(0, 15, "alpha")
	first, err := draft.Snapshot()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(store.Publish(ctx, first, bucketmap.Change{Who: "ann", Why: "the first map"}))

	seen, enough := context.WithCancel(ctx)
	defer enough()
	err = store.Watch(seen, func(s *bucketmap.Snapshot, err error) {
		if err == nil {
			fmt.Println("version", s.Version())
			_ = store.Ack(seen, bucketmap.Ack{Proxy: "p1", Version: s.Version(), Digest: s.Digest()})
		}
		enough()
	})
	fmt.Println(err)
	acks, _ := store.Acks(ctx)
	fmt.Println(acks[0].Proxy, "runs", acks[0].Version)
	// Output:
	// <nil>
	// version 1
	// context canceled
	// p1 runs 1
}
