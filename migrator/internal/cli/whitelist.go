package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"drover/bucketmap"
)

const (
	// whitelistIDsMax bounds one command: 100,000 ids of 256 bytes are 25 MB in
	// memory, and as much more in the map that every proxy loads.
	whitelistIDsMax = 100_000
	// whitelistLineMax is the longest id in its text form: "hex:" and two digits
	// a byte.
	whitelistLineMax = len("hex:") + 2*bucketmap.UserIDMax
)

func (a *app) whitelistCommand() *cobra.Command {
	c := &cobra.Command{Use: "whitelist", Short: "Send users to a datacenter whatever their home is"}
	c.AddCommand(a.whitelistAdd(), a.whitelistRemove(), a.whitelistList())
	return c
}

// whitelistResult is what the commands that change the whitelist print as JSON.
type whitelistResult struct {
	Version bucketmap.Version `json:"version"`
	Added   int               `json:"added"`
	Changed int               `json:"changed"` // went to another datacenter before
	Removed int               `json:"removed"`
	// Unchanged were on the whitelist so already, or, for remove, were not on it.
	Unchanged int  `json:"unchanged"`
	Total     int  `json:"total"` // on the whitelist now
	DryRun    bool `json:"dry_run,omitempty"`
}

func (a *app) whitelistAdd() *cobra.Command {
	var to, file string
	var wait time.Duration
	c := &cobra.Command{
		Use:   "add --to DATACENTER [ID...]",
		Short: "Put users on the whitelist, or send those on it elsewhere",
		Long: fmt.Sprintf(`Put users on the whitelist, or send those on it elsewhere.

An id that cannot be printed is "hex:" and its bytes in hexadecimal. A file has
one id a line; empty lines are skipped. One command takes at most %d ids.`, whitelistIDsMax),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return fmt.Errorf("%w: give --to DATACENTER", errUsage)
			}
			ids, err := userIDs(args, file)
			if err != nil {
				return err
			}
			dc := bucketmap.Datacenter(to)
			return a.editWhitelist(cmd.Context(), fmt.Sprintf("whitelist %d users for %s", len(ids), dc), wait,
				func(d *bucketmap.Draft, r *whitelistResult) error {
					if !slices.Contains(d.Datacenters, dc) {
						return fmt.Errorf("%w: --to %s: the map has no such datacenter", errUsage, dc)
					}
					for _, id := range ids {
						switch was, on := d.Whitelist[string(id)]; {
						case !on:
							r.Added++
						case was != dc:
							r.Changed++
						default:
							r.Unchanged++
						}
						d.Whitelist[string(id)] = dc
					}
					return nil
				})
		},
	}
	c.Flags().StringVar(&to, "to", "", "the datacenter")
	c.Flags().StringVar(&file, "file", "", "a file with one id a line")
	a.canWait(c, &wait)
	return a.canAllow(a.canDryRun(c))
}

func (a *app) whitelistRemove() *cobra.Command {
	var file string
	var wait time.Duration
	c := &cobra.Command{
		Use:   "remove [ID...]",
		Short: "Take users off the whitelist: they go to their home again",
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := userIDs(args, file)
			if err != nil {
				return err
			}
			return a.editWhitelist(cmd.Context(), fmt.Sprintf("take %d users off the whitelist", len(ids)), wait,
				func(d *bucketmap.Draft, r *whitelistResult) error {
					for _, id := range ids {
						if _, on := d.Whitelist[string(id)]; on {
							r.Removed++
							delete(d.Whitelist, string(id))
						} else {
							r.Unchanged++
						}
					}
					return nil
				})
		},
	}
	c.Flags().StringVar(&file, "file", "", "a file with one id a line")
	a.canWait(c, &wait)
	return a.canAllow(a.canDryRun(c))
}

// editWhitelist publishes a change, if it is one, and prints what it was. edit
// may run several times, and counts into a fresh result each time.
func (a *app) editWhitelist(ctx context.Context, what string, wait time.Duration,
	edit func(*bucketmap.Draft, *whitelistResult) error) error {
	if err := a.open(); err != nil {
		return err
	}
	var r whitelistResult
	change := func(d *bucketmap.Draft) error {
		r = whitelistResult{DryRun: a.dryRun}
		if err := edit(d, &r); err != nil {
			return err
		}
		r.Total = len(d.Whitelist)
		if r.Added+r.Changed+r.Removed == 0 {
			return bucketmap.ErrNoEdit
		}
		return nil
	}
	snap, err := a.publishEdit(ctx, what, change)
	if err != nil {
		return err
	}
	r.Version = snap.Version()
	err = a.printWhitelist(r)
	if r.Added+r.Changed+r.Removed == 0 {
		return err
	}
	return errors.Join(err, a.waitAcks(ctx, snap, wait))
}

// publishEdit publishes a change, or with --dry-run only tries it, and returns
// the map that is in force, or would be.
func (a *app) publishEdit(ctx context.Context, what string, edit func(*bucketmap.Draft) error) (*bucketmap.Snapshot, error) {
	if !a.dryRun {
		snap, err := a.publisher().Edit(ctx, a.reason(what), edit)
		return snap, a.refusal(err, nil, nil)
	}
	current, err := a.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	draft := current.Edit()
	if err := edit(draft); err != nil {
		if errors.Is(err, bucketmap.ErrNoEdit) {
			return current, nil
		}
		return nil, err
	}
	draft.ResolveDefault(a.weights)
	draft.Declare(current)
	next, err := draft.Snapshot()
	if err != nil {
		return nil, err
	}
	return next, a.refusal(a.publisher().Check(current, next), current, next)
}

func (a *app) printWhitelist(r whitelistResult) error {
	if a.json() {
		return a.printJSON(r)
	}
	would, published := "", fmt.Sprintf("map version %d is published", r.Version)
	if r.DryRun {
		would, published = "would be ", "nothing was changed"
	} else if r.Added+r.Changed+r.Removed == 0 {
		published = fmt.Sprintf("map version %d stays", r.Version)
	}
	a.printf("%s%d added, %d changed, %d removed, %d as they were; %d on the whitelist; %s\n",
		would, r.Added, r.Changed, r.Removed, r.Unchanged, r.Total, published)
	return nil
}

func (a *app) whitelistList() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "list",
		Short: "Show who is on the whitelist",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.open(); err != nil {
				return err
			}
			snap, err := a.store.Load(cmd.Context())
			if err != nil {
				return err
			}
			byID := map[string]bucketmap.Datacenter{}
			t := a.table("user", "datacenter")
			for id, dc := range snap.Whitelist() {
				if to != "" && dc != bucketmap.Datacenter(to) {
					continue
				}
				text := bucketmap.UserID(id).String()
				byID[text] = dc
				t.AppendRow(table.Row{text, dc})
			}
			if a.json() {
				return a.printJSON(byID)
			}
			if len(byID) == 0 {
				a.printf("nobody\n")
				return nil
			}
			t.Render()
			return nil
		},
	}
	c.Flags().StringVar(&to, "to", "", "those sent to this datacenter alone")
	return c
}

// userIDs reads ids from arguments and a file, each once, in order.
func userIDs(args []string, file string) ([]bucketmap.UserID, error) {
	texts := args
	if file != "" {
		lines, err := readLines(file)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		texts = append(slices.Clone(args), lines...)
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("%w: give ids, or --file with ids", errUsage)
	}
	if len(texts) > whitelistIDsMax {
		return nil, fmt.Errorf("%w: more than %d ids: give them in parts", errUsage, whitelistIDsMax)
	}
	seen := make(map[bucketmap.UserID]bool, len(texts))
	var ids []bucketmap.UserID
	for _, text := range texts {
		id, err := bucketmap.ParseUserID(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// readLines reads the lines of a file that are not empty, one more than may be
// at most.
func readLines(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only: nothing to lose
	var lines []string
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, whitelistLineMax+len("\r\n")+1) // one more: the bound is not reached
	n := 0
	for scanner.Scan() && len(lines) <= whitelistIDsMax {
		n++
		if line := strings.TrimSuffix(scanner.Text(), "\r"); line != "" {
			lines = append(lines, line)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: after line %d: %w", path, n, err)
	}
	return lines, nil
}
