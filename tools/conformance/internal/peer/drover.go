package peer

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"drover/bucketmap"
	"drover/bucketmap/file"
)

// buckets is the size of the map: one shard in one datacenter holds them all.
const buckets = 16

// IdentityHeader is where the peers that know users find their id.
const IdentityHeader = "X-User-Id"

const datacenter bucketmap.Datacenter = "here"

func drover(ctx context.Context, binary, client, origin string, place Place) (program, error) {
	folder := filepath.Join(place.Dir, "map")
	if err := publish(ctx, folder); err != nil {
		return program{}, err
	}
	admin, err := freeAddress(ctx, place.Slot, client)
	if err != nil {
		return program{}, err
	}
	config := filepath.Join(place.Dir, "proxy.yaml")
	err = os.WriteFile(config, fmt.Appendf(nil, `listen: %q
admin: {listen: %q}
id: conformance
map: {dir: %q}
identity:
  - header: %s
trusted_peers: [127.0.0.0/8]
datacenters:
  %s:
    upstreams: [%q]
timeouts: {header: %v}
limits: {body: %d}
access_log: none
`, client, admin, folder, IdentityHeader, datacenter, origin, HeaderWait, BodyMax), 0o600)
	if err != nil {
		return program{}, err
	}
	ready := func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("not ready: %s", response.Status)
		}
		return nil
	}
	return program{args: []string{binary, "--config", config}, ready: ready}, nil
}

// publish writes a map into a folder, unless it is there.
func publish(ctx context.Context, folder string) error {
	store, err := file.Open(folder, file.Options{})
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // what was published is on the disk
	if _, err := store.Load(ctx); err == nil {
		return nil
	}
	draft := bucketmap.NewDraft(buckets)
	draft.Default = bucketmap.Default{Datacenter: datacenter}
	if err := draft.PutShard(bucketmap.Shard{Name: "shard", Datacenter: datacenter}); err != nil {
		return err
	}
	if err := draft.SetHome(0, buckets-1, "shard"); err != nil {
		return err
	}
	snapshot, err := draft.Snapshot()
	if err != nil {
		return err
	}
	return store.Publish(ctx, snapshot, bucketmap.Change{Who: "conformance", Why: "the suite's map"})
}
