package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"drover/bench/internal/events"
	"drover/bench/internal/times"
	"drover/bucketmap"
)

// promotion is one that was made.
type promotion struct {
	from, to     uint32 // server ids
	target       bucketmap.Datacenter
	began, ended time.Time                // of the command
	entered      map[string]time.Time     // the last time, by state
	stays        map[string]time.Duration // in each state, all visits together
}

// number is what differs between two reports of one reason.
var number = regexp.MustCompile(`[0-9]+`)

// stepsBack counts why promotions stepped back.
func stepsBack(reasons map[string]int, all []events.Event) {
	for _, e := range all {
		if strings.HasPrefix(e.Note, "stepped back, try") {
			reasons[number.ReplaceAllString(e.Note, "N")]++
		}
	}
}

// entered is when a promotion entered each state, the last time.
func entered(all []events.Event) map[string]time.Time {
	at := map[string]time.Time{}
	for _, e := range all {
		if e.Entered {
			at[e.State] = e.At
		}
	}
	return at
}

// stateNames are the states as they are met; checks is before the first.
var stateNames = [...]string{"checks", "planned", "replicating", "catching_up", "holding", "freezing", "switching", "publishing", "reversing", "done"}

// stays is how long a command was in each state.
func stays(all []events.Event, began, ended time.Time) map[string]time.Duration {
	stays, state, since := map[string]time.Duration{}, stateNames[0], began
	for _, e := range all {
		if e.Entered {
			stays[state] += e.At.Sub(since)
			state, since = e.State, e.At
		}
	}
	stays[state] += ended.Sub(since)
	return stays
}

// crossing is a promotion as the writers saw it.
type crossing struct {
	last, first time.Time // acknowledgements: at the old primary, at the new one
	// silence is the longest time without an acknowledgement while the command
	// ran: the stall, or a try that stepped back. longest is the longest wait of a
	// request that was under way.
	silence, longest time.Duration
	stale            int // writes that the old primary took after the new one had
}

// crossings finds each promotion in the acknowledged entries, whose servers must
// be known. One that no write was acknowledged before or after has a zero last
// or first.
func crossings(promotions []promotion, entries []entry) []crossing {
	acked := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.outcome != acknowledged })
	slices.SortFunc(acked, func(a, b entry) int { return a.ended.Compare(b.ended) })
	all := make([]crossing, len(promotions))
	for i, p := range promotions {
		from, to := time.Time{}, time.Time{} // a promotion's writes: those ended between the ones beside it
		if i > 0 {
			from = promotions[i-1].ended
		}
		if i+1 < len(promotions) {
			to = promotions[i+1].began
		}
		all[i] = cross(p, between(acked, from, to))
	}
	return all
}

// between is the part of entries, in the order of their ends, that ended within
// two moments; the second may be zero, for no end.
func between(entries []entry, from, to time.Time) []entry {
	at := func(moment time.Time) int {
		n, _ := slices.BinarySearchFunc(entries, moment, func(e entry, t time.Time) int { return e.ended.Compare(t) })
		return n
	}
	if to.IsZero() {
		return entries[at(from):]
	}
	return entries[at(from):at(to)]
}

func cross(p promotion, acked []entry) (c crossing) {
	for _, e := range acked {
		switch {
		case e.server == p.to && c.first.IsZero():
			c.first = e.ended
		case e.server == p.from:
			c.last = e.ended
			if !c.first.IsZero() && e.began.After(c.first) {
				c.stale++
			}
		}
	}
	var before time.Time
	for _, e := range acked {
		if e.ended.After(p.began) && e.began.Before(p.ended) {
			c.longest = max(c.longest, e.ended.Sub(e.began))
			if !before.IsZero() {
				c.silence = max(c.silence, e.ended.Sub(before))
			}
		}
		before = e.ended
	}
	return c
}

// stall is how long nobody was acknowledged; false when it cannot be known.
// Answers overtake one another: it is never below 0.
func (c crossing) stall() (time.Duration, bool) {
	return max(0, c.first.Sub(c.last)), !c.first.IsZero() && !c.last.IsZero()
}

// partNames are the parts of a stall, in their order.
var partNames = [...]string{"hold", "freeze", "switch", "publish", "arrive"}

type parts map[string]*times.Times

func newParts() parts {
	p := parts{}
	for _, name := range partNames {
		p[name] = &times.Times{}
	}
	return p
}

// add splits a stall at the moments at which the promotion entered its states.
// The state after a part is journaled before its event comes: a write can be
// acknowledged earlier, and what comes after that is no part of the stall.
func (p parts) add(c crossing, entered map[string]time.Time) {
	at := c.last
	for i, state := range []string{"freezing", "switching", "publishing", "reversing", ""} {
		end := c.first
		if moment, ok := entered[state]; ok && moment.Before(end) {
			end = moment
		}
		if end.Before(at) {
			end = at
		}
		part := p[partNames[i]]
		*part = append(*part, end.Sub(at))
		at = end
	}
}

// sorted are the keys in order.
func sorted(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }
