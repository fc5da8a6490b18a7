package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"drover/migrator/internal/move"
)

// progress shows how a move is getting on: a line a state, and between them, on
// a terminal, a spinner with rows and lag; JSON events with --output json.
type progress struct {
	app     *app
	bar     *progressbar.ProgressBar // on a terminal
	entered time.Time
	state   move.State
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

// event takes one event of the engine.
func (p *progress) event(e move.Event) {
	switch {
	case p.app.json():
		_ = json.NewEncoder(p.app.errOut).Encode(e)
	case e.Entered || e.Note != "":
		p.clear()
		took := ""
		if e.Entered && p.state != "" {
			took = fmt.Sprintf(" (%s took %s)", p.state, e.At.Sub(p.entered).Round(time.Millisecond))
		}
		note := e.Note
		if note != "" {
			note = ": " + note
		}
		fmt.Fprintf(p.app.errOut, "%s  %-10s%s%s\n", e.Move, e.State, note, took)
	case p.bar != nil:
		text := fmt.Sprintf("%s  %d rows", e.State, e.Rows)
		if e.Behind != 0 {
			text += fmt.Sprintf(", %d transactions behind", e.Behind)
		}
		p.bar.Describe(text)
		_ = p.bar.Add(0)
	}
	if e.Entered {
		p.state, p.entered = e.State, e.At
	}
}

func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// end leaves the terminal clean.
func (p *progress) end() { p.clear() }
