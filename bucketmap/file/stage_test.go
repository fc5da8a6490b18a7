package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

func stage(t testing.TB, s *Store, next *bucketmap.Snapshot, why string) bucketmap.Staged {
	t.Helper()
	st, err := s.Stage(t.Context(), next, bucketmap.Change{Who: "ann", Why: why})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func wantConflict(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, bucketmap.ErrConflict) {
		t.Errorf("error %v, want a conflict", err)
	}
}

// two returns a folder with a map of version 2, and its store.
func two(t *testing.T) (*Store, *bucketmap.Snapshot) {
	t.Helper()
	s := quick(t, t.TempDir())
	first := storetest.First(t)
	publish(t, s, first)
	second := with(t, first, "emp-2")
	publish(t, s, second)
	return s, second
}

func TestACommitIsFiveOperationsAndOneSync(t *testing.T) {
	s, second := two(t)
	third := with(t, second, "emp-3")
	st := stage(t, s, third, "staged")
	sys := &faulty{at: -1}
	s.sys = sys
	must(t, st.Commit(t.Context()))
	want := []string{"delta.rename", "content.rename", "map.rename", "map.syncdir", "final.rename"}
	if !slices.Equal(sys.calls, want) {
		t.Errorf("operations %v, want %v", sys.calls, want)
	}
	checkHistory(t, "committed", s, second, third)
}

func TestAWatchHasNothingToReportBeforeTheCommitAndTheDeltaAfter(t *testing.T) {
	s, second := two(t)
	third := with(t, second, "emp-3")
	w, calls := watchOf(s, second)
	w.reported = s.read().key()
	st := stage(t, s, third, "staged")
	if w.look(false) || len(*calls) != 0 {
		t.Fatalf("reported %+v of what is staged", *calls)
	}
	must(t, st.Commit(t.Context()))
	content := s.historyPath(3, contentSuffix)
	must(t, os.Rename(content, content+"-away"))
	if w.look(false) || len(*calls) != 1 || !(*calls)[0].snapshot.Equal(third) {
		t.Fatalf("reported %+v, want version 3 by its delta", *calls)
	}
	must(t, os.Rename(content+"-away", content))
	publish(t, s, with(t, third, "emp-4"))
}

func TestAnEditByHandAfterTheStagingIsAConflict(t *testing.T) {
	for what, edit := range map[string]func(*Store, *bucketmap.Snapshot) string{
		"a comment":                  func(_ *Store, now *bucketmap.Snapshot) string { return encode(t, now) + "# by hand\n" },
		"the next version":           func(_ *Store, now *bucketmap.Snapshot) string { return encode(t, with(t, now, "by-hand")) },
		"the version that is staged": func(_ *Store, now *bucketmap.Snapshot) string { return encode(t, with(t, now, "emp-3")) },
	} {
		t.Run(what, func(t *testing.T) {
			s, second := two(t)
			third := with(t, second, "emp-3")
			st := stage(t, s, third, "staged")
			writeMap(t, s.dir, edit(s, second))
			wantConflict(t, st.Commit(t.Context()))
			now, err := s.Load(t.Context())
			must(t, err)
			last := with(t, now, "last")
			publish(t, s, last)
			checkHistory(t, what, s, second, now, last)
		})
	}
}

func TestAnEditByHandIsNotSaidToBeTheStagers(t *testing.T) {
	s, second := two(t)
	st := stage(t, s, with(t, second, "emp-3"), "staged")
	edited := with(t, second, "by-hand")
	writeMap(t, s.dir, encode(t, edited))
	for _, settled := range []bool{false, true} {
		records, err := s.History(t.Context())
		must(t, err)
		i := slices.IndexFunc(records, func(r bucketmap.Record) bool { return r.Version == 3 })
		if i < 0 || records[i].Who != "unknown" {
			t.Errorf("settled %v: history %+v", settled, records)
		}
		if !settled {
			publish(t, s, with(t, edited, "emp-4"))
		}
	}
	wantConflict(t, st.Commit(t.Context()))
}

// The map was put back by hand to what it was when the third was staged.
func TestAVersionOfTheHistoryIsNotCommittedAgain(t *testing.T) {
	s, second := two(t)
	text, err := os.ReadFile(s.mapPath())
	must(t, err)
	st := stage(t, s, with(t, second, "emp-3"), "staged")
	publish(t, s, with(t, second, "another"))
	writeMap(t, s.dir, string(text))
	wantConflict(t, st.Commit(t.Context()))
	if err := s.Publish(t.Context(), with(t, second, "emp-3"), bucketmap.Change{}); !errors.Is(err, ErrEdited) {
		t.Errorf("publish: %v, want ErrEdited", err)
	}
}

func TestWhatWasClearedAwayIsAConflict(t *testing.T) {
	for _, suffix := range []string{finalSuffix, contentSuffix, newMapSuffix} {
		s, second := two(t)
		third := with(t, second, "emp-3")
		st := stage(t, s, third, "staged")
		for _, name := range s.stagedNames() {
			if strings.HasSuffix(name, suffix) {
				must(t, os.Remove(filepath.Join(s.stagedDir(), name)))
			}
		}
		wantConflict(t, st.Commit(t.Context()))
		if left := s.stagedNames(); len(left) != 0 {
			t.Errorf("without %s: there is still %v", suffix, left)
		}
		checkHistory(t, "cleared away", s, second)
		publish(t, s, with(t, second, "another"))
	}
}

func TestDeadStagersLeaveABoundedNumberOfFiles(t *testing.T) {
	s, second := two(t)
	first := stage(t, s, with(t, second, "first"), "staged")
	for i := range stagedFilesMax / 4 {
		stage(t, s, with(t, second, fmt.Sprint("never-", i)), "staged")
	}
	if n := len(s.stagedNames()); n > stagedFilesMax {
		t.Errorf("%d files", n)
	}
	third := with(t, second, "emp-3")
	st := stage(t, s, third, "staged")
	wantConflict(t, first.Commit(t.Context()))
	must(t, st.Commit(t.Context()))
	publish(t, s, with(t, third, "emp-4"))
	if left := s.stagedNames(); len(left) != 0 {
		t.Errorf("there is still %v", left)
	}
}

// No version syncs its own record's last place: the next one does.
func TestALossOfPowerAfterManyVersionsLosesNoRecord(t *testing.T) {
	for what, f := range ways {
		s := quick(t, t.TempDir())
		sys := &faulty{at: -1}
		s.sys = sys
		maps := []*bucketmap.Snapshot{storetest.First(t)}
		must(t, f(t, s, maps[0]))
		for i := range 4 {
			maps = append(maps, with(t, maps[i], fmt.Sprint(i)))
			must(t, f(t, s, maps[i+1]))
		}
		sys.lose(t, loseRenames)
		after := quick(t, s.dir)
		checkHistory(t, what, after, maps...)
		records, err := after.History(t.Context())
		must(t, err)
		for _, r := range records {
			if r.Who != "ann" {
				t.Errorf("%s: record %+v", what, r)
			}
		}
		publish(t, after, with(t, maps[4], "last"))
		checkHistory(t, what, after, append(maps, with(t, maps[4], "last"))...)
	}
}

// A file system can keep the record's rename and lose the content's.
func TestAContentThatIsLostIsWrittenAgain(t *testing.T) {
	for what, spoil := range map[string]func(path string) error{
		"gone":    os.Remove,
		"another": func(path string) error { return os.WriteFile(path, []byte("version: 2\n"), 0o600) },
	} {
		s, second := two(t)
		must(t, spoil(s.historyPath(2, contentSuffix)))
		third := with(t, second, "emp-3")
		st := stage(t, quick(t, s.dir), third, "staged")
		must(t, st.Commit(t.Context()))
		checkHistory(t, what, s, second, third)
	}
}

func TestTheHighestVersionIsKnownWhoeverPublishes(t *testing.T) {
	s, second := two(t)
	other := quick(t, s.dir)
	now := second
	for i := range 6 {
		now = with(t, now, fmt.Sprint(i))
		publish(t, []*Store{s, other}[i/2%2], now)
		for _, store := range []*Store{s, other} {
			if highest, err := store.highestFinal(); err != nil || highest != now.Version() {
				t.Fatalf("highest %d, %v, want %d", highest, err, now.Version())
			}
		}
	}
	// Somebody jumps, and goes on: the store that did not see it must.
	d := now.Edit()
	d.Version = 50
	publish(t, other, with(t, handEdit(t, s.dir, d), "after the jump"))
	writeMap(t, s.dir, encode(t, now))
	if err := s.Publish(t.Context(), with(t, now, "again"), bucketmap.Change{}); !errors.Is(err, ErrEdited) {
		t.Errorf("published upon a map that was set back: %v", err)
	}
}

// stopped is a disk that runs something before the new map is written.
type stopped struct {
	faulty
	meanwhile func()
}

func (s *stopped) create(name, path string, mode fs.FileMode) (*os.File, error) {
	if name == "map.create" && s.meanwhile != nil {
		meanwhile := s.meanwhile
		s.meanwhile = nil
		meanwhile()
	}
	return s.faulty.create(name, path, mode)
}

func TestACommitWaitsForNoPublicationUnderWay(t *testing.T) {
	s, second := two(t)
	third := with(t, second, "emp-3")
	st := stage(t, s, third, "staged")
	slow := open(t, s.dir, Options{})
	slow.sys = &stopped{faulty: faulty{at: -1}, meanwhile: func() { must(t, st.Commit(t.Context())) }}
	wantConflict(t, slow.Publish(t.Context(), with(t, second, "slow"), bucketmap.Change{}))
	checkHistory(t, "committed meanwhile", s, second, third)
	publish(t, slow, with(t, third, "slow"))
}

func TestACommitAfterCloseDoesNothing(t *testing.T) {
	s, second := two(t)
	st := stage(t, s, with(t, second, "emp-3"), "staged")
	must(t, s.Close())
	if err := st.Commit(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
	checkHistory(t, "closed", quick(t, s.dir), second)
}

func TestAStagingThatFailsLeavesNothing(t *testing.T) {
	s, second := two(t)
	sys := &faulty{at: -1}
	s.sys = sys
	st := stage(t, s, with(t, second, "emp-3"), "staged")
	calls := slices.Clone(sys.calls)
	must(t, st.Discard(t.Context()))
	for at, name := range calls {
		s.sys = &faulty{at: at, mishap: diskFull}
		st, err := s.Stage(t.Context(), with(t, second, "emp-3"), bucketmap.Change{})
		if err == nil {
			must(t, st.Discard(t.Context())) // the delta, which nobody needs
		}
		if left := s.stagedNames(); len(left) != 0 {
			t.Errorf("%s failed: there is still %v", name, left)
		}
	}
}
