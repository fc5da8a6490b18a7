package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"drover/bucketmap"
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

// progressLine is what an event says to people.
type progressLine struct {
	move    bucketmap.MoveID
	state   string
	at      time.Time
	note    string
	entered bool
	between string // shown until the next state
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
func (p *progress) event(e move.Event) {
	between := fmt.Sprintf("%s  %d rows%s", e.State, e.Rows, behind(e.Behind))
	p.show(e, progressLine{e.Move, string(e.State), e.At, e.Note, e.Entered, between})
}

// promotion takes one event of the engine that promotes replicas.
func (p *progress) promotion(e promote.Event) {
	p.show(e, progressLine{e.Move, string(e.State), e.At, e.Note, e.Entered, string(e.State) + behind(e.Behind)})
}

func behind(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d transactions behind", n)
}

// show prints an event: as it is for programs, its line for people.
func (p *progress) show(event any, l progressLine) {
	switch {
	case p.app.json():
		_ = json.NewEncoder(p.app.errOut).Encode(event)
	case l.entered || l.note != "":
		p.clear()
		took := ""
		if l.entered && p.state != "" {
			took = fmt.Sprintf(" (%s took %s)", p.state, l.at.Sub(p.entered).Round(time.Millisecond))
		}
		note := l.note
		if note != "" {
			note = ": " + note
		}
		fmt.Fprintf(p.app.errOut, "%s  %-11s%s%s\n", l.move, l.state, note, took)
	case p.bar != nil:
		p.bar.Describe(l.between)
		_ = p.bar.Add(0)
	}
	if l.entered {
		p.state, p.entered = l.state, l.at
	}
}

func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// end leaves the terminal clean.
func (p *progress) end() { p.clear() }
