// Package ledger remembers what was asked of an application and what it
// acknowledged, and finds out whether the application told the truth.
//
// Who sends a write, in this order: (1) Ask, before it is sent the first time;
// (2) sends it, as often as need be with the same id; (3) Acknowledge, when an
// answer says that it was committed. Who reads: (1) takes the Floor before the
// request is sent; (2) sends it; (3) takes the Ceiling when the answer is
// here. The answer must lie between the two: every write that was acknowledged
// before the read began is in it, and nothing that was never asked for.
// Requests of one user may overlap: all sums only grow, so the two bounds hold
// whatever the order.
//
// Once nothing is under way, Audit compares the ledger with the databases.
//
// The package connects to nothing. Its methods may be called concurrently, but
// for Audit.
package ledger

import (
	"fmt"
	"sync"
	"time"
)

// User numbers a user, 1 to the ledger's count. The user id is the number in
// decimal.
type User int

// ID returns the user id.
func (u User) ID() string { return fmt.Sprint(int(u)) }

// Day numbers a day of the ledger, from 0.
type Day int

// Lifetime stands for all days together: what a profile shows.
const Lifetime Day = -1

// Sum is how many writes there were, and their steps together.
type Sum struct {
	Writes, Steps int64
}

func (s Sum) String() string { return fmt.Sprintf("%d steps of %d writes", s.Steps, s.Writes) }

// Write is one write and what is known of it.
type Write struct {
	User  User
	Day   Day
	ID    string // the request id
	Steps int64

	// By says who sent it, and At where it was acknowledged and when, for people.
	By, At string
	When   time.Time

	acknowledged bool
}

// Ledger is the book of all users.
type Ledger struct {
	days     []string // YYYY-MM-DD
	accounts []account
}

// account is one user's page.
type account struct {
	mu       sync.Mutex
	writes   []*Write // in the order of Ask
	days     []bounds
	lifetime bounds
}

// bounds are the least and the most that there can be of something.
type bounds struct {
	acknowledged, asked Sum
}

// New returns an empty ledger of users 1 to count.
func New(count int, days []string) *Ledger {
	l := &Ledger{days: days, accounts: make([]account, count)}
	for i := range l.accounts {
		l.accounts[i].days = make([]bounds, len(days))
	}
	return l
}

// Users returns the number of users.
func (l *Ledger) Users() int { return len(l.accounts) }

// Days returns the number of days.
func (l *Ledger) Days() int { return len(l.days) }

// Date returns the day as YYYY-MM-DD.
func (l *Ledger) Date(d Day) string { return l.days[d] }

func (l *Ledger) account(u User) *account { return &l.accounts[u-1] }

func (a *account) bounds(d Day) *bounds {
	if d == Lifetime {
		return &a.lifetime
	}
	return &a.days[d]
}

// Ask enters a write that is about to be sent.
func (l *Ledger) Ask(w *Write) {
	a := l.account(w.User)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writes = append(a.writes, w)
	for _, d := range []Day{w.Day, Lifetime} {
		a.bounds(d).asked.add(w.Steps)
	}
}

// Acknowledge says that a write is committed, as at answered just now.
func (l *Ledger) Acknowledge(w *Write, at string) {
	a := l.account(w.User)
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.acknowledged {
		return
	}
	w.acknowledged, w.At, w.When = true, at, time.Now()
	for _, d := range []Day{w.Day, Lifetime} {
		a.bounds(d).acknowledged.add(w.Steps)
	}
}

func (s *Sum) add(steps int64) {
	s.Writes++
	s.Steps += steps
}

// Floor returns the least that a read must show that is sent now.
func (l *Ledger) Floor(u User, d Day) Sum {
	a := l.account(u)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bounds(d).acknowledged
}

// Ceiling returns the most that an answer may show that is here now.
func (l *Ledger) Ceiling(u User, d Day) Sum {
	a := l.account(u)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bounds(d).asked
}

// Check says what is wrong with a read: "" when nothing is.
func Check(floor, got, ceiling Sum) string {
	switch {
	case got.Steps < floor.Steps || got.Writes < floor.Writes:
		return fmt.Sprintf("stale: it shows %s, and %s were acknowledged before it was sent", got, floor)
	case got.Steps > ceiling.Steps || got.Writes > ceiling.Writes:
		return fmt.Sprintf("too much: it shows %s, and only %s were ever asked for", got, ceiling)
	}
	return ""
}
