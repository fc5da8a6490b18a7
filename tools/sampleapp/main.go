// Command sampleapp is a fitness service in small, for the demo and the tests:
// it counts users' steps in a sharded database, and runs in every datacenter at
// once.
//
// It is configured with one YAML file or with flags, follows the map, and ends
// on SIGTERM after the requests under way. Errors go to standard error.
//
//	sampleapp --config sampleapp.yaml
//	sampleapp schema --buckets 4096 | mariadb app
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/internal/cli"
	"drover/internal/config"
	"drover/internal/logging"
	"drover/shardlib"
	"drover/tools/sampleapp/internal/fitness"
	"drover/tools/sampleapp/internal/unfenced"
	"drover/tools/sampleapp/schema"
)

func main() { os.Exit(cli.Run("sampleapp", command(os.Stdout, os.Stderr))) }

func command(stdout, stderr io.Writer) *cobra.Command {
	path, flags := "", defaults()
	root := &cobra.Command{
		Use:           "sampleapp",
		Short:         "A fitness service in small: it counts users' steps in a sharded database",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := merge(cmd, path, flags)
			if err != nil {
				return err
			}
			log, err := logging.New(stderr, c.LogLevel, logging.FormatJSON)
			if err != nil {
				return err
			}
			var lc net.ListenConfig
			listener, err := lc.Listen(cmd.Context(), "tcp", c.Listen)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), c, listener, log)
		},
	}
	root.Flags().StringVar(&path, "config", "", "YAML file; a flag overrides its key")
	for name, f := range settings(&flags) {
		root.Flags().StringVar(f.value, name, *f.value, f.usage)
	}
	var buckets uint32
	print := &cobra.Command{
		Use:   "schema",
		Short: "Print the SQL of the tables",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if buckets < 1 || buckets > bucketmap.BucketsMax {
				return fmt.Errorf("--buckets %d: want 1 to %d", buckets, bucketmap.BucketsMax)
			}
			for _, statement := range schema.Statements(buckets) {
				fmt.Fprintf(stdout, "%s;\n\n", statement)
			}
			return nil
		},
	}
	print.Flags().Uint32Var(&buckets, "buckets", 0, "bucket count of the map")
	root.AddCommand(print)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root
}

type setting struct {
	value *string
	usage string
}

// settings are the keys that have a flag.
func settings(c *Configuration) map[string]setting {
	return map[string]setting{
		"listen":     {&c.Listen, "host:port"},
		"datacenter": {&c.Datacenter, "the own datacenter"},
		"instance":   {&c.Instance, "name that answers carry"},
		"map-dir":    {&c.MapDir, "folder of the map's file store"},
		"shards":     {&c.Shards, "path of the shard list"},
		"user":       {&c.Account.User, "database account"},
		"password":   {&c.Account.Password, "its password; better in the file"},
		"fence":      {&c.Fence, "library, trigger, or off to lose writes in a demonstration"},
		"log-level":  {&c.LogLevel, "debug, info, warn or error"},
	}
}

// merge is defaults, then the file, then the flags that were given.
func merge(cmd *cobra.Command, path string, flags Configuration) (Configuration, error) {
	c := defaults()
	if path != "" {
		if err := config.Load(path, &c); err != nil {
			return c, err
		}
	}
	given := settings(&flags)
	for name, s := range settings(&c) {
		if cmd.Flags().Changed(name) {
			*s.value = *given[name].value
		}
	}
	return c, c.validate()
}

// firstMapWait bounds the wait for a map at the start.
const firstMapWait = 30 * time.Second

// serve runs until ctx ends, and then until the requests under way have ended.
func serve(ctx context.Context, c Configuration, listener net.Listener, log *zap.Logger) (err error) {
	defer func() { _ = listener.Close() }() // again after the server did, which is no harm
	shards, err := shardlib.LoadShardList(c.Shards)
	if err != nil {
		return err
	}
	store, err := file.Open(c.MapDir, file.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	registry := prometheus.NewRegistry()
	account := shardlib.Account{User: c.Account.User, Password: c.Account.Password}
	opening, cancel := context.WithTimeout(ctx, firstMapWait)
	defer cancel()
	library, err := shardlib.Open(opening, shardlib.Config{
		Source:     store,
		Shards:     shards,
		Datacenter: bucketmap.Datacenter(c.Datacenter),
		Account:    account,
		Retries:    c.Retries,
		Log:        log,
		Registerer: registry,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, library.Close()) }()

	server := &fitness.Server{
		Library: library,
		Store:   fitness.Fenced{Library: library},
		Place:   fitness.Place{Instance: c.Instance, Datacenter: bucketmap.Datacenter(c.Datacenter)},
		MapWait: c.MapWait,
	}
	if c.Fence != fenceLibrary {
		plain := unfenced.New(library, shards, account)
		defer func() { err = errors.Join(err, plain.Close()) }()
		server.Store = plain
		if c.Fence == fenceOff {
			log.Warn("the fence is off: a move loses writes")
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/", server.Handler())
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return answer(ctx, c, listener, mux, log)
}

func answer(ctx context.Context, c Configuration, listener net.Listener, handler http.Handler, log *zap.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	log.Info("listening", zap.String("address", listener.Addr().String()), zap.String("instance", c.Instance),
		zap.String("datacenter", c.Datacenter), zap.String("fence", c.Fence))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	log.Info("draining")
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.DrainWait)
	defer cancel()
	err := server.Shutdown(draining)
	if err != nil {
		err = errors.Join(fmt.Errorf("drain: %w", err), server.Close())
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
