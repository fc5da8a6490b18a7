package hold

// Outcome is how a wait ended.
type Outcome uint8

// The outcomes. All but NotHeld are counted.
const (
	NotHeld    Outcome = iota // nothing covers the bucket any more: decide again
	Released                  // the hold ended: decide again
	Expired                   // the time is up: go out by the current map
	Full                      // over a bound: go out by the current map
	ClientGone                // nobody is there to answer
	Shutdown                  // the edge is being stopped: go out by the current map
)

// String gives the word used in metrics.
func (o Outcome) String() string {
	switch o {
	case NotHeld:
		return "not_held"
	case Released:
		return "released"
	case Expired:
		return "expired"
	case Full:
		return "full"
	case ClientGone:
		return "client_gone"
	case Shutdown:
		return "shutdown"
	default:
		return "unknown"
	}
}

// Outcomes lists those that are counted.
func Outcomes() []Outcome { return []Outcome{Released, Expired, Full, ClientGone, Shutdown} }
