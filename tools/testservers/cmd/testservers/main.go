// Command testservers installs and runs MariaDB and memcached on loopback.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"drover/internal/cli"
	"drover/tools/testservers"
)

func main() { os.Exit(cli.Run("testservers", command(os.Stdout, os.Stderr))) }

// command is the whole program. What a script reads goes to out, the rest to
// messages.
func command(out, messages io.Writer) *cobra.Command {
	log := func(format string, args ...any) { fmt.Fprintf(messages, format+"\n", args...) }
	root := &cobra.Command{
		Use:           "testservers",
		Short:         "Installs and runs MariaDB and memcached on loopback, for tests and demos",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(installCommand(log), runCommand(log), sweepCommand())
	root.SetOut(out)
	root.SetErr(messages)
	return root
}

func installCommand(log func(string, ...any)) *cobra.Command {
	return &cobra.Command{
		Use:   "install",
		Short: "Find or install the servers, Consul too, and prepare a template of their data, ahead of the first use",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return testservers.Install(command.Context(), log)
		},
	}
}

func sweepCommand() *cobra.Command {
	var kept bool
	command := &cobra.Command{
		Use:   "sweep",
		Short: "End and remove the servers of programs that are dead",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			swept, err := testservers.Sweep(command.Context(), kept)
			for _, dir := range swept {
				fmt.Fprintln(command.OutOrStdout(), dir)
			}
			return err
		},
	}
	command.Flags().BoolVar(&kept, "kept", false, "remove folders too that were to be kept")
	return command
}

// serversMax bounds --mariadb and --memcached: 100 × 64 MiB of buffer pool.
const serversMax = 100

type runOptions struct {
	mariadb, memcached int
	replicate, keep    bool
}

func runCommand(log func(string, ...any)) *cobra.Command {
	var opts runOptions
	command := &cobra.Command{
		Use:   "run",
		Short: "Run servers until interrupted, and print where they are",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return runServers(command.Context(), opts, log, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.IntVar(&opts.mariadb, "mariadb", 1, "how many MariaDB servers")
	flags.IntVar(&opts.memcached, "memcached", 0, "how many memcached servers")
	flags.BoolVar(&opts.replicate, "replicate", false, "make all MariaDB servers but the first replicas of it")
	flags.BoolVar(&opts.keep, "keep", false, "leave the data folders behind")
	return command
}

func runServers(ctx context.Context, opts runOptions, log func(string, ...any), out io.Writer) (err error) {
	for flag, count := range map[string]int{"mariadb": opts.mariadb, "memcached": opts.memcached} {
		if count < 0 || count > serversMax {
			return fmt.Errorf("--%s is %d: want 0 to %d", flag, count, serversMax)
		}
	}
	fleet, err := testservers.New(ctx, testservers.Options{Log: log, Keep: opts.keep})
	if err != nil {
		return err
	}
	defer func() {
		if failure := fleet.Close(); err == nil {
			err = failure
		}
	}()

	databases, err := fleet.MariaDBs(ctx, names("mariadb", opts.mariadb)...)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "folder\t%s\n", fleet.Dir())
	for i, database := range databases {
		if opts.replicate && i > 0 {
			if err := database.ReplicateFrom(ctx, databases[0]); err != nil {
				return err
			}
		}
		fmt.Fprintf(table, "%s\t%s\n", database.Name(), database.Addr())
		for _, account := range []string{testservers.AccountRoot, testservers.AccountApp, testservers.AccountDrover} {
			fmt.Fprintf(table, "%s %s\t%s\n", database.Name(), account, database.DSN(account, ""))
		}
	}
	for _, name := range names("memcached", opts.memcached) {
		cache, err := fleet.Memcached(ctx, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%s\n", cache.Name(), cache.Addr())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	log("running; interrupt to end")
	<-ctx.Done()
	return nil
}

func names(prefix string, count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = prefix + strconv.Itoa(i+1)
	}
	return names
}
