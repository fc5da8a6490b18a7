package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"drover/migrator/internal/machine"
	"drover/migrator/internal/move"
	"drover/migrator/internal/promote"
)

// progress shows how a move or a promotion is getting on: a line a state, and
// between them, on a terminal, a spinner with rows and lag; JSON events with
// --output json.
type progress struct {
	app     *app
	bar     *progressbar.ProgressBar // on a terminal
	entered time.Time
	state   string
}

// newProgress writes to standard error, so that standard output has the result
// alone.
func (a *app) newProgress() *progress {
	p := &progress{app: a}
	if f, ok := a.errOut.(*os.File); ok && !a.json() && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(f),
			progressbar.OptionSpinnerType(14), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(50*time.Millisecond))
	}
	return p
}

// event takes one event of the engine that moves buckets.
func (p *progress) event(e move.Event) { show(p, e) }

// promotion takes one event of the engine that promotes replicas.
func (p *progress) promotion(e promote.Event) { show(p, e) }

// show prints an event: as it is for programs, as a line for people.
func show[S ~string](p *progress, e machine.Event[S]) {
	switch {
	case p.app.json():
		_ = json.NewEncoder(p.app.errOut).Encode(e)
	case e.Entered || e.Note != "":
		p.clear()
		took, note := "", ""
		if e.Entered && p.state != "" {
			took = fmt.Sprintf(" (%s took %s)", p.state, e.At.Sub(p.entered).Round(time.Millisecond))
		}
		if e.Note != "" {
			note = ": " + e.Note
		}
		fmt.Fprintf(p.app.errOut, "%s  %-11s%s%s\n", e.Move, e.State, note, took)
	case p.bar != nil:
		p.bar.Describe(between(e))
		_ = p.bar.Add(0)
	}
	if e.Entered {
		p.state, p.entered = string(e.State), e.At
	}
}

// between is shown until the next state.
func between[S ~string](e machine.Event[S]) string {
	text := string(e.State)
	if e.Rows != 0 {
		text += fmt.Sprintf("  %d rows", e.Rows)
	}
	if e.Behind != 0 {
		text += fmt.Sprintf(", %d transactions behind", e.Behind)
	}
	return text
}

func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// end leaves the terminal clean.
func (p *progress) end() { p.clear() }
