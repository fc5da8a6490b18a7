package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/proxy/internal/config"
	"drover/proxy/internal/routing"
)

func checkCommand() *cobra.Command {
	var files bool
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Say everything that is wrong with a configuration, and with the files and the map that it names",
		Long: `Says everything that is wrong with a configuration and with the files that it
names, then asks the map's store for the map and says whether the edge would
take it. A store that cannot be reached is said, and is no failure: the edge
starts by its last good map. A map that the edge would refuse is one.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.Load(args[0])
			if err == nil && files {
				err = c.Check()
			}
			if err == nil && files {
				err = checkMap(cmd.Context(), c, cmd.OutOrStdout())
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "ok")
			return err
		},
	}
	cmd.Flags().BoolVar(&files, "files", true, "open the files that it names (certificates, authorities, key sets), and ask the store for the map, too")
	return cmd
}

// checkMap says what is in the store and in the cache. The error is why the edge
// would not take the store's map.
func checkMap(ctx context.Context, c *config.Config, out io.Writer) error {
	fmt.Fprintf(out, "store  %s\n", storeText(&c.Map))
	next, err := loadWithin(ctx, &c.Map)
	var refused *bucketmap.RefusedError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("map: the store has none that the edge would take: %w", err)
	case c.Map.Store == config.StorePush:
		fmt.Fprintln(out, "map    publishers bring it")
	case errors.Is(err, bucketmap.ErrNoMap):
		fmt.Fprintln(out, "map    none has been published yet")
	case err != nil:
		fmt.Fprintf(out, "map    the store cannot be read: %v\n", err)
	}
	known := map[bucketmap.Datacenter]bool{}
	for name := range c.Datacenters {
		known[bucketmap.Datacenter(name)] = true
	}
	guard := bucketmap.Guard{Reader: true, Datacenters: known, MaxChange: c.Map.MaxChange}
	kept := keptMap(c, guard, out)
	if next == nil {
		return nil
	}
	if kept != nil && kept.Version() == next.Version() && kept.Digest() == next.Digest() {
		kept = nil // the edge takes it as the one that it has
	}
	if err := guard.Check(kept, next); err != nil {
		return fmt.Errorf("map: the edge would not take the store's: %w", err)
	}
	fmt.Fprintf(out, "map    version %d, %d buckets, digest %s: the edge takes it\n", next.Version(), next.Buckets(), next.Digest())
	return nil
}

// keptMap says what is in the cache, and returns the map from which the edge
// would start.
func keptMap(c *config.Config, guard bucketmap.Guard, out io.Writer) *bucketmap.Snapshot {
	if c.Map.Cache == "" {
		fmt.Fprintln(out, "cache  none is kept: the edge cannot start without the store")
		return nil
	}
	kept, err := routing.ReadCache(c.Map.Cache)
	if err == nil && kept != nil {
		err = guard.Check(nil, kept)
	}
	switch {
	case err != nil:
		fmt.Fprintf(out, "cache  %s cannot be used, and is written anew: %v\n", c.Map.Cache, err)
		return nil
	case kept == nil:
		fmt.Fprintf(out, "cache  %s: no map is kept yet\n", c.Map.Cache)
	default:
		fmt.Fprintf(out, "cache  %s: version %d\n", c.Map.Cache, kept.Version())
	}
	return kept
}

func storeText(m *config.Map) string {
	var text strings.Builder
	switch m.Store {
	case config.StoreConsul:
		fmt.Fprintf(&text, "consul, %s, below %s", m.Consul.Address, m.Consul.Prefix)
	case config.StorePush:
		text.WriteString("push")
	default:
		fmt.Fprintf(&text, "file, %s", m.Dir)
	}
	if n := len(m.Keys); n != 0 {
		fmt.Fprintf(&text, ", signed by one of %d keys", n)
	}
	return text.String()
}
