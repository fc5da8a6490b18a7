package campaign

import (
	"time"

	"drover/migrator/internal/slo"
)

// EntryKind says what a line of the journal tells.
type EntryKind string

// The kinds of lines.
const (
	EntryApplied   EntryKind = "applied"   // the campaign began to exist
	EntryRun       EntryKind = "run"       // a run began
	EntryCommand   EntryKind = "command"   // an operator's word
	EntryObeyed    EntryKind = "obeyed"    // the run has taken it in
	EntryDecision  EntryKind = "decision"  // the pacer's
	EntryStep      EntryKind = "step"      // a step came into a state
	EntryReturning EntryKind = "returning" // a way back began, or with no steps ended
	EntryDefault   EntryKind = "default"   // the default became another datacenter, named by why
	EntryEnded     EntryKind = "ended"     // nothing follows
)

// pacerName is who the pacer is in the journal.
const pacerName = "pacer"

// Entry is one line of a campaign's journal. The names stay as they are.
type Entry struct {
	Seq  uint64    `json:"seq"`
	At   time.Time `json:"at"`
	Kind EntryKind `json:"kind"`
	Who  string    `json:"who,omitempty"`
	Why  string    `json:"why,omitempty"`

	Campaign string `json:"campaign,omitempty"` // of applied
	Plan     string `json:"plan,omitempty"`     // of applied: the digest of its text

	Command Command `json:"command,omitempty"`
	Rate    uint64  `json:"rate,omitempty"` // of the command rate
	Of      uint64  `json:"of,omitempty"`   // of obeyed: the command's line

	Decision *Decision    `json:"decision,omitempty"`
	Level    slo.Level    `json:"level,omitempty"`
	Figures  []slo.Figure `json:"figures,omitempty"`

	Step  StepID        `json:"step,omitempty"`
	State StepState     `json:"state,omitempty"`
	Users uint64        `json:"users,omitempty"`
	Took  time.Duration `json:"took,omitempty"`
	Error string        `json:"error,omitempty"`

	Steps []StepID `json:"steps,omitempty"` // of returning, and of the commands skip and return
	Mode  Mode     `json:"mode,omitempty"`
}

// figuresMax bounds a line: 64 figures of about 200 bytes are 13 KB. Those that
// decided come first.
const figuresMax = 64
