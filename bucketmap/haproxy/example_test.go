package haproxy_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"drover/bucketmap"
	"drover/bucketmap/haproxy"
)

// A map of 1,024 buckets is exported for HAProxy, which takes it up by
//
//	haproxy -f /etc/haproxy/base.cfg -f …/edge/drover.cfg -f /etc/haproxy/www.cfg
//
// where www.cfg has "frontend www from drover".
func Example() {
	draft := bucketmap.NewDraft(1024)
	draft.Default.Datacenter = "legacy"
	if err := draft.PutShard(bucketmap.Shard{Name: "beta", Datacenter: "cloud"}); err != nil {
		log.Fatal(err)
	}
	if err := draft.SetHome(0, 511, "beta"); err != nil {
		log.Fatal(err)
	}
	draft.Datacenters = append(draft.Datacenters, "legacy")
	draft.Whitelist["emp-1"] = "cloud"
	current, err := draft.Snapshot()
	if err != nil {
		log.Fatal(err)
	}

	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		log.Fatal(err)
	}
	report, err := haproxy.Export(dir, current, haproxy.Options{From: "base"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("version %d, %d whitelisted, in %s\n", report.Version, report.Whitelist, filepath.Base(report.Config))
	if err := os.RemoveAll(dir); err != nil {
		log.Fatal(err)
	}
	// Output:
	// version 1, 1 whitelisted, in drover.cfg
}
