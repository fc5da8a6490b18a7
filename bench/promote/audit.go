package main

import (
	"fmt"
	"slices"
)

// book is what a server has of a user.
type book struct {
	requests map[string]uint32 // by request id: the server that wrote it
	sums     sums
}

// sums are the writes as the application has counted them, of one step each:
// the day's steps and requests, the profile's steps and updates.
type sums [4]int

// of are those that a user's writes are counted in: a direct one has no profile.
func (s *sums) of(user uint32) []int {
	if isDirect(user) {
		return s[:2]
	}
	return s[:]
}

// findingsMax bounds what is kept of each kind of finding, for people.
const findingsMax = 5

// verdict is what is wrong on a server.
type verdict struct {
	lost, doubled int
	findings      []string // the first few
}

func (v *verdict) find(format string, args ...any) {
	if len(v.findings) < findingsMax {
		v.findings = append(v.findings, fmt.Sprintf(format, args...))
	}
}

func (v *verdict) String() string { return fmt.Sprintf("lost %d, duplicated %d", v.lost, v.doubled) }

// audit compares what the writers were told with a server's books, by user id,
// and enters into each entry the server that took it. Each write counts one
// step, in the transaction of its row; so a write that is missing altogether is
// found three times, and counted once.
func audit(entries []entry, books map[string]*book) *verdict {
	v := &verdict{}
	byUser := map[string][]*entry{}
	for i := range entries {
		id := userID(entries[i].user)
		byUser[id] = append(byUser[id], &entries[i])
	}
	for id, b := range books {
		if byUser[id] == nil && (len(b.requests) != 0 || b.sums != sums{}) {
			v.doubled += max(1, len(b.requests), slices.Max(b.sums[:]))
			v.find("user %s: %d rows, sums %v, and nobody wrote", id, len(b.requests), b.sums)
		}
	}
	for id, written := range byUser {
		b := books[id]
		if b == nil {
			b = &book{}
		}
		auditUser(v, id, written, b)
	}
	slices.Sort(v.findings)
	return v
}

func auditUser(v *verdict, id string, written []*entry, b *book) {
	missing, excess, want, known := 0, 0, 0, 0
	for _, e := range written {
		server, there := b.requests[requestID(e.number)]
		e.server = server
		if there {
			known++
		}
		switch {
		case e.outcome == acknowledged && !there:
			missing++
			v.find("user %s: write %d was acknowledged at %s and is not there", id, e.number, e.ended.Format("15:04:05.000"))
		case e.outcome == refused && there:
			excess++
			v.find("user %s: write %d was refused at %s and is there", id, e.number, e.ended.Format("15:04:05.000"))
		}
		if e.outcome == acknowledged || e.outcome == unknown && there {
			want++
		}
	}
	if strangers := len(b.requests) - known; strangers > 0 {
		excess += strangers
		v.find("user %s: %d writes are there that nobody sent", id, strangers)
	}
	counted := b.sums.of(written[0].user)
	least, most := slices.Min(counted), slices.Max(counted)
	if least != want || most != want {
		v.find("user %s: want %d writes counted, and the day counts %d steps of %d, the profile %d of %d", id, want, b.sums[0], b.sums[1], b.sums[2], b.sums[3])
	}
	v.lost += max(missing, want-least)
	v.doubled += max(excess, most-want)
}
