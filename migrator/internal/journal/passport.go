package journal

import (
	"cmp"
	"time"
)

// Visit is one stay of a move in a state.
type Visit struct {
	State   string    `json:"state"`
	Entered time.Time `json:"entered"`
	Run     uint32    `json:"run"`
	Host    string    `json:"host"`
	Note    string    `json:"note,omitempty"`
	// Took is the time until the next state, or until the passport was asked for
	// when Last, the state in which the move is.
	Took time.Duration `json:"-"`
	Last bool          `json:"last,omitempty"`
}

// Passport gives the visits that a move's entries tell of, the oldest first. An
// entry in the state of the one before belongs to the same visit, whose note is
// the newest. now ends the
// last visit, unless the move is over: nothing is over later than it is.
func Passport(entries []Entry, open bool, now time.Time) []Visit {
	var visits []Visit
	for _, e := range entries {
		if n := len(visits); n != 0 {
			visits[n-1].Took = e.At.Sub(visits[n-1].Entered)
			if visits[n-1].State == e.State {
				if e.Note != "" && e.Note != noteRuns {
					visits[n-1].Note = e.Note
				}
				continue
			}
		}
		visits = append(visits, Visit{State: e.State, Entered: e.At, Run: e.Run, Host: e.Host, Note: e.Note})
	}
	if n := len(visits); n != 0 {
		visits[n-1].Last = true
		if open {
			visits[n-1].Took = max(0, now.Sub(visits[n-1].Entered))
		}
	}
	return visits
}

// Stay is all the time that a move was in one state.
type Stay struct {
	State  string
	Visits int
	Took   time.Duration
}

// Stays adds the visits up by state, in the order of the first ones.
func Stays(visits []Visit) []Stay {
	var stays []Stay
	at := map[string]int{}
	for _, v := range visits {
		i, ok := at[v.State]
		if !ok {
			i = len(stays)
			at[v.State] = i
			stays = append(stays, Stay{State: v.State})
		}
		stays[i].Visits++
		stays[i].Took += v.Took
	}
	return stays
}

// StepBack is one time that a move went back from holding or freezing.
type StepBack struct {
	At   time.Time `json:"at"`
	From string    `json:"from"`
	To   string    `json:"to"`
	Why  string    `json:"why,omitempty"`
}

// StepsBack finds them in a passport.
func StepsBack(visits []Visit) []StepBack {
	var steps []StepBack
	for i := 1; i < len(visits); i++ {
		from, to := visits[i-1], visits[i]
		switch {
		case from.State != "holding" && from.State != "freezing":
		case to.State == "tailing", to.State == "catching_up":
			steps = append(steps, StepBack{At: to.Entered, From: from.State, To: to.State, Why: cmp.Or(from.Note, to.Note)})
		}
	}
	return steps
}
