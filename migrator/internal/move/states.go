package move

import "slices"

// State is where a move is. The words are those of docs/design.md.
type State string

// The states of a move.
const (
	Planned    State = "planned"
	Copying    State = "copying"
	Tailing    State = "tailing"
	Verifying  State = "verifying"
	Holding    State = "holding"
	Freezing   State = "freezing"
	Switching  State = "switching"
	Publishing State = "publishing"
	Soaking    State = "soaking"
	Returning  State = "returning"
	Done       State = "done"
	Aborting   State = "aborting"
	Aborted    State = "aborted"
)

// Next is the state machine: from each state, the states it may go to. A
// return that is given up goes from aborting back to soaking; a first leg that
// is given up, to aborted.
var Next = map[State][]State{
	Planned:    {Copying, Aborting},
	Copying:    {Tailing, Aborting},
	Tailing:    {Verifying, Aborting},
	Verifying:  {Holding, Tailing, Aborting},
	Holding:    {Freezing, Tailing, Aborting},
	Freezing:   {Switching, Tailing, Aborting},
	Switching:  {Publishing},
	Publishing: {Soaking},
	Soaking:    {Returning, Done},
	Returning:  {Tailing, Aborting},
	Aborting:   {Aborted, Soaking},
	Done:       {},
	Aborted:    {},
}

// States lists the states in the order in which a move meets them.
func States() []State {
	return []State{Planned, Copying, Tailing, Verifying, Holding, Freezing, Switching,
		Publishing, Soaking, Returning, Done, Aborting, Aborted}
}

// abortable says whether a move in this state may still be given up.
func abortable(s State) bool { return s == Aborting || slices.Contains(Next[s], Aborting) }
