package preflight

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// Servers finds the server of a shard in a datacenter.
type Servers interface {
	In(shard bucketmap.ShardName, dc bucketmap.Datacenter) (*database.Server, error)
}

// The checks of Homes.
const (
	HomeActive  = "home-active"
	HomeEpoch   = "home-epoch"
	ShardActive = "shard-active"
)

// Homes checks what a map would change against the fence: the map follows the
// databases. Every bucket that gets another home or epoch must be active there
// with that epoch, and every shard that gets another datacenter must be active
// on its server there. from may be nil.
func Homes(ctx context.Context, servers Servers, from, to *bucketmap.Snapshot) ([]Result, error) {
	changed := map[bucketmap.ShardName][]bucketmap.BucketID{} // by the new home
	diff := bucketmap.Diff(from, to)
	add := func(first, last bucketmap.BucketID) {
		for b := first; b <= last; b++ {
			if home, ok := to.Home(b); ok {
				changed[home.Name] = append(changed[home.Name], b)
			}
		}
	}
	for _, c := range diff.Homes {
		add(c.First, c.Last)
	}
	for _, c := range diff.Epochs {
		add(c.First, c.Last)
	}
	for _, c := range diff.Shards {
		if _, there := changed[c.Name]; !there && c.To != "" && c.From != "" {
			changed[c.Name] = nil
		}
	}
	var f findings
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(serversAtOnce)
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		shard, _ := to.Shard(name)
		server, err := servers.In(name, shard.Datacenter)
		if err != nil {
			server = &database.Server{Shard: name, Datacenter: shard.Datacenter}
			f.check(server, ServerReachable, refuse("add the server to the shard list", "%s", err))
			continue
		}
		g.Go(func() error { return f.homes(ctx, server, to, changed[name]) })
	}
	err := g.Wait()
	return f.sorted(), err
}

func (f *findings) homes(ctx context.Context, server *database.Server, to *bucketmap.Snapshot, buckets []bucketmap.BucketID) error {
	var id uint32
	err := server.DB.QueryRowContext(ctx, "SELECT @@global.server_id").Scan(&id)
	var own, rows []fence.Row
	if err == nil {
		own, err = fence.Rows(ctx, server.DB, nil)
	}
	if err == nil && len(buckets) != 0 {
		rows, err = fence.Rows(ctx, server.DB, buckets)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.check(server, ServerReachable, refuse("make the server answer, and run migrator init where it has no fence yet",
			"the fence's rows cannot be read: %s", err))
		return nil
	}
	f.check(server, ServerReachable)
	shard, _ := to.Shard(server.Shard)
	f.check(server, ShardActive, shardRow(own, id, shard.Epoch)...)

	byBucket := make(map[bucketmap.BucketID]fence.Row, len(rows))
	for _, r := range rows {
		byBucket[bucketmap.BucketID(r.Bucket)] = r
	}
	states, epochs := map[string][]bucketmap.BucketID{}, []bucketmap.BucketID(nil)
	for _, b := range buckets {
		switch r, ok := byBucket[b]; {
		case !ok:
			states["not in the fence"] = append(states["not in the fence"], b)
		case r.State != fence.Active:
			states[string(r.State)] = append(states[string(r.State)], b)
		case r.Epoch != to.Epoch(b):
			epochs = append(epochs, b)
		}
	}
	var found []finding
	for _, state := range slices.Sorted(maps.Keys(states)) {
		found = append(found, refuse("move them there with migrator bucket move; the map follows",
			"the map would have %s here, and they are %s here", rangesOf(states[state]), state))
	}
	f.check(server, HomeActive, found...)
	found = nil
	if len(epochs) != 0 {
		b := epochs[0]
		found = append(found, refuse("give each bucket the epoch that the fence has",
			"the epoch of %s is another one in the fence: that of bucket %d is %d there and %d in the map",
			rangesOf(epochs), b, byBucket[b].Epoch, to.Epoch(b)))
	}
	f.check(server, HomeEpoch, found...)
	return nil
}

// shardRow says what is wrong with the shard's own row on its primary.
func shardRow(rows []fence.Row, serverID uint32, epoch bucketmap.Epoch) []finding {
	if len(rows) != 1 {
		return []finding{refuse("run migrator init", "the fence has no row for the shard: it refuses every write")}
	}
	r := rows[0]
	held := ""
	if r.Token.Move != "" {
		held = fmt.Sprintf(" (%s has it)", r.Token.Move)
	}
	switch {
	case r.State != fence.Active:
		return []finding{refuse("run migrator status, then migrator resume or migrator abort",
			"the row of the shard is %s%s: it refuses every write", r.State, held)}
	case r.ServerID != serverID:
		return []finding{refuse("name in the map the datacenter where the primary is, or put the server_id right",
			"the row of the shard is active for the server with server_id %d, and this one has %d", r.ServerID, serverID)}
	case r.Epoch != epoch:
		return []finding{refuse("give the shard in the map the epoch that the fence has",
			"the shard has epoch %d in the fence and %d in the map", r.Epoch, epoch)}
	case held != "":
		return []finding{refuse("wait for it, or run migrator resume or migrator abort",
			"a promotion of the shard is under way%s", held)}
	}
	return nil
}
