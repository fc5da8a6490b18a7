package nginx_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"drover/bucketmap"
	"drover/bucketmap/nginx"
)

// A map of 1,024 buckets is exported for nginx, which includes drover.conf in
// http {} and drover-headers.conf where proxy_pass is.
func Example() {
	draft := bucketmap.NewDraft(1024)
	draft.Default.Datacenter = "legacy"
	draft.Datacenters = []bucketmap.Datacenter{"legacy"}
	if err := draft.PutShard(bucketmap.Shard{Name: "beta", Datacenter: "cloud"}); err != nil {
		log.Fatal(err)
	}
	if err := draft.SetHome(0, 511, "beta"); err != nil {
		log.Fatal(err)
	}
	draft.Whitelist["emp-1"] = "cloud"
	draft.Whitelist["emp\n2"] = "cloud" // no header can carry it
	current, err := draft.Snapshot()
	if err != nil {
		log.Fatal(err)
	}

	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		log.Fatal(err)
	}
	_, err = nginx.Export(dir, current, nginx.Options{})
	fmt.Println(err)
	report, err := nginx.Export(dir, current, nginx.Options{AllowLoss: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(filepath.Base(report.Config), filepath.Base(report.Headers))
	if err := os.RemoveAll(dir); err != nil {
		log.Fatal(err)
	}
	// Output:
	// nginx: the map says what this edge cannot do: 1 whitelisted user(s) whose id no header can carry, such as ["hex:656d700a32"]; take them off the whitelist, or allow the loss
	// drover.conf drover-headers.conf
}
