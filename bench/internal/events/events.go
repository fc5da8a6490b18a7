package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Event is one line.
type Event struct {
	Move    string    `json:"move"`
	State   string    `json:"state"`
	At      time.Time `json:"at"`
	Note    string    `json:"note"`
	Entered bool      `json:"entered"` // the state, at that moment
}

// Parse returns the events in what a migrator wrote, in its order.
func Parse(text []byte) []Event {
	var all []Event
	for line := range bytes.Lines(text) {
		var e Event
		if json.Unmarshal(line, &e) == nil && e.State != "" {
			all = append(all, e)
		}
	}
	return all
}

// Between is the time from entering one state to first entering another after
// it.
func Between(all []Event, from, to string) (time.Duration, error) {
	entered := func(state string) func(Event) bool {
		return func(e Event) bool { return e.Entered && e.State == state }
	}
	begin := slices.IndexFunc(all, entered(from))
	if begin < 0 {
		return 0, fmt.Errorf("the move was never %s", from)
	}
	end := slices.IndexFunc(all[begin:], entered(to))
	if end < 0 {
		return 0, fmt.Errorf("the move was not %s after it was %s", to, from)
	}
	return all[begin+end].At.Sub(all[begin].At), nil
}
