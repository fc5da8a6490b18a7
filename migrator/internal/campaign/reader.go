package campaign

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// journalMax bounds the lines in a status: a page of a console.
	journalMax = 100
	// progressMax bounds the points: more than a chart has columns.
	progressMax = 1000
	// forecastShare is how many times as long as a forecast took passes before a
	// Reader makes another one: that of 50,000 steps takes as long as ten looks.
	forecastShare = 10
)

// Reader says how the campaign in a folder is getting on, look by look. The first
// look reads plan and journal; each other one reads what is new in the journal, for
// as long as the folder has the same campaign and the same files. The forecast of a
// long plan may be some seconds old. A Reader is used by one goroutine at a time.
type Reader struct {
	dir  string
	past *past // nil: nothing was read, or what was read does not count
}

// NewReader returns a Reader of the campaign in dir, also while there is none.
func NewReader(dir string) *Reader { return &Reader{dir: dir} }

// Read says how the campaign in dir is getting on, by one look. The error is ErrNone
// where there is none.
func Read(dir string, now time.Time) (Status, error) { return NewReader(dir).Read(now) }

// Read takes a look. The error is ErrNone where there is no campaign.
func (r *Reader) Read(now time.Time) (Status, error) {
	folder, err := current(r.dir)
	if err != nil {
		return Status{}, err
	}
	if err := r.catchUp(folder); err != nil {
		r.past = nil
		return Status{}, err
	}
	p := r.past
	out := Status{Campaign: folderID(folder), At: now, Live: live(folder), Journal: slices.Clone(p.entries[max(0, len(p.entries)-journalMax):])}
	if out.Moved = slices.Clone(p.moved); len(out.Moved) > progressMax {
		out.Moved = thin(out.Moved)
	}
	if !p.state.begun.IsZero() {
		out.Looked = looked(folder)
	}
	out.fill(p.state)
	return out, p.foresee(&out)
}

// past is what was read of a campaign.
type past struct {
	*journal
	planFile, journalFile fs.FileInfo // as they were before they were read

	entries []Entry // the last ones
	moved   []Point
	users   uint64 // who have moved
	counted map[StepID]bool

	foreseen struct {
		at, end time.Time
		took    time.Duration
	}
}

// catchUp reads what is new, and everything where the files are others. They are
// looked at before they are read: what comes meanwhile is seen by the next look.
func (r *Reader) catchUp(folder string) error {
	plan, err := os.Stat(filepath.Join(folder, planName))
	if err != nil {
		return fmt.Errorf("campaign: %w", err)
	}
	lines, err := os.Stat(filepath.Join(folder, journalName))
	if err != nil {
		return fmt.Errorf("campaign's journal: %w", err)
	}
	if p := r.past; p != nil && p.dir == folder && os.SameFile(p.planFile, plan) && p.planFile.Size() == plan.Size() &&
		p.planFile.ModTime().Equal(plan.ModTime()) && os.SameFile(p.journalFile, lines) && lines.Size() >= p.offset {
		return p.read()
	}
	p := &past{planFile: plan, journalFile: lines, entries: []Entry{}, moved: []Point{}, counted: map[StepID]bool{}}
	r.past = p
	p.journal, err = openJournal(folder, p.take)
	return err
}

// take keeps of a line what a status has.
func (p *past) take(s *State, e Entry) {
	if p.entries = append(p.entries, e); len(p.entries) >= 2*journalMax {
		p.entries = slices.Clone(p.entries[journalMax:])
	}
	switch {
	case e.Kind == EntryStep && !s.plan.counts(s.byID[e.Step].plan.Kind()):
		return
	case e.Kind == EntryStep && e.State == Baking && !p.counted[e.Step]:
		p.counted[e.Step] = true
		p.users += e.Users
	case e.Kind == EntryStep && e.State == Returned && p.counted[e.Step]:
		p.counted[e.Step] = false
		p.users -= e.Users
	default:
		return
	}
	if p.moved = append(p.moved, Point{e.At, p.users}); len(p.moved) > 2*progressMax {
		p.moved = thin(p.moved)
	}
}

// thin leaves every second point out, and the last one in.
func thin(points []Point) []Point {
	few := points[:0:0]
	for i := len(points) - 1; i >= 0; i -= 2 {
		few = append(few, points[i])
	}
	slices.Reverse(few)
	return few
}

// foresee adds the forecast to a status.
func (p *past) foresee(out *Status) error {
	switch out.Phase {
	case PhaseDone, PhaseAborted, PhaseReturning:
		return nil
	default:
	}
	f := &p.foreseen
	if age := out.At.Sub(f.at); f.at.IsZero() || age < 0 || age >= forecastShare*f.took {
		began := time.Now()
		end, err := forecast(p.state, out.At)
		if err != nil {
			return errors.Join(err, errors.New("the forecast"))
		}
		f.at, f.end, f.took = out.At, end, time.Since(began)
	}
	out.Left = f.end.Sub(f.at)
	if out.Live && out.Phase == PhaseMoving || out.Phase == PhaseHeld && out.Decision.Cause == CauseQuiet {
		out.End, out.Left = f.end, max(0, f.end.Sub(out.At))
	}
	return nil
}
