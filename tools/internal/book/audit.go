package book

import (
	"fmt"
	"slices"

	"drover/bucketmap"
)

// Rows is what one server holds.
type Rows struct {
	Entries map[string][]ID // by user: the ids of its writes
	Last    map[string]ID   // by user: what is in its register
	Writes  map[string]int  // by user: how often its register was written
	Tally   map[string]int  // by user: the same in another table
}

// Verdict is what is wrong; all of it must be empty.
type Verdict struct {
	Lost       []string // acknowledged and not there
	Duplicated []string // there more than once, or not asked for
	Stray      []string // rows where their bucket does not live
	Dual       []string // two owners
	Stale      []string // a write under an epoch that was over
	Wrong      []string // histories that no order explains
	Undecided  []string // histories that were not decided in time
}

// Green says whether nothing is wrong.
func (v *Verdict) Green() bool {
	return len(v.Lost)+len(v.Duplicated)+len(v.Stray)+len(v.Dual)+len(v.Stale)+len(v.Wrong)+len(v.Undecided) == 0
}

// Findings lists what is wrong, a line each.
func (v *Verdict) Findings() []string {
	var lines []string
	for _, class := range []struct {
		name     string
		findings []string
	}{{"lost", v.Lost}, {"duplicated", v.Duplicated}, {"stray", v.Stray}, {"dual owner", v.Dual}, {"stale epoch", v.Stale},
		{"not linearizable", v.Wrong}, {"undecided", v.Undecided}} {
		for _, f := range class.findings {
			lines = append(lines, class.name+": "+f)
		}
	}
	return lines
}

// Audit compares the book with the rows of all shards. home says where a user
// lives now; kept says whether the user's bucket may have rows elsewhere,
// because its move soaks.
func (b *Book) Audit(rows map[bucketmap.ShardName]*Rows, home func(user string) bucketmap.ShardName, kept func(user string) bool) *Verdict {
	v := &Verdict{}
	byUser := map[string][]*Entry{}
	for i := range b.mu.entries {
		if e := &b.mu.entries[i]; e.Kind == Write {
			byUser[e.User] = append(byUser[e.User], e)
		}
	}
	finals := map[string]ID{}
	for user, entries := range byUser {
		here := rows[home(user)]
		b.auditUser(v, user, entries, here)
		finals[user] = here.Last[user]
		for shard, r := range rows {
			if shard != home(user) && !kept(user) && (len(r.Entries[user]) != 0 || r.Writes[user] != 0 || r.Tally[user] != 0) {
				v.Stray = append(v.Stray, fmt.Sprintf("user %s: %d entries on %s, and it lives on %s", user, len(r.Entries[user]), shard, home(user)))
			}
		}
	}
	v.Dual, v.Stale = b.Owners()
	v.Wrong, v.Undecided = b.Linear(finals)
	for _, findings := range [][]string{v.Lost, v.Duplicated, v.Stray, v.Dual, v.Stale} {
		slices.Sort(findings)
	}
	return v
}

// auditUser compares one user's entries with the rows at its home.
func (b *Book) auditUser(v *Verdict, user string, entries []*Entry, here *Rows) {
	count := map[ID]int{}
	for _, id := range here.Entries[user] {
		count[id]++
	}
	for _, e := range entries {
		n := count[e.ID]
		delete(count, e.ID)
		switch {
		case n == 0 && e.Outcome == Acknowledged:
			v.Lost = append(v.Lost, fmt.Sprintf("user %s: write %d by %s, acknowledged on %s in epoch %d after %s", user, e.ID, e.Client, e.Shard, e.Epoch, e.Ended))
		case n > 1:
			v.Duplicated = append(v.Duplicated, fmt.Sprintf("user %s: write %d is there %d times", user, e.ID, n))
		case n == 1 && e.Outcome == Refused:
			v.Duplicated = append(v.Duplicated, fmt.Sprintf("user %s: write %d by %s was refused (%s) and is there", user, e.ID, e.Client, e.Err))
		}
	}
	for id := range count {
		v.Duplicated = append(v.Duplicated, fmt.Sprintf("user %s: write %d is there, and is nobody's", user, id))
	}
	for name, n := range map[string]int{"register": here.Writes[user], "tally": here.Tally[user]} {
		switch have := len(here.Entries[user]); {
		case n < have:
			v.Lost = append(v.Lost, fmt.Sprintf("user %s: %d entries, and its %s counts %d", user, have, name, n))
		case n > have:
			v.Duplicated = append(v.Duplicated, fmt.Sprintf("user %s: %d entries, and its %s counts %d", user, have, name, n))
		}
	}
}
