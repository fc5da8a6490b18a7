package passport

// State is what a request is doing.
type State uint8

// The states of a request. Each has a name, by which its timer, its metric
// label and its log field go.
const (
	Identifying State = iota // its head is here; looking for the user
	Deciding                 // asking the map
	Holding                  // waiting in its bucket's queue
	Rerouting                // answered 421; waiting for a newer map
	Connecting               // getting an upstream connection
	Sending                  // its head and body go upstream
	Waiting                  // all sent; waiting for the answer's head
	Responding               // the answer goes to the client
	Done                     // the last byte is written, or will never be
	stateCount
)

var names = [stateCount]string{
	Identifying: "identifying", Deciding: "deciding", Holding: "holding", Rerouting: "rerouting",
	Connecting: "connecting", Sending: "sending", Waiting: "waiting", Responding: "responding", Done: "done",
}

// Next is the table of the transitions. Connecting may begin again for
// another upstream, and go back to Deciding when the map changed meanwhile.
// Whatever fails is answered by the edge itself: every state but Done may go
// to Responding, and to Done when there is nobody to answer.
var Next = map[State][]State{
	Identifying: {Deciding, Responding, Done},
	Deciding:    {Holding, Connecting, Responding, Done},
	Holding:     {Deciding, Responding, Done},
	Rerouting:   {Holding, Deciding, Responding, Done},
	Connecting:  {Sending, Connecting, Deciding, Responding, Done},
	Sending:     {Waiting, Connecting, Responding, Done},
	Waiting:     {Responding, Rerouting, Connecting, Done},
	Responding:  {Done},
	Done:        {},
}

// String returns the state's name.
func (s State) String() string {
	if s >= stateCount {
		return "unknown"
	}
	return names[s]
}

// States lists every state that takes time, in order.
func States() []State {
	states := make([]State, 0, stateCount-1)
	for s := range Done {
		states = append(states, s)
	}
	return states
}
