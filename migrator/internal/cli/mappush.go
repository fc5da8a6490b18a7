package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/move"
	"drover/migrator/internal/preflight"
	"drover/migrator/internal/publish"
)

// mapResult is what the commands that publish a map print as JSON.
type mapResult struct {
	Version    bucketmap.Version     `json:"version"`
	Digest     bucketmap.Digest      `json:"digest"`
	Difference *bucketmap.Difference `json:"difference"`
	Canary     *canaryResult         `json:"canary,omitempty"`
	DryRun     bool                  `json:"dry_run,omitempty"`
}

// pushFlags are the flags that push and rollback share.
type pushFlags struct {
	force  bool
	wait   time.Duration
	canary canaryFlags
}

func (a *app) canPush(c *cobra.Command, f *pushFlags) *cobra.Command {
	flags := c.Flags()
	flags.BoolVar(&f.force, "force-homes", false, "publish though the databases say otherwise: users of such buckets will be refused")
	flags.BoolVar(&f.force, "force", false, "the same as --force-homes")
	_ = flags.MarkHidden("force") // fails only for a flag that does not exist
	a.canWait(c, &f.wait)
	f.canary.add(flags)
	return a.canAllow(a.canDryRun(c))
}

func (a *app) mapPush() *cobra.Command {
	var f pushFlags
	return a.canPush(&cobra.Command{
		Use:     "push FILE",
		Aliases: []string{"publish"},
		Short:   "Publish a map that was edited by hand",
		Long: `Publish a map that was edited by hand: YAML or JSON as migrator map show prints
it, or binary as migrator map export writes it. - is standard input.

The file is the map that will be in force: its version must be one higher than
that of the map in force, or missing, or 0. A file that has its version never
overwrites somebody else's that you have not seen. The default that follows the
users is worked out anew, and so is the count of buckets moved.

The map follows the databases: a map that gives a bucket a home where it is not
active, or an epoch that it does not have, or takes its home away, is refused.
To change a home run migrator bucket move.

With --canary one proxy runs the map first: it is sent to the admin address URL,
and after it has acknowledged, its errors (answers of 5xx, broken off answers,
421 to the end) are watched for --canary-for. Their share of the requests may
rise by --canary-errors. Then the same version is published for all. If the
canary refuses it, nothing is published. If its errors rise, nobody else gets
the map, and the canary gets the content of the map in force back: as versions
never go back, that is published to all as new versions, up to one above the
canary's. Until it is over, moves that hold buckets step back.`,
		Example: `  migrator map show >next.yaml; $EDITOR next.yaml
  migrator map push next.yaml --dry-run
  migrator map push next.yaml --wait 10s --why "employees of the Berlin office"
  migrator map push next.yaml --canary http://10.0.0.1:9901 --canary-for 1m --canary-errors 0.01
  migrator map push next.yaml --allow-change 0.25`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if err := a.open(); err != nil {
				return err
			}
			ctx := cmd.Context()
			text, err := readMapText(cmd, args[0])
			if err != nil {
				return err
			}
			current, err := a.store.Load(ctx)
			if err != nil {
				return err
			}
			want := current.Version() + 1
			next, err := decodeNext(args[0], text, want)
			if err != nil {
				return err
			}
			if next.Version() != want {
				return fmt.Errorf("%w: version %d is in force, so the file's must be %d, and is %d. If the file was made "+
					"from an older version, look at migrator map diff %s first, then set its version", errRefused,
					current.Version(), want, next.Version(), args[0])
			}
			draft := next.Edit()
			draft.Version = next.Version()
			return a.publishMap(ctx, current, draft, f, "migrator map push "+args[0])
		},
	}, &f)
}

// check refuses flags that make no sense.
func (f *pushFlags) check() error {
	if f.wait < 0 {
		return fmt.Errorf("%w: --wait %s: want no less than nothing", errUsage, f.wait)
	}
	return f.canary.check()
}

// publishMap publishes a whole map in the place of current, if it may come into
// force, the databases agree with it, the canary is well, and nobody was faster.
func (a *app) publishMap(ctx context.Context, current *bucketmap.Snapshot, draft *bucketmap.Draft, f pushFlags, what string) error {
	draft.ResolveDefault(a.weights)
	draft.Declare(current)
	next, err := draft.Snapshot()
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err := bucketmap.CheckSuccessor(current, next); err != nil {
		return a.refusal(err, current, next)
	}
	result := mapResult{Version: next.Version(), Digest: next.Digest(), Difference: bucketmap.Diff(current, next), DryRun: a.dryRun}
	if result.Difference.Empty() {
		result.Version, result.Digest = current.Version(), current.Digest()
		return errors.Join(a.printMap(result), a.waitAcks(ctx, current, f.wait))
	}
	// First: what the databases refuse, no other flag lets through.
	if err := a.followsDatabases(ctx, current, next, f.force); err != nil {
		return err
	}
	publisher := a.publisher()
	if err := publisher.Check(current, next); err != nil {
		return a.refusal(err, current, next)
	}
	if a.dryRun {
		return a.printMap(result)
	}
	publishing := func() error { return publisher.Replace(ctx, current, next, a.reason(what)) }
	if f.canary.url != "" {
		result.Canary, err = a.withCanary(ctx, f.canary, current, next, publishing)
	} else {
		err = publishing()
	}
	switch {
	case errors.Is(err, bucketmap.ErrConflict):
		return fmt.Errorf("%w: nothing was changed: %w; run migrator map diff, then the command again", errRefused, err)
	case err != nil && f.canary.url == "":
		return a.refusal(err, current, next)
	case err != nil:
		return err // with a canary, something may have been changed
	}
	return errors.Join(a.printMap(result), a.waitAcks(ctx, next, f.wait))
}

// refusal makes what a guard refused an errRefused, and says what would let it
// through. Other errors it leaves alone.
func (a *app) refusal(err error, current, next *bucketmap.Snapshot) error {
	var refused *bucketmap.RefusedError
	switch {
	case !errors.As(err, &refused):
		return err
	case refused.Rule != bucketmap.RuleMaxChange:
		return fmt.Errorf("%w: nothing was changed: %w", errRefused, err)
	case current == nil || next == nil:
		return fmt.Errorf("%w: nothing was changed: %w; --allow-change SHARE allows it", errRefused, err)
	}
	moved, all := bucketmap.Relocated(current, next, a.weights)
	share := 1.0
	if all != 0 {
		share = math.Min(1, math.Ceil(float64(moved)/float64(all)*1e4)/1e4) // rounded up: it must suffice
	}
	return fmt.Errorf("%w: nothing was changed: %w; --allow-change %g allows it", errRefused, err, share)
}

// followsDatabases refuses a map that the fence does not agree with.
func (a *app) followsDatabases(ctx context.Context, current, next *bucketmap.Snapshot, force bool) error {
	results, err := preflight.Homes(ctx, a.shards, current, next)
	if err != nil {
		return err
	}
	var lines []string
	for _, r := range preflight.Errors(results) {
		lines = append(lines, "  "+r.String())
	}
	lines = append(lines, homesLost(current, next)...)
	if len(lines) == 0 {
		return nil
	}
	text := strings.Join(lines, "\n")
	if force {
		fmt.Fprintf(a.errOut, "migrator: --force-homes: the map does not follow the databases:\n%s\n", text)
		return nil
	}
	return fmt.Errorf("%w: nothing was changed: the map does not follow the databases (--force-homes publishes it all the same):\n%s", errRefused, text)
}

// homesLost has a line for the buckets of each shard that would have no home:
// their rows are somewhere, whatever the map says.
func homesLost(current, next *bucketmap.Snapshot) []string {
	lost := map[bucketmap.ShardName]move.Buckets{}
	for _, c := range bucketmap.Diff(current, next).Homes {
		for b := c.First; c.To == "" && b <= c.Last; b++ {
			lost[c.From] = append(lost[c.From], b)
		}
	}
	var lines []string
	for _, shard := range current.Shards() {
		if buckets := lost[shard.Name]; len(buckets) != 0 {
			lines = append(lines, fmt.Sprintf("  home-lost on %s: buckets %s would have no home; their rows are here: leave them here", shard.Name, buckets))
		}
	}
	return lines
}

func (a *app) printMap(r mapResult) error {
	if a.json() {
		return a.printJSON(r)
	}
	switch {
	case r.Difference.Empty():
		a.printf("no difference; map version %d stays in force\n", r.Version)
	case r.DryRun:
		a.printf("nothing was changed; version %d would change this:\n%s", r.Version, r.Difference)
	default:
		a.printf("%smap version %d is published\n", r.Difference, r.Version)
	}
	return nil
}

// canWait adds --wait to a command that publishes.
func (a *app) canWait(c *cobra.Command, wait *time.Duration) {
	c.Flags().DurationVar(wait, "wait", 0, "wait so long for every live proxy to run the new map; 0 does not wait")
}

// waitAcks waits for the proxies, when --wait was given. The map is in force
// whatever becomes of it.
func (a *app) waitAcks(ctx context.Context, snap *bucketmap.Snapshot, wait time.Duration) error {
	if wait <= 0 || a.dryRun {
		return nil
	}
	err := a.publisher().WaitAcks(ctx, snap, wait)
	if err == nil {
		a.printf("every live proxy runs version %d\n", snap.Version())
		return nil
	}
	var late *publish.LateError
	if !errors.As(err, &late) {
		return fmt.Errorf("version %d is published and stays in force: %w", snap.Version(), err)
	}
	lines := make([]string, len(late.Late))
	for i, l := range late.Late {
		lines[i] = fmt.Sprintf("  %s runs %d: %s", l.Proxy, l.Version, plain(l.Reason))
	}
	return &lateError{late, fmt.Sprintf("version %d is published and stays in force: %s within %s:\n%s",
		snap.Version(), publish.ErrNotAcknowledged, wait, strings.Join(lines, "\n"))}
}

// lateError says which proxies do not run the map, one a line.
type lateError struct {
	late *publish.LateError
	text string
}

func (e *lateError) Error() string { return e.text }

func (e *lateError) Unwrap() error { return e.late }

// plainMax bounds what is shown of a text that a proxy or an operator gave: one
// can list a million problems. The whole is in the JSON form.
const plainMax = 300

// plain is fit for a terminal: one line, and nothing that steers it.
func plain(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if runes := []rune(text); len(runes) > plainMax {
		text = string(runes[:plainMax]) + " ..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}
