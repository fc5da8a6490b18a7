package file_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"drover/bucketmap"
	"drover/bucketmap/file"
)

// An operator publishes a map and changes it; a proxy loads it.
func Example() {
	dir, err := os.MkdirTemp("", "map")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	store, err := file.Open(dir, file.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	ctx := context.Background()

	draft := bucketmap.NewDraft(1024)
	draft.Default = bucketmap.Default{Datacenter: "legacy"}
	draft.Datacenters = []bucketmap.Datacenter{"legacy", "cloud"}
	first, err := draft.Snapshot()
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Publish(ctx, first, bucketmap.Change{Who: "ann", Why: "first map"}); err != nil {
		log.Fatal(err)
	}
	_, err = bucketmap.Update(ctx, store, bucketmap.Change{Who: "ann", Why: "employees first"}, func(d *bucketmap.Draft) error {
		d.Whitelist["emp-1"] = "cloud"
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	current, err := store.Load(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(current.Version(), current.Decide([]byte("emp-1")).Datacenter)
	records, err := store.History(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range records {
		fmt.Println(r.Version, r.Who, r.Why)
	}
	// Output:
	// 2 cloud
	// 2 ann employees first
	// 1 ann first map
}
