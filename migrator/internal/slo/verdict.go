package slo

import "time"

// Level is what the objectives say, from good to bad.
type Level string

const (
	// Healthy: every objective is met, by enough events.
	Healthy Level = "healthy"
	// Unhealthy: the error budget is spent faster than it may be, by a slow
	// window, or a latency is above its objective.
	Unhealthy Level = "unhealthy"
	// Burning: the error budget is spent so fast that somebody would be paged.
	Burning Level = "burning"
	// Unknown: no data, old data, an error, or too few events to judge by. It is
	// no good news, and no bad news either.
	Unknown Level = "unknown"
)

// Levels lists them.
func Levels() []Level { return []Level{Healthy, Unhealthy, Burning, Unknown} }

// Verdict is what one look at the objectives gave.
type Verdict struct {
	Level Level `json:"level"`
	// Reason is one sentence for people: which objective, whose, and its figures.
	Reason string `json:"reason"`
	// Figures are all that was looked at, the ones that decided first.
	Figures []Figure  `json:"figures,omitempty"`
	At      time.Time `json:"at"`
	// Old says why nothing may be begun by this verdict, though it stands: some of
	// what was looked at is what was there at the look before. Empty: all is new.
	Old string `json:"old,omitempty"`
}

// Figure is one objective of one group of requests in one window.
type Figure struct {
	Objective  string        `json:"objective"` // its name in the configuration
	Datacenter string        `json:"datacenter"`
	Cohort     string        `json:"cohort,omitempty"` // moved or stayed; empty for all
	Window     time.Duration `json:"window"`
	Events     float64       `json:"events"` // requests in the window
	// Ratio is the share of them that were bad, 0 to 1: failed, or too slow.
	Ratio float64 `json:"ratio"`
	// Burn is Ratio by the share that may be bad: 1 spends the budget exactly.
	Burn  float64 `json:"burn"`
	Level Level   `json:"level"`
	Why   string  `json:"why,omitempty"` // of Unknown, and of a comparison

	// Limit is the burn rate that this window is held against, and Severity what
	// it means when this window and the other of its pair are above it.
	Limit    float64  `json:"limit"`
	Severity Severity `json:"severity"`
	// Seen is how much of the window the data reach back: less of a long window
	// when the source is younger. 0 is not told.
	Seen time.Duration `json:"seen,omitempty"`
	// LeftOut says that the figure has no say in the verdict: nobody is expected
	// in its group, or it is a baseline of too few events.
	LeftOut bool `json:"left_out,omitempty"`
}

// Severity is what a figure is for.
type Severity string

const (
	// Page is of windows whose burn rate would page somebody.
	Page Severity = "page"
	// Ticket is of windows whose burn rate would make a ticket.
	Ticket Severity = "ticket"
	// Compare is of those who were moved against those who stayed.
	Compare Severity = "compare"
)
