package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"drover/internal/cli"
	"drover/tools/moves/internal/field"
)

func main() { os.Exit(cli.Run("", command(os.Stdout))) }

// options are those of a ledger run.
type options struct {
	moves    int // changes of home, returns included
	writers  int
	pause    time.Duration // of a writer between two requests
	buckets  uint32
	at       int // moves at a time
	group    int // buckets of one move, at most
	rtt      time.Duration
	lasting  time.Duration // no move begins after this; 0 is no bound
	seed     uint64
	sabotage field.Sabotage
}

func defaults() options {
	return options{moves: 1000, writers: 16, pause: 40 * time.Millisecond, buckets: 64, at: 2, group: 4, seed: uint64(time.Now().UnixNano())}
}

// errRed is returned when the run found what must never be.
var errRed = errors.New("RED")

func command(out io.Writer) *cobra.Command {
	root := &cobra.Command{Use: "moves", Short: "Prove that a bucket moves under fire and nothing is lost", SilenceUsage: true, SilenceErrors: true}
	o := defaults()
	var sabotage string
	c := &cobra.Command{
		Use: "ledger", Short: "Move buckets to and fro under load, and compare a book of every request with the rows", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.sabotage = field.Sabotage(sabotage)
			if err := o.validate(); err != nil {
				return err
			}
			result, err := ledger(cmd.Context(), o, func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) })
			if err != nil {
				return err
			}
			return result.print(out)
		},
	}
	flags := c.Flags()
	flags.IntVar(&o.moves, "moves", o.moves, "how many times buckets change their home, returns included")
	flags.IntVar(&o.writers, "writers", o.writers, "how many clients write")
	flags.DurationVar(&o.pause, "pause", o.pause, "how long a client waits between two requests; 0 takes all that the machine has")
	flags.Uint32Var(&o.buckets, "buckets", o.buckets, "buckets of the map")
	flags.IntVar(&o.at, "at-once", o.at, "moves at a time")
	flags.IntVar(&o.group, "group", o.group, "buckets of one move, at most")
	flags.DurationVar(&o.rtt, "rtt", o.rtt, "the round trip between the datacenters")
	flags.DurationVar(&o.lasting, "for", o.lasting, "begin no move after this long; 0 is no bound")
	flags.Uint64Var(&o.seed, "seed", o.seed, "what is moved when; a run prints its own")
	flags.StringVar(&sabotage, "sabotage", "", "break a rule, to see it found: fence, freeze or activate")
	root.AddCommand(c)
	return root
}

func (o options) validate() error {
	switch {
	case o.moves < 1 || o.moves > 1_000_000:
		return fmt.Errorf("--moves %d: want 1 to 1000000", o.moves)
	case o.writers < 1 || o.writers > 64:
		return fmt.Errorf("--writers %d: want 1 to 64", o.writers)
	case o.pause < 0 || o.pause > time.Second:
		return fmt.Errorf("--pause %s: want 0 to 1s", o.pause)
	case o.buckets < 2 || o.buckets > 4096:
		return fmt.Errorf("--buckets %d: want 2 to 4096", o.buckets)
	case o.at < 1 || o.at > 16 || o.at > int(o.buckets):
		return fmt.Errorf("--at-once %d: want 1 to 16, and no more than buckets", o.at)
	case o.group < 1 || o.group > 256:
		return fmt.Errorf("--group %d: want 1 to 256", o.group)
	case o.lasting < 0:
		return fmt.Errorf("--for %s: want 0 or more", o.lasting)
	case o.rtt < 0 || o.rtt > time.Second:
		return fmt.Errorf("--rtt %s: want 0 to 1s", o.rtt)
	case o.sabotage != field.None && !slices.Contains(field.Sabotages(), o.sabotage):
		return fmt.Errorf("--sabotage %q: want one of %q", o.sabotage, field.Sabotages())
	}
	return nil
}
