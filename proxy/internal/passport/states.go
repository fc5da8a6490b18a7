package passport

// State is what a request is doing.
type State uint8

// The states of a request. Each has a name, by which its timer, its metric
// label and its log field go.
const (
	Receiving State = iota
	Identifying
	Deciding
	Holding
	Rerouting
	Connecting
	Sending
	Waiting
	Responding
	Done
	stateCount
)

// StateCount is how many states there are, Done included.
const StateCount = int(stateCount)

var names = [stateCount]string{
	Receiving: "receiving", Identifying: "identifying", Deciding: "deciding", Holding: "holding", Rerouting: "rerouting",
	Connecting: "connecting", Sending: "sending", Waiting: "waiting", Responding: "responding", Done: "done",
}

var meanings = [stateCount]string{
	Receiving:   "bytes of the request are still to come from the client: of its head, or of its body while that goes upstream",
	Identifying: "its head is here; looking for the user",
	Deciding:    "asking the map",
	Holding:     "waiting in its bucket's queue",
	Rerouting:   "answered 421; waiting for a newer map",
	Connecting:  "getting an upstream connection",
	Sending:     "its head goes upstream, and what is here of its body",
	Waiting:     "all sent; waiting for the answer's head",
	Responding:  "the answer goes to the client",
	Done:        "the last byte is written, or will never be",
}

// Next is the table of the transitions. Connecting may begin again for
// another upstream, and go back to Deciding when the map changed meanwhile.
// Whatever fails is answered by the edge itself: every state but Done may go
// to Responding, and to Done when there is nobody to answer. A request begins
// in Identifying, or in Receiving when its head comes in parts.
var Next = map[State][]State{
	Receiving:   {Identifying, Connecting, Waiting, Responding, Done},
	Identifying: {Deciding, Responding, Done},
	Deciding:    {Holding, Connecting, Responding, Done},
	Holding:     {Deciding, Responding, Done},
	Rerouting:   {Holding, Deciding, Responding, Done},
	Connecting:  {Sending, Connecting, Deciding, Responding, Done},
	Sending:     {Receiving, Waiting, Connecting, Responding, Done},
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

// Meaning says what a request in this state is doing.
func (s State) Meaning() string {
	if s >= stateCount {
		return ""
	}
	return meanings[s]
}

// States lists every state that takes time, in order.
func States() []State {
	states := make([]State, 0, stateCount-1)
	for s := range Done {
		states = append(states, s)
	}
	return states
}
