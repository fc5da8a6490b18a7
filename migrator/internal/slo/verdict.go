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

// Verdict is what one look at the objectives gave.
type Verdict struct {
	Level Level `json:"level"`
	// Reason is one sentence for people: which objective, whose, and its figures.
	Reason string `json:"reason"`
	// Figures are all that was looked at, the ones that decided first.
	Figures []Figure  `json:"figures,omitempty"`
	At      time.Time `json:"at"`
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
	Why   string  `json:"why,omitempty"` // of Unknown
}
