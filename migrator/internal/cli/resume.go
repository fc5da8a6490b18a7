package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
	"drover/migrator/internal/promote"
)

func (a *app) resumeCommand() *cobra.Command {
	return a.canMeasure(a.canDryRun(&cobra.Command{
		Use:   "resume [MOVE]",
		Short: "Finish or undo what a migrator that died left under way: one move, or everything",
		Args:  usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.open(); err != nil {
				return err
			}
			ctx := cmd.Context()
			if len(args) == 1 {
				record, err := a.findOpen(ctx, args[0])
				if err != nil {
					return err
				}
				return a.resumeOne(ctx, record)
			}
			records, err := a.openRecords(ctx)
			errs := []error{err}
			for _, r := range records {
				if rests(r) {
					continue
				}
				errs = append(errs, a.resumeOne(ctx, r))
			}
			return errors.Join(errs...)
		},
	}))
}

// rests says whether a record is open but waits for the operator alone.
func rests(r *journal.Record) bool {
	return r.Kind == journal.KindMove && move.State(r.State) == move.Soaking
}

// resumed is what resume and abort print as JSON.
type resumed struct {
	Move   bucketmap.MoveID `json:"move"`
	Was    string           `json:"was"`
	State  string           `json:"state"`
	DryRun bool             `json:"dry_run,omitempty"`
}

func (a *app) resumeOne(ctx context.Context, r *journal.Record) error {
	if a.dryRun {
		return a.printResumed(resumed{Move: r.Move, Was: r.State, State: r.State, DryRun: true})
	}
	was := r.State
	state, err := a.withRecord(ctx, r,
		func(e *move.Engine, m *move.Move) error { return e.Resume(ctx, m) },
		func(e *promote.Engine, p *promote.Promotion) error { return e.Resume(ctx, p) })
	if err != nil {
		return err
	}
	return a.printResumed(resumed{Move: r.Move, Was: was, State: state})
}

func (a *app) printResumed(r resumed) error {
	if a.json() {
		return a.printJSON(r)
	}
	if r.DryRun {
		a.printf("%s is %s and would be gone on with\n", r.Move, r.State)
		return nil
	}
	a.printf("%s was %s and is %s\n", r.Move, r.Was, r.State)
	return nil
}

// withRecord calls one of the two with the move or the promotion that a record
// tells of, and returns the state it is in then.
func (a *app) withRecord(ctx context.Context, r *journal.Record, onMove func(*move.Engine, *move.Move) error,
	onPromotion func(*promote.Engine, *promote.Promotion) error) (string, error) {
	if err := a.measure(ctx); err != nil {
		return r.State, err
	}
	progress := a.newProgress()
	defer progress.end()
	switch r.Kind {
	case journal.KindMove:
		m, err := move.Load(r)
		if err != nil {
			return "", err
		}
		progress.follow(ctx, m)
		err = onMove(a.engine(progress.event), m)
		return string(m.State()), err
	case journal.KindPromotion:
		p, err := promote.Load(r)
		if err != nil {
			return "", err
		}
		err = onPromotion(a.promoter(progress.promotion), p)
		if errors.Is(err, promote.ErrState) {
			err = fmt.Errorf("%w: %w", errRefused, err)
		}
		return string(p.State()), err
	}
	return "", fmt.Errorf("%s is a %s, which this program does not know: use the newer migrator", r.Move, r.Kind)
}

func (a *app) abortCommand() *cobra.Command {
	return a.canMeasure(a.canDryRun(&cobra.Command{
		Use:   "abort MOVE",
		Short: "Give a move or a promotion up, if its commit point is not passed",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.open(); err != nil {
				return err
			}
			ctx := cmd.Context()
			record, err := a.findOpen(ctx, args[0])
			if err != nil {
				return err
			}
			if a.dryRun {
				return a.printResumed(resumed{Move: record.Move, Was: record.State, State: record.State, DryRun: true})
			}
			was := record.State
			state, err := a.withRecord(ctx, record,
				func(e *move.Engine, m *move.Move) error { return e.Abort(ctx, m, a.why) },
				func(e *promote.Engine, p *promote.Promotion) error { return e.Abort(ctx, p, a.why) })
			if err != nil {
				return err
			}
			return a.printResumed(resumed{Move: record.Move, Was: was, State: state})
		},
	}))
}
