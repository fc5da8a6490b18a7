package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/bucketmap/yaml"
	"drover/migrator/internal/database"
	"drover/migrator/internal/move"
	"drover/migrator/internal/setup"
)

// initFlags are the flags of migrator init as they were given.
type initFlags struct {
	buckets        uint32
	shards, homes  []string
	even           []string
	source, target string
	pinned         string
	from           string
}

// initResult is what migrator init prints as JSON.
type initResult struct {
	Version bucketmap.Version `json:"version"`
	Buckets uint32            `json:"buckets"`
	Shards  []initShard       `json:"shards"`
	// Published is false when the store had this map already.
	Published bool `json:"published"`
	DryRun    bool `json:"dry_run,omitempty"`
}

type initShard struct {
	Shard      bucketmap.ShardName  `json:"shard"`
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Server     string               `json:"server"`
	Buckets    string               `json:"buckets"` // ranges; empty for none
	Tables     []string             `json:"tables"`
}

func (a *app) initCommand() *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the first map, and Drover's tables on every shard",
		Long: `Make the first map, and Drover's tables on every shard.

The databases come first and the map last, so that a map in force always has
its fence. A run that failed may be run again: it completes what is missing.
What exists and differs from what is asked for is refused, never changed.`,
		Example: `  migrator init --buckets 1024 --shard alpha=legacy --shard gamma=cloud \
    --home alpha=0-1023 --source legacy --target cloud
  migrator init --from map.yaml`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.open(); err != nil {
				return err
			}
			return a.initialize(cmd.Context(), f)
		},
	}
	flags := c.Flags()
	flags.Uint32Var(&f.buckets, "buckets", 0, fmt.Sprintf("the bucket count, 1 to %d; it never changes", bucketmap.BucketsMax))
	flags.StringArrayVar(&f.shards, "shard", nil, "NAME=DATACENTER: a shard, and where its primary is now (repeat)")
	flags.StringArrayVar(&f.homes, "home", nil, "SHARD=RANGES: the buckets that live on a shard, such as alpha=0-511,600 (repeat)")
	flags.StringSliceVar(&f.even, "even", nil, "SHARD,SHARD: spread all buckets evenly over these shards")
	flags.StringVar(&f.source, "source", "", "the datacenter that users leave: the default until more than half of them have left")
	flags.StringVar(&f.target, "target", "", "the datacenter that users go to: the default from then on")
	flags.StringVar(&f.pinned, "default", "", "a pinned default, in the place of --source and --target")
	flags.StringVar(&f.from, "from", "", "a map in a file, in the place of all the flags above")
	return a.canDryRun(c)
}

// initialize does the databases first and publishes last.
func (a *app) initialize(ctx context.Context, f initFlags) error {
	draft, err := a.firstMap(f)
	if err != nil {
		return err
	}
	draft.ResolveDefault(a.weights)
	snap, err := draft.Snapshot()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err := a.publisher().Check(nil, snap); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	servers, err := a.initServers(snap)
	if err != nil {
		return err
	}
	current, err := a.store.Load(ctx)
	switch {
	case errors.Is(err, bucketmap.ErrNoMap):
	case err != nil:
		return err
	default:
		if d := bucketmap.Diff(current, snap); !d.Empty() {
			return fmt.Errorf("%w: the store has a map, version %d, and it differs; nothing was changed. "+
				"To change it run migrator map push. The differences:\n%s", errRefused, current.Version(), strings.TrimSuffix(d.String(), "\n"))
		}
	}
	if err := onServers(ctx, servers, func(ctx context.Context, s *database.Server) error {
		return setup.Examine(ctx, s, snap)
	}); err != nil {
		if errors.Is(err, setup.ErrReplica) || errors.Is(err, setup.ErrRows) {
			return fmt.Errorf("%w: nothing was changed: %w", errRefused, err)
		}
		return err
	}
	result := initResult{Version: snap.Version(), Buckets: snap.Buckets(), DryRun: a.dryRun}
	if current != nil {
		result.Version = current.Version()
	}
	for _, s := range servers {
		result.Shards = append(result.Shards, initShard{Shard: s.Shard, Datacenter: s.Datacenter, Server: s.Addr,
			Buckets: bucketsOf(snap, s.Shard).String(), Tables: setup.Tables()})
	}
	if a.dryRun {
		result.Published = current == nil
		return a.printInit(result, snap)
	}
	if err := onServers(ctx, servers, func(ctx context.Context, s *database.Server) error {
		return setup.Prepare(ctx, s, snap)
	}); err != nil {
		return fmt.Errorf("the map was not published; run migrator init again once this is put right: %w", err)
	}
	if current == nil {
		err := a.publisher().Replace(ctx, nil, snap, a.reason("migrator init"))
		if err != nil {
			return fmt.Errorf("the shards are ready; run migrator init again, which says whether the map is published: %w", err)
		}
		result.Published = true
	}
	return a.printInit(result, snap)
}

// reason is --why, or what the command did when nothing was given.
func (a *app) reason(otherwise string) string {
	if a.why != "" {
		return a.why
	}
	return otherwise
}

func (a *app) printInit(r initResult, snap *bucketmap.Snapshot) error {
	if a.json() {
		return a.printJSON(r)
	}
	if r.DryRun {
		text, err := yaml.Encode(snap)
		if err != nil {
			return err
		}
		a.printf("nothing was changed; this would be done:\n\n")
		for _, s := range r.Shards {
			a.printf("on %s@%s (%s): create tables %s where they are not there; activate buckets %s\n",
				s.Shard, s.Datacenter, s.Server, strings.Join(s.Tables, ", "), orNone(s.Buckets))
		}
		if r.Published {
			a.printf("then publish this map:\n\n%s", text)
		} else {
			a.printf("the map is in force already, version %d\n", r.Version)
		}
		return nil
	}
	for _, s := range r.Shards {
		a.printf("%s@%s (%s): ready, buckets %s\n", s.Shard, s.Datacenter, s.Server, orNone(s.Buckets))
	}
	if r.Published {
		a.printf("map version %d is published\n", r.Version)
	} else {
		a.printf("the map was in force already, version %d\n", r.Version)
	}
	return nil
}

func orNone(ranges string) string {
	if ranges == "" {
		return "none"
	}
	return ranges
}

func bucketsOf(snap *bucketmap.Snapshot, shard bucketmap.ShardName) move.Buckets {
	var buckets move.Buckets
	for run := range snap.Runs() {
		for b := run.First; run.Shard == shard && b <= run.Last; b++ {
			buckets = append(buckets, b)
		}
	}
	return buckets
}

// firstMap builds the map that the flags describe.
func (a *app) firstMap(f initFlags) (*bucketmap.Draft, error) {
	if f.from != "" {
		if f.buckets != 0 || len(f.shards)+len(f.homes)+len(f.even) != 0 || f.source+f.target+f.pinned != "" {
			return nil, fmt.Errorf("%w: --from is the whole map: give no other flag that describes one", errUsage)
		}
		snap, err := readMapFile(f.from)
		if err != nil {
			return nil, err
		}
		if snap.Version() != 1 || len(snap.Holds()) != 0 {
			return nil, fmt.Errorf("%w: %s: a first map has version 1 and no holds", errUsage, f.from)
		}
		draft := snap.Edit()
		draft.Version = 1
		return draft, nil
	}
	if f.buckets == 0 || len(f.shards) == 0 {
		return nil, fmt.Errorf("%w: give --buckets and one --shard or more, or --from", errUsage)
	}
	if (len(f.homes) != 0) == (len(f.even) != 0) {
		return nil, fmt.Errorf("%w: give --home or --even, one of the two", errUsage)
	}
	if (f.pinned != "") == (f.source != "" || f.target != "") || (f.source == "") != (f.target == "") {
		return nil, fmt.Errorf("%w: give --source and --target, or --default", errUsage)
	}
	draft := bucketmap.NewDraft(f.buckets)
	if f.buckets > bucketmap.BucketsMax {
		return nil, fmt.Errorf("%w: --buckets %d: want 1 to %d", errUsage, f.buckets, bucketmap.BucketsMax)
	}
	if err := a.putShards(draft, f.shards); err != nil {
		return nil, err
	}
	if f.pinned != "" {
		draft.Default = bucketmap.Default{Datacenter: bucketmap.Datacenter(f.pinned)}
	} else {
		draft.Default = bucketmap.Default{Auto: true, Datacenter: bucketmap.Datacenter(f.source),
			Source: bucketmap.Datacenter(f.source), Target: bucketmap.Datacenter(f.target)}
	}
	for _, dc := range []string{f.pinned, f.source, f.target} {
		if dc := bucketmap.Datacenter(dc); dc != "" && !slices.Contains(draft.Datacenters, dc) {
			draft.Datacenters = append(draft.Datacenters, dc)
		}
	}
	if len(f.even) != 0 {
		return draft, spreadEvenly(draft, f.even)
	}
	return draft, putHomes(draft, f.homes)
}

// putShards adds the shards, and every datacenter in which the shard list has
// a server for one of them: a promotion may take it there.
func (a *app) putShards(draft *bucketmap.Draft, flags []string) error {
	for _, text := range flags {
		name, dc, ok := strings.Cut(text, "=")
		if !ok || name == "" || dc == "" {
			return fmt.Errorf("%w: --shard %q: want NAME=DATACENTER", errUsage, text)
		}
		if _, twice := draft.Shard(bucketmap.ShardName(name)); twice {
			return fmt.Errorf("%w: --shard %s is there twice", errUsage, name)
		}
		if err := draft.PutShard(bucketmap.Shard{Name: bucketmap.ShardName(name), Datacenter: bucketmap.Datacenter(dc)}); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		for _, other := range slices.Sorted(maps.Keys(a.shards.List().Shards[bucketmap.ShardName(name)])) {
			if !slices.Contains(draft.Datacenters, other) {
				draft.Datacenters = append(draft.Datacenters, other)
			}
		}
	}
	return nil
}

func putHomes(draft *bucketmap.Draft, flags []string) error {
	for _, text := range flags {
		shard, ranges, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("%w: --home %q: want SHARD=RANGES", errUsage, text)
		}
		buckets, err := move.ParseBuckets(ranges, draft.Buckets)
		if err != nil {
			return fmt.Errorf("%w: --home %s: %w", errUsage, text, err)
		}
		for _, b := range buckets {
			if home, taken := draft.Home(b); taken {
				return fmt.Errorf("%w: --home %s: bucket %d is on %s already", errUsage, text, b, home.Name)
			}
			if err := draft.SetHome(b, b, bucketmap.ShardName(shard)); err != nil {
				return fmt.Errorf("%w: --home %s: %w", errUsage, text, err)
			}
		}
	}
	return nil
}

// spreadEvenly gives each shard one run of buckets; the runs' lengths differ by
// one at most.
func spreadEvenly(draft *bucketmap.Draft, names []string) error {
	n := uint64(len(names))
	if n > uint64(draft.Buckets) {
		return fmt.Errorf("%w: --even: %d shards for %d buckets", errUsage, n, draft.Buckets)
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("%w: --even: %s is there twice", errUsage, name)
		}
		first := uint64(i) * uint64(draft.Buckets) / n
		last := (uint64(i)+1)*uint64(draft.Buckets)/n - 1
		if err := draft.SetHome(bucketmap.BucketID(first), bucketmap.BucketID(last), bucketmap.ShardName(name)); err != nil {
			return fmt.Errorf("%w: --even: %w", errUsage, err)
		}
	}
	return nil
}

// initServers finds the primary of every shard of a map that is not in force
// yet.
func (a *app) initServers(snap *bucketmap.Snapshot) ([]*database.Server, error) {
	var servers []*database.Server
	for _, shard := range snap.Shards() {
		server, err := a.shards.In(shard.Name, shard.Datacenter)
		if err != nil {
			return nil, fmt.Errorf("%w: %w; it is in %s", errUsage, err, a.cfg.Shards)
		}
		servers = append(servers, server)
	}
	return servers, nil
}

// serversAtOnce bounds the servers that are worked on side by side.
const serversAtOnce = 16

// onServers calls f for every server, and returns every error.
func onServers(ctx context.Context, servers []*database.Server, f func(context.Context, *database.Server) error) error {
	var g errgroup.Group
	g.SetLimit(serversAtOnce)
	errs := make([]error, len(servers))
	for i, server := range servers {
		g.Go(func() error {
			errs[i] = f(ctx, server)
			return nil // the others go on: their errors are wanted too
		})
	}
	_ = g.Wait()
	return errors.Join(errs...)
}
