package push_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"os"

	"drover/bucketmap"
	"drover/bucketmap/push"
)

// An operator publishes a map, and a proxy has it when Publish returns.
func Example() {
	ctx := context.Background()
	receiver, err := push.NewReceiver(push.ReceiverOptions{
		Proxy: "p1",
		Offer: func(_ context.Context, next *bucketmap.Snapshot) error {
			fmt.Println("in force:", next.Version())
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	admin := httptest.NewServer(receiver)
	defer admin.Close()

	dir, err := os.MkdirTemp("", "map")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	store, err := push.Open(push.Options{Dir: dir, Proxies: []string{admin.URL}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = store.Close() }()

	draft := bucketmap.NewDraft(1024)
	draft.Default = bucketmap.Default{Datacenter: "legacy"}
	draft.Datacenters = []bucketmap.Datacenter{"legacy"}
	first, err := draft.Snapshot()
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Publish(ctx, first, bucketmap.Change{Who: "ann", Why: "first map"}); err != nil {
		log.Fatal(err)
	}
	acks, err := store.Acks(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(acks[0].Proxy, "runs", acks[0].Version)
	// Output:
	// in force: 1
	// p1 runs 1
}
