package routing

import (
	"fmt"

	"drover/bucketmap"
)

// check says why next may not come into force here.
func (t *Table) check(next *bucketmap.Snapshot) error {
	if err := bucketmap.CheckSuccessor(t.Current(), next); err != nil {
		return err
	}
	return t.checkUpstreams(next)
}

// checkUpstreams refuses a map that sends somebody to a datacenter without
// upstreams here. One that the map names and does not use yet is no problem.
func (t *Table) checkUpstreams(next *bucketmap.Snapshot) error {
	want := func(dc bucketmap.Datacenter, by string) error {
		if t.options.Datacenters[dc] {
			return nil
		}
		return fmt.Errorf("%w: it sends %s to datacenter %q, for which this proxy has no upstreams: "+
			"add datacenters.%s to the proxy's configuration, restart it, then publish again", bucketmap.ErrRefused, by, dc, dc)
	}
	if err := want(next.Default().Datacenter, "the default"); err != nil {
		return err
	}
	for run := range next.Runs() {
		if run.Shard == "" {
			continue
		}
		shard, _ := next.Shard(run.Shard)
		if err := want(shard.Datacenter, "bucket "+bucketmap.RangeText(run.First, run.Last)); err != nil {
			return err
		}
	}
	for _, dc := range next.Whitelist() {
		if err := want(dc, "a whitelisted user"); err != nil {
			return err
		}
	}
	return nil
}
