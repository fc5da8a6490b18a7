package ledger

import (
	"cmp"
	"fmt"
	"slices"
)

// Book is what the databases have of one user, at the user's home.
type Book struct {
	Writes  map[string]Applied // by request id
	Days    map[string]Sum     // by date
	Profile *Sum               // nil: there is none
}

// Applied is a write that was applied.
type Applied struct {
	Date  string
	Steps int64
}

// Kind is what is wrong with a write.
type Kind string

// The kinds of findings.
const (
	Lost       Kind = "lost"       // acknowledged, and not there
	Duplicated Kind = "duplicated" // there, and more often than asked for
)

// Finding is one thing that the databases have wrong.
type Finding struct {
	Kind  Kind
	User  User
	Count int64 // of writes
	What  string

	key string
}

// Audit is one comparison of a ledger with the databases.
type Audit struct {
	Acknowledged int64
	// Unknown are the writes that were never acknowledged: they may be there
	// or not.
	Unknown  int64
	Findings []Finding
}

// Count returns how many writes have something wrong.
func (a Audit) Count(kind Kind) (n int64) {
	for _, f := range a.Findings {
		if f.Kind == kind {
			n += f.Count
		}
	}
	return n
}

// Since returns the findings that an earlier audit did not have, those that
// have grown with the difference alone.
func (a Audit) Since(earlier Audit) Audit {
	seen := map[string]int64{}
	for _, f := range earlier.Findings {
		seen[f.key] = f.Count
	}
	fresh := Audit{Acknowledged: a.Acknowledged - earlier.Acknowledged, Unknown: a.Unknown - earlier.Unknown}
	for _, f := range a.Findings {
		if f.Count -= seen[f.key]; f.Count > 0 {
			fresh.Findings = append(fresh.Findings, f)
		}
	}
	return fresh
}

// Audit compares every user's page with the user's book; a missing book is an
// empty one. Nothing may be under way meanwhile.
//
// A write is judged by its own row first. The sums are then compared with the
// rows that are there, not with the ledger, so that a write that is missing
// altogether is found once, not three times.
func (l *Ledger) Audit(books map[User]*Book) Audit {
	var audit Audit
	for i := range l.accounts {
		user := User(i + 1)
		book := books[user]
		if book == nil {
			book = &Book{}
		}
		l.auditUser(&audit, user, book)
	}
	return audit
}

func (l *Ledger) auditUser(audit *Audit, user User, book *Book) {
	a := l.account(user)
	a.mu.Lock()
	defer a.mu.Unlock()
	find := func(kind Kind, count int64, key, format string, args ...any) {
		audit.Findings = append(audit.Findings, Finding{Kind: kind, User: user, Count: count,
			What: fmt.Sprintf(format, args...), key: fmt.Sprintf("%d %s", user, key)})
	}
	asked := make(map[string]bool, len(a.writes))
	for _, w := range a.writes {
		asked[w.ID] = true
		applied, there := book.Writes[w.ID]
		same := there && applied == Applied{Date: l.days[w.Day], Steps: w.Steps}
		if w.acknowledged {
			audit.Acknowledged++
		} else {
			audit.Unknown++
		}
		switch {
		case there && !same:
			find(Lost, 1, w.ID, "write %s of %d steps on %s became %d steps on %s", w.ID, w.Steps, l.days[w.Day], applied.Steps, applied.Date)
		case w.acknowledged && !there:
			find(Lost, 1, w.ID, "write %s of %d steps, sent by %s, acknowledged by %s at %s, is not there",
				w.ID, w.Steps, w.By, w.At, w.When.Format("15:04:05.000"))
		}
	}
	days, lifetime := map[string]Sum{}, Sum{}
	for id, applied := range book.Writes {
		if !asked[id] {
			find(Duplicated, 1, id, "write %s of %d steps was never asked for", id, applied.Steps)
		}
		day := days[applied.Date]
		day.add(applied.Steps)
		days[applied.Date] = day
		lifetime.add(applied.Steps)
	}
	for date := range book.Days {
		if _, ok := days[date]; !ok {
			days[date] = Sum{}
		}
	}
	for date, want := range days {
		compare(find, "the day "+date, book.Days[date], want)
	}
	if book.Profile == nil {
		find(Lost, 1, "profile", "the profile is not there")
		return
	}
	compare(find, "the profile", *book.Profile, lifetime)
}

// compare finds a sum that does not go with the writes that it is the sum of.
func compare(find func(Kind, int64, string, string, ...any), what string, got, want Sum) {
	kind, writes := Lost, want.Writes-got.Writes
	if got.Writes > want.Writes || got.Writes == want.Writes && got.Steps > want.Steps {
		kind, writes = Duplicated, -writes
	}
	if got != want {
		find(kind, max(writes, 1), what, "%s has %s, and the writes in it make %s", what, got, want)
	}
}

// Sorted returns the findings by user, for a list that is the same every time.
func (a Audit) Sorted() []Finding {
	return slices.SortedFunc(slices.Values(a.Findings), func(x, y Finding) int {
		return cmp.Or(cmp.Compare(x.User, y.User), cmp.Compare(x.key, y.key))
	})
}
