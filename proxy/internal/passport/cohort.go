package passport

// Cohort says whether a request's user was just moved.
type Cohort uint8

// The cohorts.
const (
	CohortNone   Cohort = iota // not decided by a user's bucket or the whitelist, or not asked
	CohortStayed               // the user was not moved within the window
	CohortMoved                // the user was
)

// String returns the cohort's word.
func (c Cohort) String() string {
	switch c {
	case CohortStayed:
		return "stayed"
	case CohortMoved:
		return "moved"
	default:
		return "none"
	}
}

// Cohorts lists the cohorts of users.
func Cohorts() []Cohort { return []Cohort{CohortStayed, CohortMoved} }
