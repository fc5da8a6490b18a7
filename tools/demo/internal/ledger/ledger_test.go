package ledger

import (
	"strings"
	"testing"
)

const (
	monday  = "2026-11-16"
	tuesday = "2026-11-17"
)

func newLedger() *Ledger { return New(3, []string{monday, tuesday}) }

// wrote enters an acknowledged write.
func wrote(l *Ledger, user User, day Day, id string, steps int64) *Write {
	w := &Write{User: user, Day: day, ID: id, Steps: steps, By: "a test"}
	l.Ask(w)
	l.Acknowledge(w, "legacy-1")
	return w
}

// truth are the books of databases that did as they said.
func truth(l *Ledger) map[User]*Book {
	books := map[User]*Book{}
	for i := range l.accounts {
		book := &Book{Writes: map[string]Applied{}, Days: map[string]Sum{}, Profile: &Sum{}}
		for _, w := range l.accounts[i].writes {
			if !w.acknowledged {
				continue
			}
			date := l.days[w.Day]
			book.Writes[w.ID] = Applied{Date: date, Steps: w.Steps}
			day := book.Days[date]
			day.add(w.Steps)
			book.Days[date] = day
			book.Profile.add(w.Steps)
		}
		books[User(i+1)] = book
	}
	return books
}

func wantCounts(t *testing.T, a Audit, lost, duplicated int64) {
	t.Helper()
	if a.Count(Lost) != lost || a.Count(Duplicated) != duplicated {
		t.Errorf("%d lost, %d duplicated; want %d and %d: %+v", a.Count(Lost), a.Count(Duplicated), lost, duplicated, a.Findings)
	}
}

func TestTruthfulDatabasesPass(t *testing.T) {
	l := newLedger()
	wrote(l, 1, 0, "a", 100)
	wrote(l, 1, 0, "b", 20)
	wrote(l, 1, 1, "c", 3)
	wrote(l, 2, 1, "d", 4)
	a := l.Audit(truth(l))
	wantCounts(t, a, 0, 0)
	if a.Acknowledged != 4 || a.Unknown != 0 {
		t.Errorf("%d acknowledged and %d unknown; want 4 and 0", a.Acknowledged, a.Unknown)
	}
}

func TestLostWriteIsFoundOnce(t *testing.T) {
	l := newLedger()
	wrote(l, 1, 0, "a", 100)
	lost := wrote(l, 1, 0, "b", 20)
	books := truth(l)
	delete(books[1].Writes, lost.ID)
	books[1].Days[monday], *books[1].Profile = Sum{1, 100}, Sum{1, 100}
	a := l.Audit(books)
	wantCounts(t, a, 1, 0)
	if !strings.Contains(a.Findings[0].What, "write b of 20 steps") || a.Findings[0].User != 1 {
		t.Errorf("%+v does not name the write", a.Findings[0])
	}
}

func TestWriteLostFromASumAloneIsFound(t *testing.T) {
	for name, change := range map[string]func(*Book){
		"day":           func(b *Book) { b.Days[monday] = Sum{1, 100} },
		"day's row":     func(b *Book) { delete(b.Days, monday) },
		"profile":       func(b *Book) { *b.Profile = Sum{1, 100} },
		"profile's row": func(b *Book) { b.Profile = nil },
		"steps alone":   func(b *Book) { b.Days[monday] = Sum{2, 119} },
		"changed":       func(b *Book) { b.Writes["b"] = Applied{Date: tuesday, Steps: 20} },
	} {
		l := newLedger()
		wrote(l, 1, 0, "a", 100)
		wrote(l, 1, 0, "b", 20)
		books := truth(l)
		change(books[1])
		if a := l.Audit(books); a.Count(Lost) == 0 {
			t.Errorf("%s: nothing is lost: %+v", name, a.Findings)
		}
	}
}

func TestMissingBookLosesEverything(t *testing.T) {
	l := newLedger()
	wrote(l, 2, 0, "a", 100)
	books := truth(l)
	delete(books, 2)
	wantCounts(t, l.Audit(books), 2, 0) // the write and the profile
}

func TestDuplicatedWriteIsFound(t *testing.T) {
	l := newLedger()
	wrote(l, 1, 0, "a", 100)
	books := truth(l)
	books[1].Days[monday] = Sum{2, 200}
	wantCounts(t, l.Audit(books), 0, 1)
	*books[1].Profile = Sum{3, 300}
	wantCounts(t, l.Audit(books), 0, 3)
}

func TestWriteThatNobodyAskedForIsFound(t *testing.T) {
	l := newLedger()
	books := truth(l)
	books[1].Writes["ghost"] = Applied{Date: monday, Steps: 7}
	books[1].Days[monday], *books[1].Profile = Sum{1, 7}, Sum{1, 7}
	wantCounts(t, l.Audit(books), 0, 1)
}

func TestUnknownWriteMayBeThereOrNot(t *testing.T) {
	l := newLedger()
	wrote(l, 1, 0, "a", 100)
	l.Ask(&Write{User: 1, Day: 0, ID: "b", Steps: 20})
	books := truth(l)
	a := l.Audit(books)
	wantCounts(t, a, 0, 0)
	if a.Unknown != 1 {
		t.Errorf("%d unknown; want 1", a.Unknown)
	}
	books[1].Writes["b"] = Applied{Date: monday, Steps: 20}
	books[1].Days[monday], *books[1].Profile = Sum{2, 120}, Sum{2, 120}
	wantCounts(t, l.Audit(books), 0, 0)
}

func TestSinceTellsNewFindingsAlone(t *testing.T) {
	l := newLedger()
	wrote(l, 1, 0, "a", 100)
	books := truth(l)
	books[1].Days[monday] = Sum{2, 200}
	earlier := l.Audit(books)
	wantCounts(t, l.Audit(books).Since(earlier), 0, 0)
	books[1].Days[monday] = Sum{4, 400}
	delete(books[1].Writes, "a")
	a := l.Audit(books).Since(earlier)
	if a.Count(Lost) != 1 || a.Count(Duplicated) < 2 {
		t.Errorf("%+v; want the lost write and the new duplicates", a.Findings)
	}
}

func TestReadMustShowWhatWasAcknowledgedBeforeIt(t *testing.T) {
	l := newLedger()
	wrote(l, 1, 0, "a", 100)
	floor := l.Floor(1, 0)
	under := &Write{User: 1, Day: 0, ID: "b", Steps: 20}
	l.Ask(under)
	ceiling := l.Ceiling(1, 0)
	for got, fine := range map[Sum]bool{
		{1, 100}: true,  // the second is not there yet
		{2, 120}: true,  // it is there already
		{0, 0}:   false, // stale
		{1, 99}:  false, // stale
		{3, 220}: false, // the first twice
		{2, 121}: false, // steps from nowhere
	} {
		if problem := Check(floor, got, ceiling); (problem == "") != fine {
			t.Errorf("%v: %q", got, problem)
		}
	}
	l.Acknowledge(under, "cloud-1")
	if problem := Check(l.Floor(1, 0), Sum{1, 100}, l.Ceiling(1, 0)); !strings.HasPrefix(problem, "stale") {
		t.Errorf("an old read after the acknowledgement: %q", problem)
	}
	if floor := l.Floor(1, Lifetime); floor != (Sum{2, 120}) {
		t.Errorf("the lifetime's floor is %v", floor)
	}
	if floor := l.Floor(1, 1); floor != (Sum{}) {
		t.Errorf("another day's floor is %v", floor)
	}
}

func TestAcknowledgingTwiceCountsOnce(t *testing.T) {
	l := newLedger()
	w := wrote(l, 1, 0, "a", 100)
	l.Acknowledge(w, "cloud-1")
	if floor := l.Floor(1, 0); floor != (Sum{1, 100}) {
		t.Errorf("the floor is %v", floor)
	}
}
