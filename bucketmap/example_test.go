package bucketmap_test

import (
	"fmt"
	"log"

	"drover/bucketmap"
)

// A map of 1,024 buckets, half of them moved, and one employee who goes ahead.
func Example() {
	draft := bucketmap.NewDraft(1024)
	draft.Default = bucketmap.Default{Auto: true, Source: "legacy", Target: "cloud"}
	for _, shard := range []bucketmap.Shard{{Name: "alpha", Datacenter: "legacy"}, {Name: "beta", Datacenter: "cloud"}} {
		if err := draft.PutShard(shard); err != nil {
			log.Fatal(err)
		}
	}
	if err := draft.SetHome(0, 511, "alpha"); err != nil {
		log.Fatal(err)
	}
	if err := draft.SetHome(512, 1023, "beta"); err != nil {
		log.Fatal(err)
	}
	draft.Whitelist["emp-1"] = "cloud"
	draft.ResolveDefault(nil)
	current, err := draft.Snapshot()
	if err != nil {
		log.Fatal(err)
	}
	for _, user := range []string{"emp-1", "alice", "bob", ""} {
		d := current.Decide([]byte(user))
		fmt.Printf("%q: %s (%s)\n", user, d.Datacenter, d.Reason)
	}

	// Bob's bucket moves.
	next := current.Edit()
	bucket := bucketmap.Bucket([]byte("bob"), current.Buckets())
	if err := next.SetHome(bucket, bucket, "beta"); err != nil {
		log.Fatal(err)
	}
	next.Epochs[bucket] = current.Epoch(bucket) + 1
	moved, err := next.Snapshot()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(bucketmap.Diff(current, moved))
	// Output:
	// "emp-1": cloud (whitelist)
	// "alice": legacy (bucket)
	// "bob": legacy (bucket)
	// "": legacy (no_user)
	// ~ home 320: alpha -> beta
	// ~ epoch 320: 1 -> 2
}
