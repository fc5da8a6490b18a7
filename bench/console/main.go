package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/tools/sources"
	"drover/tools/testservers"
)

const (
	shards       = 200
	movedEach    = 64 // buckets a version
	token        = "bench-0123456789abcdef"
	stopMax      = 10 * time.Second
	versionsMax  = 10_000 // × 1 MiB in the history
	secondsATurn = 8
)

type bench struct {
	buckets uint32
	rate    float64
	lasting time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "console:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var b bench
	c := &cobra.Command{
		Use: "console", Short: "Measure how soon and how smoothly the console shows the map", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	c.Flags().Uint32Var(&b.buckets, "buckets", bucketmap.BucketsMax, "of the map")
	c.Flags().Float64Var(&b.rate, "rate", 5, "versions a second")
	c.Flags().DurationVar(&b.lasting, "for", secondsATurn*time.Second, "how long each width is watched")
	return c
}

// figures are what measure.mjs prints, times in milliseconds.
type figures struct {
	FirstPaint, P50, P99, Longest, LongestTask, Megabytes float64
	Frames, LongTasks, Versions, Painted                  int
}

func (b bench) run(ctx context.Context, out io.Writer) (err error) {
	if b.buckets < shards || b.buckets > bucketmap.BucketsMax || !(b.rate > 0) || b.rate*b.lasting.Seconds()*4 > versionsMax {
		return fmt.Errorf("want --buckets of %d to %d, --rate above 0, and %d versions at most", shards, bucketmap.BucketsMax, versionsMax/4)
	}
	dir, err := os.MkdirTemp("", "drover-bench-console-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	browser, err := testservers.InstallBrowser(ctx, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	if err != nil {
		return err
	}
	root, err := sources.Root(ctx)
	if err != nil {
		return err
	}
	migrator, err := sources.Program(ctx, dir, "migrator")
	if err != nil {
		return err
	}
	store, err := file.Open(filepath.Join(dir, "map"), file.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := b.firstMap(ctx, store); err != nil {
		return err
	}
	url, stop, err := serve(ctx, dir, migrator)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, width := range []int{1280, 400} {
		f, err := b.turn(ctx, store, browser, filepath.Join(root, "bench", "console", "measure.mjs"), url, width)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d buckets, %d pixels wide: first picture after %.0f ms; %d versions in %s: frames p50 %.1f ms, p99 %.1f ms, longest %.1f ms; "+
			"%d tasks above 50 ms, the longest %.0f ms; heap %.0f MB\n",
			b.buckets, width, f.FirstPaint, f.Versions, b.lasting, f.P50, f.P99, f.Longest, f.LongTasks, f.LongestTask, f.Megabytes)
	}
	return nil
}

// turn watches one page while versions are published.
func (b bench) turn(ctx context.Context, store *file.Store, browser *testservers.Browser, script, url string, width int) (figures, error) {
	var f figures
	publishing, end := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return b.publish(publishing, store) })
	err := browser.Run(ctx, script, map[string]any{"url": url, "token": token, "milliseconds": b.lasting.Milliseconds(), "width": width}, &f)
	end()
	return f, errors.Join(err, g.Wait())
}

func shardName(i int) bucketmap.ShardName { return bucketmap.ShardName(fmt.Sprintf("shard-%03d", i)) }

func (b bench) firstMap(ctx context.Context, store *file.Store) error {
	random := rand.New(rand.NewPCG(1, 2))
	d := bucketmap.NewDraft(b.buckets)
	d.Version = 1
	d.Datacenters = []bucketmap.Datacenter{"cloud", "legacy"}
	d.Default = bucketmap.Default{Datacenter: "legacy", Auto: true, Source: "legacy", Target: "cloud"}
	for i := range shards {
		if err := d.PutShard(bucketmap.Shard{Name: shardName(i), Datacenter: d.Datacenters[i%2]}); err != nil {
			return err
		}
	}
	for bucket := range bucketmap.BucketID(b.buckets) {
		if err := d.SetHome(bucket, bucket, shardName(random.IntN(shards))); err != nil {
			return err
		}
	}
	snap, err := d.Snapshot()
	if err != nil {
		return err
	}
	return store.Publish(ctx, snap, bucketmap.Change{Who: "bench", Why: "the first map"})
}

// publish publishes versions until ctx ends, at the rate or as fast as it can.
func (b bench) publish(ctx context.Context, store *file.Store) error {
	random := rand.New(rand.NewPCG(3, 4))
	ticker := time.NewTicker(time.Duration(float64(time.Second) / b.rate))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		err := b.publishNext(ctx, store, random)
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// publishNext moves buckets anywhere. It applies a difference: to edit the whole
// map and to compare it again would take longer than the page does.
func (b bench) publishNext(ctx context.Context, store *file.Store, random *rand.Rand) error {
	current, err := store.Load(ctx)
	if err != nil {
		return err
	}
	d := &bucketmap.Difference{FromVersion: current.Version(), ToVersion: current.Version() + 1}
	buckets := map[bucketmap.BucketID]bool{}
	for len(buckets) < movedEach {
		buckets[bucketmap.BucketID(random.Uint32N(b.buckets))] = true
	}
	for _, bucket := range slices.Sorted(maps.Keys(buckets)) {
		from, _ := current.Home(bucket)
		to := from.Name
		for to == from.Name {
			to = shardName(random.IntN(shards))
		}
		d.Homes = append(d.Homes, bucketmap.HomeChange{First: bucket, Last: bucket, From: from.Name, To: to})
	}
	next, err := current.Apply(joined(d))
	if err != nil {
		return err
	}
	return store.Publish(ctx, next, bucketmap.Change{Who: "bench", Why: "64 more"})
}

// joined makes one change of neighbours that go the same way, as a difference has
// it.
func joined(d *bucketmap.Difference) *bucketmap.Difference {
	homes := d.Homes[:1]
	for _, h := range d.Homes[1:] {
		last := &homes[len(homes)-1]
		if last.Last+1 == h.First && last.From == h.From && last.To == h.To {
			last.Last = h.Last
			continue
		}
		homes = append(homes, h)
	}
	d.Homes = homes
	return d
}

// serve runs migrator serve, and returns where it is and how to end it.
func serve(ctx context.Context, dir, migrator string) (url string, stop func() error, err error) {
	var list []byte
	for i := range shards {
		list = fmt.Appendf(list, "  %s: {legacy: \"127.1.%d.1:1\", cloud: \"127.1.%d.2:1\"}\n", shardName(i), i, i) // nobody is there
	}
	for name, text := range map[string]string{
		"shards.yaml":   "database: app\nshards:\n" + string(list),
		"migrator.yaml": "map: {store: file, dir: map}\nshards: shards.yaml\naccount: {user: nobody}\ntables: [{name: t, user_column: id}]\n",
		"token":         token + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", nil, err
		}
	}
	c := exec.CommandContext(ctx, migrator, "serve", "--config", filepath.Join(dir, "migrator.yaml"), "--output", "json",
		"--listen", "127.0.0.1:0", "--token-file", filepath.Join(dir, "token"))
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = stopMax
	c.Stderr = os.Stderr
	said, err := c.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := c.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error {
		return errors.Join(c.Process.Signal(os.Interrupt), c.Wait())
	}
	var at struct{ URL string }
	if err := json.NewDecoder(bufio.NewReader(said)).Decode(&at); err != nil {
		return "", nil, errors.Join(fmt.Errorf("migrator serve said nothing: %w", err), stop())
	}
	return at.URL, stop, nil
}
