package campaign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/move"
)

func TestEachLookOfAReaderSaysWhatOneThatBeginsAnewSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.takes = 3 * time.Second
		dir := f.apply(t, f.plan(t))
		ended := start(t.Context(), f.runner(nil), dir)
		reader, looks, phases := NewReader(dir), 0, map[Phase]bool{}
		same := func(Status) bool {
			synctest.Wait() // the run writes nothing in between
			anew := read(t, dir)
			again, err := reader.Read(anew.At)
			must(t, err)
			if !reflect.DeepEqual(again, anew) {
				t.Errorf("look %d:\n%+v\nand by one that begins anew\n%+v", looks, again, anew)
			}
			looks++
			phases[again.Phase] = true
			return anew.Phase == PhaseDone
		}
		reach(t, dir, "a few users on", func(s Status) bool { same(s); return s.Users.Moved > 12 })
		order(t, dir, Order{Command: Return, All: true})
		reach(t, dir, "stopped", func(s Status) bool { same(s); return s.Phase == PhaseStopped })
		order(t, dir, Order{Command: Resume})
		reach(t, dir, "done", same)
		must(t, <-ended)
		if looks < 100 || !phases[PhaseMoving] || !phases[PhaseReturning] {
			t.Errorf("%d looks, %v", looks, phases)
		}
	})
}

// overwritten writes over the beginning of a file and leaves it as old as it was.
func overwritten(t *testing.T, path string, by []byte) {
	t.Helper()
	was, err := os.Stat(path)
	must(t, err)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = file.WriteAt(by, 0)
	must(t, errors.Join(err, file.Close(), os.Chtimes(path, was.ModTime(), was.ModTime())))
}

func TestAReaderReadsWhatIsNewAloneAndEverythingWhereTheFilesAreOthers(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	dir := f.apply(t, f.plan(t))
	folder, err := current(dir)
	must(t, err)
	plan, lines := filepath.Join(folder, planName), filepath.Join(folder, journalName)
	text, err := os.ReadFile(plan)
	must(t, err)
	first, err := os.ReadFile(lines)
	must(t, err)
	reader := NewReader(dir)
	look := func() (Status, error) { return reader.Read(time.Now()) }
	_, err = look()
	must(t, err)

	// Whoever reads them again finds no plan, and no line.
	overwritten(t, plan, bytes.Repeat([]byte("{"), len(text)))
	overwritten(t, lines, bytes.Repeat([]byte("{"), len(first)-1))
	file, err := os.OpenFile(lines, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer file.Close()
	fmt.Fprintf(file, `{"seq":2,"at":"2026-11-22T10:00:00Z","kind":"command","command":"pause","who":"ann"}`+"\n"+`{"seq":3,"at"`)
	s, err := look()
	if err != nil || s.Phase != PhasePaused || len(s.Journal) != 2 {
		t.Fatalf("%s, %d lines: %v", s.Phase, len(s.Journal), err)
	}
	if _, err := Read(dir, time.Now()); !errors.Is(err, ErrPlan) {
		t.Errorf("one that begins anew: %v", err)
	}

	must(t, os.Chtimes(plan, time.Now(), time.Now()))
	if _, err := look(); !errors.Is(err, ErrPlan) {
		t.Errorf("the plan was changed: %v", err)
	}
	must(t, os.WriteFile(plan, text, 0o600))
	if _, err := look(); !errors.Is(err, ErrJournal) {
		t.Errorf("the journal has a line that is none: %v", err)
	}
	must(t, writeFile(folder, journalName, first))
	if s, err = look(); err != nil || s.Phase != PhaseReady || len(s.Journal) != 1 {
		t.Errorf("another journal: %s, %d lines: %v", s.Phase, len(s.Journal), err)
	}
	must(t, os.WriteFile(plan, append(text, "# a word\n"...), 0o600))
	if _, err := look(); !errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("another plan: %v", err)
	}
	must(t, os.WriteFile(plan, text, 0o600))
	_, err = look()
	must(t, err)

	other, err := current(f.apply(t, brief(f.plan(t))))
	must(t, err)
	must(t, os.CopyFS(filepath.Join(dir, folderID(other)), os.DirFS(other)))
	must(t, writeFile(dir, currentName, []byte(folderID(other)+"\n")))
	if s, err = look(); err != nil || s.Campaign != folderID(other) || len(s.Waves) != 3 {
		t.Errorf("another campaign: %s, %d waves: %v", s.Campaign, len(s.Waves), err)
	}
	must(t, os.Remove(filepath.Join(dir, currentName)))
	if _, err = look(); !errors.Is(err, ErrNone) {
		t.Errorf("none: %v", err)
	}
}

func TestALongForecastIsMadeAnewAfterTenTimesAsLongAsItTook(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	dir := f.apply(t, f.plan(t))
	reader, began := NewReader(dir), time.Now()
	first, err := reader.Read(began)
	must(t, err)
	reader.past.foreseen.took = time.Minute
	must(t, reader.past.append(t.Context(), &Entry{Kind: EntryCommand, Command: Rate, Rate: 100, At: began}, nil))
	for after, as := range map[time.Duration]bool{9 * time.Minute: true, 10 * time.Minute: false} {
		one := *reader.past
		reader := &Reader{dir, &one}
		s, err := reader.Read(began.Add(after))
		must(t, err)
		if (s.Left == first.Left) != as || s.Pace.Rate != 100 {
			t.Errorf("after %s: %s left, and at first %s", after, s.Left, first.Left)
		}
	}
}

const (
	longSteps = stepsMax
	longLines = 100_000
)

// longPlan has so many steps, in ten waves.
func longPlan(t testing.TB, steps int) (*Plan, []byte) {
	t.Helper()
	p := &Plan{Format: Format, To: "cloud", Default: DefaultAuto, Burning: PolicyReturn, Return: AtOnce,
		Pace: Pace{Start: 1000, Add: 100, Min: 10, Max: 100_000, Parallel: 1}}
	for w := range 10 {
		wave := Wave{Name: fmt.Sprintf("batches-%d", w), Kind: KindBuckets, Gate: Gate{Bake: time.Minute}}
		for i := range steps / 10 {
			wave.Steps = append(wave.Steps, Step{From: "alpha", To: "gamma", Users: 100, Takes: 10 * time.Second,
				Buckets: Ranges{move.Buckets{bucketmap.BucketID(w*steps/10 + i)}}})
		}
		p.Waves = append(p.Waves, wave)
	}
	text, err := EncodePlan(p)
	if err != nil {
		t.Fatal(err)
	}
	return p, text
}

func TestAStepOfALongPlanCostsNoMoreToReadThanOneOfAShortPlan(t *testing.T) { // alone: it counts what is allocated
	cost := func(steps int) uint64 {
		_, text := longPlan(t, steps)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := DecodePlan(text)
		runtime.ReadMemStats(&after)
		must(t, err)
		return (after.TotalAlloc - before.TotalAlloc) / uint64(steps)
	}
	if short, long := cost(100), cost(800); long > 2*short {
		t.Errorf("%d bytes a step, and %d with eight times as many steps", short, long)
	}
}

// longCampaign is a folder with a campaign of longSteps steps, of which two thirds are
// done: three lines a step.
func longCampaign(b *testing.B) string {
	b.Helper()
	p, text := longPlan(b, longSteps)
	var lines bytes.Buffer
	encoder, at, seq := json.NewEncoder(&lines), time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), uint64(0)
	put := func(e Entry) {
		seq++
		e.Seq, e.At = seq, at.Add(time.Duration(seq)*time.Second)
		if err := encoder.Encode(e); err != nil {
			b.Fatal(err)
		}
	}
	put(Entry{Kind: EntryApplied, Plan: textDigest(text)})
	put(Entry{Kind: EntryRun})
	for w := range p.Waves {
		for i := range p.Waves[w].Steps {
			for _, state := range []StepState{Running, Baking, Passed} {
				if seq < longLines {
					put(Entry{Kind: EntryStep, Step: stepID(p.Waves[w].Name, i), State: state, Users: 100})
				}
			}
		}
	}
	dir := b.TempDir()
	folder := filepath.Join(dir, "c-long")
	err := os.Mkdir(folder, 0o700)
	for path, content := range map[string][]byte{filepath.Join(dir, currentName): []byte("c-long\n"),
		filepath.Join(folder, planName): text, filepath.Join(folder, journalName): lines.Bytes()} {
		err = errors.Join(err, os.WriteFile(path, content, 0o600))
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("a plan of %d bytes, a journal of %d", len(text), lines.Len())
	return dir
}

// BenchmarkLook is a look at a long campaign: the first one, and one with another
// line in the journal.
func BenchmarkLook(b *testing.B) {
	dir := longCampaign(b)
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			if _, err := Read(dir, time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("next", func(b *testing.B) {
		reader := NewReader(dir)
		if _, err := reader.Read(time.Now()); err != nil {
			b.Fatal(err)
		}
		file, err := os.OpenFile(filepath.Join(dir, "c-long", journalName), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		for b.Loop() {
			e := Entry{Seq: reader.past.state.seq + 1, At: time.Now(), Kind: EntryCommand, Command: Rate, Rate: 1000}
			if err := json.NewEncoder(file).Encode(e); err != nil {
				b.Fatal(err)
			}
			if s, err := reader.Read(time.Now()); err != nil || s.Journal[len(s.Journal)-1].Seq != e.Seq {
				b.Fatal(len(s.Journal), err)
			}
		}
	})
}
