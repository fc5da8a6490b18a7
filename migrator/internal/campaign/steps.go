package campaign

import "fmt"

// StepID names a step: its wave and its number in it, from 1, such as "singles/3".
type StepID string

func stepID(wave string, i int) StepID { return StepID(fmt.Sprintf("%s/%d", wave, i+1)) }

// StepState is where a step is.
type StepState string

// The states of a step.
const (
	Waiting   StepState = "waiting"
	Running   StepState = "running"
	Baking    StepState = "baking"
	Passed    StepState = "passed"
	Failed    StepState = "failed"
	Skipped   StepState = "skipped"
	Returning StepState = "returning"
	Returned  StepState = "returned"
)

// StepStates lists the states in the order in which a step meets them.
func StepStates() []StepState {
	return []StepState{Waiting, Running, Baking, Passed, Failed, Skipped, Returning, Returned}
}

// NextStep is the state machine of a step.
var NextStep = map[StepState][]StepState{
	Waiting:   {Running, Baking, Skipped, Returning},
	Running:   {Baking, Failed, Returning, Waiting, Skipped},
	Baking:    {Passed, Returning},
	Passed:    {Returning},
	Failed:    {Waiting, Baking, Skipped, Returning},
	Skipped:   {},
	Returning: {Returned, Baking},
	Returned:  {Waiting, Skipped},
}
