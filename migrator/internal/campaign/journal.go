package campaign

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

const (
	journalName = "journal.jsonl"
	lockName    = "journal.lock"
	planName    = "plan.yaml"
	runLockName = "run.lock"
	currentName = "current"
	// lineMax bounds a line: figuresMax figures, and the steps of a return of
	// 50,000 steps.
	lineMax = 2 << 20
	// lockMax bounds the wait for the journal's lock: who has it writes one line.
	lockMax = 5 * time.Second
	// lockEvery is how often the lock is tried for.
	lockEvery = 5 * time.Millisecond
)

// ErrNone says that there is no campaign.
var ErrNone = errors.New("there is no campaign")

// journal is a campaign's folder, as one process sees it. It is not safe for
// concurrent use.
type journal struct {
	dir    string
	state  *State
	offset int64 // of what has been read
	lines  func(Entry)
}

// openJournal reads the plan and the journal in a campaign's folder. each, if
// not nil, is told of every line, and of the state that it leads to.
func openJournal(dir string, each func(*State, Entry)) (*journal, error) {
	text, err := os.ReadFile(filepath.Join(dir, planName))
	if err != nil {
		return nil, fmt.Errorf("campaign: %w", err)
	}
	plan, err := DecodePlan(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, planName), err)
	}
	digest := textDigest(text)
	j := &journal{dir: dir, state: newState(plan)}
	var changed error
	j.lines = func(e Entry) {
		if e.Kind == EntryApplied && e.Plan != digest {
			changed = fmt.Errorf("%w: %s was changed after the campaign began: put it back, or abort the campaign and apply a new plan",
				ErrJournal, filepath.Join(dir, planName))
		}
		if each != nil {
			each(j.state, e)
		}
	}
	return j, errors.Join(j.read(), changed)
}

// read takes the lines that came since the last time. A line counts once its
// newline is there.
func (j *journal) read() error {
	f, err := os.Open(filepath.Join(j.dir, journalName))
	if err != nil {
		return fmt.Errorf("campaign's journal: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(j.offset, io.SeekStart); err != nil {
		return fmt.Errorf("campaign's journal: %w", err)
	}
	lines := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // what is left is being written, or was when somebody died
		}
		if err != nil {
			return fmt.Errorf("campaign's journal: %w", err)
		}
		if len(line) > lineMax {
			return fmt.Errorf("%w: a line of %d bytes at %d", ErrJournal, len(line), j.offset)
		}
		var e Entry
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&e); err != nil {
			return fmt.Errorf("%w: %s at byte %d: %w; a newer migrator may have written it", ErrJournal, filepath.Join(j.dir, journalName), j.offset, err)
		}
		if err := j.state.take(e); err != nil {
			return err
		}
		j.offset += int64(len(line))
		j.lines(e)
	}
}

// locked calls f with the journal's lock, and everything read.
func (j *journal) locked(ctx context.Context, f func() error) error {
	unlock, err := lockFile(ctx, filepath.Join(j.dir, lockName))
	if err != nil {
		return err
	}
	defer unlock()
	if err := j.read(); err != nil {
		return err
	}
	return f()
}

func lockFile(ctx context.Context, path string) (func(), error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockMax)
	defer cancel()
	lock := flock.New(path)
	if ok, err := lock.TryLockContext(ctx, lockEvery); err != nil || !ok {
		return nil, fmt.Errorf("lock %s: %w; another process has had it for %s", path, err, lockMax)
	}
	return func() { _ = lock.Unlock() }, nil
}

// append writes lines, after those that others have written. check, if not nil,
// may refuse, or fill the line in, once everything is read.
func (j *journal) append(ctx context.Context, e *Entry, check func() error) error {
	return j.locked(ctx, func() error {
		if check != nil {
			if err := check(); err != nil {
				return err
			}
		}
		e.Seq = j.state.seq + 1
		if e.At = e.At.UTC().Round(0); e.At.Before(j.state.at) {
			e.At = j.state.at // a clock that was set back must not undo what was paid
		}
		return j.write(e)
	})
}

// write adds a line. A rest that somebody left who died goes first.
func (j *journal) write(e *Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("campaign's journal: %w", err)
	}
	if len(line) >= lineMax {
		return fmt.Errorf("campaign's journal: a line of %d bytes: want less than %d", len(line), lineMax)
	}
	f, err := os.OpenFile(filepath.Join(j.dir, journalName), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("campaign's journal: %w", err)
	}
	if err = f.Truncate(j.offset); err == nil {
		_, err = f.WriteAt(append(line, '\n'), j.offset)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("campaign's journal: %w; what is in force is what campaign status says", err)
	}
	return j.read()
}
