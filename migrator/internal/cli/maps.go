package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/bucketmap/yaml"
)

func (a *app) mapCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "map",
		Short: "Show, compare, check and publish the map, and see who runs it",
		Long: `Show, compare, check and publish the map, and see who runs it.

A map is checked before it is published, by every command: it must be valid, fit
the databases, and send no more of the users to another datacenter than
map.max_change of the configuration says. Proxies check it again.`,
	}
	c.AddCommand(a.mapShow(), a.mapDiff(), a.mapPush(), a.mapRollback(), a.mapHistory(), a.mapStatus(),
		a.mapExplain(), a.mapVerify(), a.mapExport(), a.mapKeygen())
	return c
}

func (a *app) mapShow() *cobra.Command {
	var version uint64
	c := &cobra.Command{
		Use:   "show",
		Short: "Print the map in force, or one of the history",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.open(); err != nil {
				return err
			}
			snap, err := a.mapAt(cmd.Context(), bucketmap.Version(version))
			if err != nil {
				return err
			}
			encode := yaml.Encode
			if a.json() {
				encode = yaml.EncodeJSON
			}
			text, err := encode(snap)
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		},
	}
	c.Flags().Uint64Var(&version, "version", 0, "a version of the history; the map in force when not given")
	return c
}

// mapAt returns a version of the map; 0 is the one in force.
func (a *app) mapAt(ctx context.Context, version bucketmap.Version) (*bucketmap.Snapshot, error) {
	if version == 0 {
		return a.store.Load(ctx)
	}
	snap, err := a.store.At(ctx, version)
	if errors.Is(err, bucketmap.ErrNoMap) {
		return nil, fmt.Errorf("%w: %w; migrator map history lists the versions", errUsage, err)
	}
	return snap, err
}

// mapNamed returns the map that an argument names: a version, or a file.
func (a *app) mapNamed(cmd *cobra.Command, name string) (*bucketmap.Snapshot, error) {
	if version, err := strconv.ParseUint(name, 10, 64); err == nil && version != 0 {
		return a.mapAt(cmd.Context(), bucketmap.Version(version))
	}
	if name != stdin {
		return readMapFile(name)
	}
	text, err := readMapText(cmd, name)
	if err != nil {
		return nil, err
	}
	return decodeMap(name, text)
}

func (a *app) mapDiff() *cobra.Command {
	return &cobra.Command{
		Use:   "diff [FROM] [TO|FILE]",
		Short: "Show what changes from one map to another",
		Long: `Show what changes from one map to another.

Without arguments: from the version before to the one in force. With a version:
from it to the one in force. With a file: from the one in force to the file.
With two: from the first to the second. A file is YAML, JSON or binary, - is
standard input, and a file whose name is a number is ./12.`,
		Example: `  migrator map diff
  migrator map diff 11 12
  migrator map diff next.yaml`,
		Args: usageArgs(cobra.MaximumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.open(); err != nil {
				return err
			}
			from, to, err := a.mapPair(cmd, args)
			if err != nil {
				return err
			}
			return a.printDiff(bucketmap.Diff(from, to))
		},
	}
}

// mapPair finds the two maps that the arguments of map diff name. from is nil
// before the first map.
func (a *app) mapPair(cmd *cobra.Command, args []string) (from, to *bucketmap.Snapshot, err error) {
	ctx := cmd.Context()
	if len(args) == 2 {
		if from, err = a.mapNamed(cmd, args[0]); err != nil {
			return nil, nil, err
		}
		to, err = a.mapNamed(cmd, args[1])
		return from, to, err
	}
	current, err := a.store.Load(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(args) == 0 {
		if current.Version() > 1 {
			from, err = a.mapAt(ctx, current.Version()-1)
		}
		return from, current, err
	}
	named, err := a.mapNamed(cmd, args[0])
	if err != nil {
		return nil, nil, err
	}
	if _, err := strconv.ParseUint(args[0], 10, 64); err == nil {
		return named, current, nil
	}
	return current, named, nil
}

func (a *app) printDiff(d *bucketmap.Difference) error {
	if a.json() {
		return a.printJSON(d)
	}
	a.printf("from version %d to %d:\n", d.FromVersion, d.ToVersion)
	if d.Empty() {
		a.printf("no difference\n")
		return nil
	}
	a.printf("%s", d)
	return nil
}
