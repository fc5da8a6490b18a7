package promote

import "slices"

// State is where a promotion is. The words are those of docs/design.md.
type State string

// The states of a promotion.
const (
	Planned     State = "planned"
	Replicating State = "replicating"
	CatchingUp  State = "catching_up"
	Holding     State = "holding"
	Freezing    State = "freezing"
	Switching   State = "switching"
	Publishing  State = "publishing"
	Reversing   State = "reversing"
	Done        State = "done"
	Aborting    State = "aborting"
	Aborted     State = "aborted"
)

// Next is the state machine: from each state, the states it may go to.
var Next = map[State][]State{
	Planned:     {Replicating, Aborting},
	Replicating: {CatchingUp, Aborting},
	CatchingUp:  {Holding, Aborting},
	Holding:     {Freezing, CatchingUp, Aborting},
	Freezing:    {Switching, CatchingUp, Aborting},
	Switching:   {Publishing},
	Publishing:  {Reversing},
	Reversing:   {Done},
	Aborting:    {Aborted},
	Done:        {},
	Aborted:     {},
}

// States lists the states in the order in which a promotion meets them.
func States() []State {
	return []State{Planned, Replicating, CatchingUp, Holding, Freezing, Switching,
		Publishing, Reversing, Done, Aborting, Aborted}
}

// abortable says whether a promotion in this state may still be given up.
func abortable(s State) bool { return s == Aborting || slices.Contains(Next[s], Aborting) }
