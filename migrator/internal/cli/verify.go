package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
)

// unsureError is an answer that could not be had. Its exit code is 2, as for
// whatever else keeps a command from looking.
type unsureError struct{ err error }

func (e *unsureError) Error() string { return "could not tell: " + e.err.Error() }

// Is gives it the exit code of errPartial, whatever the cause's would be.
func (e *unsureError) Is(target error) bool { return target == errPartial }

// errDiffers is returned, with exit code 1, when the ends of a move differ.
var errDiffers = errors.New("the two ends differ")

// rowsShown bounds the rows that are printed; --output json has them all.
const rowsShown = 20

type verifyFlags struct {
	buckets string
	repair  bool
	yes     string
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify MOVE | --bucket BUCKETS",
		Short: "Compare the two ends of a move, at any time while it has a tail",
		Long: `Compare the two ends of a move by row checksums that the servers compute, chunk
by chunk, while writes go on. The buckets' home is right; the other end is kept
up to date by the tail. Where no other process runs the move, verify runs its
tail meanwhile.

The exit code is 0 when both ends are equal, 1 when rows differ, and 2 when it
could not be told: the move has no two ends at this moment, a server or a tail
did not answer in time, or rows changed each time that they were looked at.

With --repair the rows that differ are written anew at the end that is not the
home, after they were shown and the move's id was typed. It is refused while
another process runs the move.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(args); err != nil {
				return err
			}
			if err := a.open(); err != nil {
				return err
			}
			return a.verify(cmd, args, f)
		},
	}
	c.Flags().StringVar(&f.buckets, "bucket", "", "compare these buckets alone, such as 17 or 0-99; without MOVE, of whatever moves they are in")
	c.Flags().BoolVar(&f.repair, "repair", false, "write the rows that differ anew at the end that is not the home")
	c.Flags().StringVar(&f.yes, "yes", "", "with --repair: the move's id, in the place of typing it")
	return c
}

func (f *verifyFlags) check(args []string) error {
	switch {
	case len(args) == 0 && f.buckets == "":
		return fmt.Errorf("%w: verify: give a MOVE or --bucket", errUsage)
	case f.repair && len(args) == 0:
		return fmt.Errorf("%w: verify --repair: name the MOVE", errUsage)
	case f.repair && f.buckets != "":
		return fmt.Errorf("%w: verify --repair takes the whole move: leave --bucket out", errUsage)
	case f.yes != "" && !f.repair:
		return fmt.Errorf("%w: --yes goes with --repair", errUsage)
	}
	return nil
}

// verify compares one move, or each that one of the buckets is in.
func (a *app) verify(cmd *cobra.Command, args []string, f verifyFlags) error {
	ctx := cmd.Context()
	work, err := a.verifyWork(ctx, args, f.buckets)
	if err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.end()
	engine := a.engine(progress.event)
	var errs []error
	for _, w := range work {
		if f.repair {
			return a.repair(cmd, engine, w.move, f.yes)
		}
		c, err := engine.Verify(ctx, w.move, w.buckets)
		if err != nil {
			errs = append(errs, &unsureError{err})
			continue
		}
		progress.clear()
		errs = append(errs, a.printComparison(c))
	}
	for _, err := range errs {
		if errors.Is(err, errDiffers) {
			return err // worse than what could not be told
		}
	}
	return errors.Join(errs...)
}

// verifying is one move to compare, and which of its buckets.
type verifying struct {
	move    *move.Move
	buckets move.Buckets
}

func (a *app) verifyWork(ctx context.Context, args []string, text string) ([]verifying, error) {
	var buckets move.Buckets
	if text != "" {
		snap, err := a.store.Load(ctx)
		if err != nil {
			return nil, &unsureError{err}
		}
		if buckets, err = move.ParseBuckets(text, snap.Buckets()); err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	if len(args) == 1 {
		record, err := a.findOpen(ctx, args[0])
		if err != nil {
			return nil, &unsureError{err}
		}
		m, err := move.Load(record)
		if err != nil {
			return nil, &unsureError{err}
		}
		return []verifying{{m, buckets}}, nil
	}
	var work []verifying
	for _, b := range buckets {
		if slices.ContainsFunc(work, func(w verifying) bool { return slices.Contains(w.move.Buckets, b) }) {
			continue
		}
		record, err := a.findOpen(ctx, fmt.Sprint(b))
		if err != nil {
			return nil, &unsureError{err}
		}
		m, err := move.Load(record)
		if err != nil {
			return nil, &unsureError{err}
		}
		w := verifying{move: m}
		for _, mine := range m.Buckets {
			if slices.Contains(buckets, mine) {
				w.buckets = append(w.buckets, mine)
			}
		}
		work = append(work, w)
	}
	return work, nil
}

// printComparison prints what was found; the error is the exit code.
func (a *app) printComparison(c *move.Comparison) error {
	if a.json() {
		if err := a.printJSON(c); err != nil {
			return err
		}
	} else {
		a.describeComparison(c)
	}
	switch c.Outcome {
	case move.Equal:
		return nil
	case move.Differs:
		return fmt.Errorf("%w: %s: %d row(s)", errDiffers, c.Move, len(c.Differ))
	default:
		return &unsureError{fmt.Errorf("%s: %s", c.Move, c.Why)}
	}
}

func (a *app) describeComparison(c *move.Comparison) {
	a.printf("%s, %s: buckets %s: %s, their home, against %s: %d rows in %.1f s: %s\n",
		c.Move, c.State, c.Buckets, c.Home, c.Other, c.Rows, c.Took, c.Outcome)
	if len(c.Differ) != 0 {
		rows := a.table("table", "row", "on "+string(c.Other))
		for _, d := range c.Differ[:min(len(c.Differ), rowsShown)] {
			rows.AppendRow([]any{d.Table, plain(d.Key), d.Kind})
		}
		rows.Render()
		if len(c.Differ) > rowsShown || c.More {
			a.printf("and %d more; --output json names them\n", len(c.Differ)-min(len(c.Differ), rowsShown))
		}
		if c.More {
			a.printf("there may be others: the comparison ended at %d\n", move.DifferKept)
		}
		a.printf("%s is right: it is the buckets' home; migrator verify %s --repair mends %s\n", c.Home, c.Move, c.Other)
	}
	if len(c.Unsure) != 0 {
		a.printf("%d row(s) changed each time that they were looked at, such as %s: %s\n", len(c.Unsure), c.Unsure[0].Table, plain(c.Unsure[0].Key))
	}
}

// repair mends the end that is not the home once the operator has agreed.
func (a *app) repair(cmd *cobra.Command, engine *move.Engine, m *move.Move, yes string) error {
	if yes != "" && yes != string(m.Record.Move) {
		return fmt.Errorf("%w: --yes %s is not the move's id, %s", errRefused, yes, m.Record.Move)
	}
	repaired := false
	c, err := engine.Repair(cmd.Context(), m, a.env.Who, a.why, func(found *move.Comparison) error {
		if !a.json() {
			a.describeComparison(found)
			a.printf("would write %d row(s) on %s as they are on %s\n", len(found.Differ), found.Other, found.Home)
		}
		if err := a.confirm(cmd, m.Record.Move, yes); err != nil {
			return err
		}
		repaired = true
		return nil
	})
	switch {
	case errors.Is(err, journal.ErrLocked):
		return fmt.Errorf("%w: %w", errRefused, err)
	case errors.Is(err, errRefused):
		return err
	case err != nil:
		return &unsureError{err}
	}
	if repaired {
		a.printf("repaired; compared again:\n")
	}
	return a.printComparison(c)
}

// confirm wants the move's id typed on a terminal, or given with --yes.
func (a *app) confirm(cmd *cobra.Command, id bucketmap.MoveID, yes string) error {
	if yes != "" {
		return nil
	}
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && !term.IsTerminal(int(f.Fd())) || a.json() {
		return fmt.Errorf("%w: nothing was changed: there is nobody to ask; give --yes %s", errRefused, id)
	}
	a.printf("type the move's id, %s, to write these rows: ", id)
	typed, err := typed(cmd.Context(), in)
	if err != nil {
		return fmt.Errorf("%w: nothing was changed: %w", errRefused, err)
	}
	if typed != string(id) {
		return fmt.Errorf("%w: nothing was changed: %q is not the move's id", errRefused, typed)
	}
	return nil
}
