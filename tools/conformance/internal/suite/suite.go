package suite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"drover/tools/conformance/internal/peer"
	"drover/tools/conformance/internal/script"
)

// Workers is how many peers run at once: most of a case is waiting. No more
// than peer.SlotsMax.
const Workers = 8

// errEnded fails the case under which a peer ended.
var errEnded = errors.New("the peer ended by itself")

// Outcome is what became of one case.
type Outcome struct {
	Case   *script.Case
	Result *script.Result // nil when the case could not be played
	Err    error          // nil when it passed
	Took   time.Duration
}

// Run runs the cases against a kind of peer. The folder is for what the peers
// write. The outcomes are in the order of the cases.
func Run(ctx context.Context, kind peer.Kind, cases []script.Case, dir string) ([]Outcome, error) {
	binary, err := peer.Prepare(ctx, kind, dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	outcomes := make([]Outcome, len(cases))
	todo := make(chan int, len(cases))
	// The cases that wait are at the end of the table of their group: from the
	// end they do not wait one after the other behind all others.
	for i := len(cases) - 1; i >= 0; i-- {
		todo <- i
	}
	close(todo)
	var waits sync.WaitGroup
	for i := range min(Workers, len(cases)) {
		w := &worker{kind: kind, binary: binary, place: peer.Place{Dir: filepath.Join(dir, fmt.Sprintf("%s-%d", kind, i)), Slot: i}}
		waits.Go(func() {
			if err := w.work(ctx, cases, todo, outcomes); err != nil {
				cancel(err)
			}
		})
	}
	waits.Wait()
	return outcomes, context.Cause(ctx)
}

// worker is one origin and the peer before it.
type worker struct {
	kind    peer.Kind
	binary  string
	place   peer.Place
	origin  *script.Origin
	process *peer.Process
}

func (w *worker) work(ctx context.Context, cases []script.Case, todo <-chan int, outcomes []Outcome) (err error) {
	if w.origin, err = script.Listen(ctx); err != nil {
		return err
	}
	defer w.origin.Close()
	defer func() {
		if w.process != nil {
			w.process.End()
		}
	}()
	for i := range todo {
		if ctx.Err() != nil {
			return nil // Run knows the cause
		}
		if w.process == nil || w.process.Ended() {
			w.process, err = peer.Start(ctx, w.kind, w.binary, w.origin.Addr(), w.place)
			if err != nil {
				return err
			}
		}
		outcomes[i] = w.play(&cases[i])
	}
	return nil
}

func (w *worker) play(c *script.Case) Outcome {
	began := time.Now()
	result, err := script.Run(c, w.process.Client, w.origin, w.kind == peer.Drover)
	if w.process.Ended() {
		err = fmt.Errorf("%w: its log says:\n%s", errEnded, w.process.Log())
	}
	if result.Unsettled {
		w.process.End()
	}
	return Outcome{Case: c, Result: result, Err: err, Took: time.Since(began)}
}
