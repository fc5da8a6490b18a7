package worker_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"drover/bucketmap"
	"drover/bucketmap/worker"
)

// A map becomes a Worker, which wrangler deploys or workerd runs.
func Example() {
	draft := bucketmap.NewDraft(1024)
	draft.Default = bucketmap.Default{Auto: true, Source: "legacy", Target: "cloud", Datacenter: "legacy"}
	draft.Datacenters = []bucketmap.Datacenter{"legacy", "cloud"}
	draft.Whitelist["emp-1"] = "cloud"
	snapshot, err := draft.Snapshot()
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "worker")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	err = worker.Export(dir, snapshot, worker.Options{
		Upstreams: map[bucketmap.Datacenter]string{
			"legacy": "https://legacy.example.com",
			"cloud":  "https://cloud.example.com",
		},
		Failover: map[bucketmap.Datacenter][]bucketmap.Datacenter{"cloud": {"legacy"}},
		Identity: []worker.Source{{Cookie: "uid"}, {Path: "/1/user/{id}"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range files {
		fmt.Println(filepath.Base(file))
	}
	// Output:
	// config.json
	// identity.mjs
	// map.bin
	// map.mjs
	// worker.mjs
	// workerd.capnp
	// wrangler.toml
}
