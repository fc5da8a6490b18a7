package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/machine"
	"drover/migrator/internal/move"
	"drover/migrator/internal/promote"
)

const (
	// lineEvery is how often something is said between two states where there is
	// no terminal: an hour of copying is 720 lines.
	lineEvery = 5 * time.Second
	// eventEvery is the same for programs: they can bear more.
	eventEvery = 500 * time.Millisecond
	// barEvery is how often the bar is drawn.
	barEvery = 100 * time.Millisecond
)

// progress shows how a move or a promotion is getting on, on standard error, so
// that standard output has the result alone. On a terminal: a line a state, and
// below it a bar with rows, rate, time to go and lag. Elsewhere: a line a state
// and one every lineEvery. With --output json: an event a line.
type progress struct {
	app *app
	tty *os.File                 // nil: no terminal
	bar *progressbar.ProgressBar // of the state

	move    bucketmap.MoveID
	visits  []journal.Visit
	said    time.Time         // when something was last said within the state
	total   int64             // rows that the copy will bring, 0 when not known
	begun   int64             // rows at the first word of the state
	started time.Time         // of that word
	remark  func(note string) // nil, or puts a note into the journal
	ended   bool
}

// progressEvent is a line of --output json. The names stay as they are.
type progressEvent struct {
	// Event is "state" when one was entered, "note", "progress" within a state, or
	// "passport" at the end.
	Event string           `json:"event"`
	Move  bucketmap.MoveID `json:"move"`
	State string           `json:"state"`
	At    time.Time        `json:"at"`
	Note  string           `json:"note,omitempty"`
	// Entered is true when Event is "state".
	Entered   bool    `json:"entered"`
	Rows      int64   `json:"rows,omitempty"`       // in this state
	RowsTotal int64   `json:"rows_total,omitempty"` // estimated
	Rate      float64 `json:"rows_per_second,omitempty"`
	Behind    uint64  `json:"behind_transactions,omitempty"`
	ToGo      float64 `json:"eta_seconds,omitempty"`
	// Took is how long the state before lasted.
	Took   float64    `json:"took_seconds,omitempty"`
	States []stayLine `json:"states,omitempty"` // of the passport
}

func (a *app) newProgress() *progress {
	p := &progress{app: a}
	if f, ok := a.errOut.(*os.File); ok && !a.json() && term.IsTerminal(int(f.Fd())) {
		p.tty = f
	}
	return p
}

// event takes one event of the engine that moves buckets.
func (p *progress) event(e move.Event) { show(p, e) }

// promotion takes one event of the engine that promotes replicas.
func (p *progress) promotion(e promote.Event) { show(p, e) }

// show makes a progressEvent of an engine's event and tells it.
func show[S ~string](p *progress, e machine.Event[S]) {
	if e.RowsTotal != 0 {
		p.total = e.RowsTotal
	}
	p.tell(progressEvent{Move: e.Move, State: string(e.State), At: e.At, Note: e.Note, Entered: e.Entered, Rows: e.Rows, Behind: e.Behind})
}

func (p *progress) tell(e progressEvent) {
	p.move, p.ended = e.Move, false
	switch {
	case e.Entered:
		e.Event = "state"
		e.Took = p.enter(e)
		p.say(e)
	case e.Note != "":
		e.Event = "note"
		p.say(e)
		// What is noted in these states is why the move steps back.
		if p.remark != nil && (e.State == string(move.Holding) || e.State == string(move.Freezing)) {
			p.remark(e.Note)
		}
	default:
		e.Event = "progress"
		p.rate(&e)
		p.between(e)
	}
}

// enter begins a visit, and returns how many seconds the one before took.
func (p *progress) enter(e progressEvent) float64 {
	took := time.Duration(0)
	if n := len(p.visits); n != 0 {
		took = max(0, e.At.Sub(p.visits[n-1].Entered))
		p.visits[n-1].Took = took
	}
	p.visits = append(p.visits, journal.Visit{State: e.State, Entered: e.At})
	p.said, p.begun, p.started = e.At, 0, time.Time{}
	p.clear()
	p.bar = nil
	return took.Seconds()
}

// rate fills in what follows from the rows: the first word of a state says from
// where it counts, for a copy that is resumed begins with the rows of before.
func (p *progress) rate(e *progressEvent) {
	if p.started.IsZero() {
		p.begun, p.started = e.Rows, e.At
	}
	if e.State == string(move.Copying) {
		e.RowsTotal = p.total
	}
	if lasting := e.At.Sub(p.started).Seconds(); lasting > 0 && e.Rows > p.begun {
		e.Rate = float64(e.Rows-p.begun) / lasting
		if e.RowsTotal > e.Rows {
			e.ToGo = float64(e.RowsTotal-e.Rows) / e.Rate
		}
	}
}

// say tells what is always told.
func (p *progress) say(e progressEvent) {
	if p.app.json() {
		p.encode(e)
		return
	}
	p.clear()
	took, note := "", ""
	if n := len(p.visits); e.Entered && n > 1 {
		took = fmt.Sprintf(" (%s took %s)", p.visits[n-2].State, p.visits[n-2].Took.Round(time.Millisecond))
	}
	if e.Note != "" {
		note = ": " + plain(e.Note)
	}
	fmt.Fprintf(p.app.errOut, "%s  %-11s%s%s\n", e.Move, e.State, note, took)
}

// between tells what is told now and then.
func (p *progress) between(e progressEvent) {
	every := lineEvery
	if p.app.json() {
		every = eventEvery
	}
	switch {
	case p.tty != nil:
		p.draw(e)
	case e.At.Sub(p.said) < every:
	case p.app.json():
		p.said = e.At
		p.encode(e)
	default:
		p.said = e.At
		fmt.Fprintf(p.app.errOut, "%s  %-11s%s\n", e.Move, e.State, e.words())
	}
}

// words are what a line between two states says.
func (e progressEvent) words() string {
	var words []string
	switch {
	case e.RowsTotal != 0:
		words = append(words, fmt.Sprintf("%d of about %d rows", e.Rows, max(e.Rows, e.RowsTotal)))
	case e.Rows != 0:
		words = append(words, fmt.Sprintf("%d rows", e.Rows))
	}
	if e.Rate != 0 {
		words = append(words, fmt.Sprintf("%.0f rows/s", e.Rate))
	}
	if e.ToGo != 0 {
		words = append(words, fmt.Sprintf("about %s to go", time.Duration(e.ToGo*float64(time.Second)).Round(time.Second)))
	}
	if e.Behind != 0 {
		words = append(words, fmt.Sprintf("%d transactions behind", e.Behind))
	}
	return strings.Join(words, ", ")
}

// draw draws the bar: one that fills where the end is known. The spinner turns with
// the events: its own goroutine would draw beside clear.
func (p *progress) draw(e progressEvent) {
	options := []progressbar.Option{progressbar.OptionSetWriter(p.tty), progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(barEvery), progressbar.OptionSetWidth(20), progressbar.OptionSetElapsedTime(true)}
	if p.bar == nil {
		if e.RowsTotal != 0 {
			p.bar = progressbar.NewOptions64(e.RowsTotal, append(options, progressbar.OptionSetPredictTime(false))...)
		} else {
			p.bar = progressbar.NewOptions64(-1, append(options, progressbar.OptionSpinnerType(14), progressbar.OptionSetSpinnerChangeInterval(0))...)
		}
	}
	p.bar.Describe(e.State + "  " + e.words())
	if e.RowsTotal == 0 {
		_ = p.bar.Add(0) // a terminal that is gone is no reason to stop
		return
	}
	if e.Rows >= p.bar.GetMax64() { // it was an estimate
		p.bar.ChangeMax64(e.Rows + 1)
	}
	_ = p.bar.Set64(e.Rows)
}

func (p *progress) encode(e progressEvent) { _ = json.NewEncoder(p.app.errOut).Encode(e) }

func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// end leaves the terminal clean and prints the passport. It may be called
// twice.
func (p *progress) end() {
	p.clear()
	n := len(p.visits)
	if p.ended || n < 2 {
		return
	}
	p.ended = true
	last := p.visits[n-1]
	stays := journal.Stays(p.visits[:n-1])
	if p.app.json() {
		p.encode(progressEvent{Event: "passport", Move: p.move, State: last.State, At: time.Now().UTC(), States: stayLines(stays)})
		return
	}
	fmt.Fprintf(p.app.errOut, "%s  passport: %s in all: %s\n", p.move, last.Entered.Sub(p.visits[0].Entered).Round(time.Millisecond), stayWords(stayLines(stays)))
}
