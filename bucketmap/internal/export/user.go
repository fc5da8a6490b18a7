package export

import (
	"errors"
	"fmt"
	"strings"

	"drover/bucketmap"
)

// ErrLoss is returned where a map says something that the other edge would
// never do.
var ErrLoss = errors.New("the map says what this edge cannot do")

// lostShown bounds how many user ids an error or a report lists.
const lostShown = 10

// Unreachable are the whitelisted users that no header can carry.
type Unreachable struct {
	Count int
	First []bucketmap.UserID // the first few, sorted
}

// NewUnreachable looks at every whitelisted user of a map.
func NewUnreachable(s *bucketmap.Snapshot) Unreachable {
	var u Unreachable
	for id := range s.Whitelist() {
		if Carries(id) {
			continue
		}
		if u.Count++; len(u.First) < lostShown {
			u.First = append(u.First, bucketmap.UserID(id))
		}
	}
	return u
}

// Err is the error that stands for the users; nil when there are none.
func (u Unreachable) Err() error {
	if u.Count == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d whitelisted user(s) whose id no header can carry, such as %q; take them off the whitelist, or allow the loss",
		ErrLoss, u.Count, u.First)
}

// Carries says whether a header can bring this user id to an edge: no NUL, CR
// or LF in it, and no blank at either end, which every reader of HTTP takes
// away (RFC 9110, 5.5).
func Carries(id string) bool {
	return !strings.ContainsAny(id, "\x00\r\n") && strings.Trim(id, " \t") == id
}
