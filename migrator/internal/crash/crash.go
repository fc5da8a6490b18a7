// Package crash dies on demand at named places.
//
// Every side effect of the migrator has a point before it and one after it.
// A test arms one by name; the process then kills itself there with SIGKILL,
// as if the machine had lost power, and the test resumes with a new process.
// Nothing is armed outside tests.
package crash

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Point is the name of a place, such as "freezing.before_commit".
type Point string

// Points knows which point is armed. The zero value has none, and a nil
// *Points is fine too. It is safe for concurrent use.
type Points struct {
	mu    sync.Mutex
	armed Point
	pass  int    // which pass of armed is the last
	kill  func() // instead of SIGKILL, for tests within one process
	seen  map[Point]int
}

// ErrPoint is returned by Arm for a word that is no point.
var ErrPoint = errors.New("a crash point is NAME, or NAME#N for its N-th pass")

// Arm makes the process die when it reaches a point: "NAME", or "NAME#N" for
// the N-th time. An empty word disarms.
func (c *Points) Arm(word string) error { return c.ArmFunc(word, nil) }

// ArmFunc is Arm with something else than death.
func (c *Points) ArmFunc(word string, kill func()) error {
	name, count, counted := strings.Cut(word, "#")
	pass := 1
	if counted {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			return fmt.Errorf("%w: %q", ErrPoint, word)
		}
		pass = n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed, c.pass, c.kill = Point(name), pass, kill
	return nil
}

// At is a point.
func (c *Points) At(p Point) {
	if c == nil {
		return
	}
	c.mu.Lock()
	if c.seen == nil {
		c.seen = map[Point]int{}
	}
	c.seen[p]++
	dies, kill := c.armed == p && c.seen[p] == c.pass, c.kill
	c.mu.Unlock()
	switch {
	case !dies:
	case kill != nil:
		kill()
	default:
		// Not os.Exit: no deferred call and no flush may run.
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// Seen returns the points passed so far, sorted, so that a test can prove that
// its list of points is complete.
func (c *Points) Seen() []Point {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.seen))
}
