package config

import (
	"time"

	"drover/internal/config"
)

// Cohort is for counting the requests of users who were just moved apart from the
// others', in drover_proxy_cohort_responses_total and
// drover_proxy_cohort_request_seconds.
type Cohort struct {
	// Window is for how long a user counts as moved after a map has given the
	// user's bucket another home, or has put the user on the whitelist or taken
	// the user off it. 0s: cohorts are not counted; else 1m at least. With
	// map.cache a restart remembers who was moved.
	Window time.Duration `yaml:"window" bounds:"0s..24h"`
}

// cohortWindowMin is the shortest window: what is judged by cohorts is counted
// over minutes.
const cohortWindowMin = time.Minute

func (c *Config) cohortProblems(p *config.Problems) {
	w := c.Cohort.Window
	p.Want(w <= 0 || w >= cohortWindowMin, "cohort.window", w, "0s, or 1m to 24h")
}
