package book

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// The input and the output of one operation on a user's register.
type (
	operation struct {
		kind  Kind
		write ID
	}
	observation struct {
		saw   ID
		known bool
	}
)

// register is one user's: a write swaps its value, a read sees it.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return ID(0) },
		Step: func(state, input, output any) (bool, any) {
			value, in, out := state.(ID), input.(operation), output.(observation)
			if out.known && out.saw != value {
				return false, state
			}
			if in.kind == Write {
				return true, in.write
			}
			return true, state
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprint(input, " → ", output) },
	}
}

// linearMax bounds the check of one user's history. Histories of writes that
// tell what they overwrote take microseconds an operation; the search is only
// long where many outcomes are unknown.
const linearMax = 20 * time.Second

// linearTotalMax bounds the checks of all users: 64 buckets × 4 users at
// linearMax each would be 85 minutes. What is left then is undecided.
const linearTotalMax = 2 * time.Minute

// Linear checks each user's history, and what is in its register at the end,
// against one register that nothing is lost from. A write of unknown outcome
// may take effect at any time from its beginning on, or never. The histories
// that are not linearizable are wrong; those that could not be decided in time
// are undecided, which is no better.
func (b *Book) Linear(finals map[string]ID) (wrong, undecided []string) {
	histories := map[string][]porcupine.Operation{}
	for i := range b.mu.entries {
		e := &b.mu.entries[i]
		op := porcupine.Operation{Input: operation{e.Kind, e.ID}, Call: int64(e.Began)}
		switch {
		case e.Outcome == Acknowledged:
			op.Output, op.Return = observation{e.Saw, true}, int64(e.Ended)
		case e.Kind == Write && e.Outcome != Refused:
			// It ends after everything: last of all is as good as never.
			op.Output, op.Return = observation{}, math.MaxInt64
		default:
			continue // a refused write is not there, and a failed read saw nothing
		}
		histories[e.User] = append(histories[e.User], op)
	}
	end := int64(b.Now())
	for user, value := range finals {
		histories[user] = append(histories[user], porcupine.Operation{
			Input: operation{kind: Read}, Output: observation{value, true}, Call: end, Return: end + 1})
	}
	deadline := time.Now().Add(linearTotalMax)
	for _, user := range slices.Sorted(maps.Keys(histories)) {
		history, result := histories[user], porcupine.Unknown
		// To porcupine a bound of 0 is none.
		if bound := min(linearMax, time.Until(deadline)); bound > 0 {
			result = porcupine.CheckOperationsTimeout(register(), history, bound)
		}
		switch result {
		case porcupine.Ok:
		case porcupine.Illegal:
			wrong = append(wrong, fmt.Sprintf("user %s: no order explains its %d operations", user, len(history)))
		case porcupine.Unknown:
			undecided = append(undecided, fmt.Sprintf("user %s: %d operations, not decided within %s, and %s for all users",
				user, len(history), linearMax, linearTotalMax))
		}
	}
	slices.Sort(wrong)
	slices.Sort(undecided)
	return wrong, undecided
}
