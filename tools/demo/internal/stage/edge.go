package stage

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// EdgeOptions are for StartEdge. All must be given.
type EdgeOptions struct {
	ID     string
	Map    string        // the folder of the map that it follows, within the work folder
	Target []string      // host:port, for what goes to the target's applications
	Cohort time.Duration // for how long a user counts as just moved; a minute or more

	passports string // the file of the access log; empty: none
}

// Edge is one more edge.
type Edge struct {
	ID         string
	URL, Admin string // for users, and for operators
	program    *Program
}

// StartEdge starts one more edge and waits until it is ready. It remembers nothing
// of before: the first map that it has moves nobody. Its own Close ends it, or the
// stage's.
func (s *Stage) StartEdge(ctx context.Context, o EdgeOptions) (*Edge, error) {
	e, err := s.startEdge(ctx, o.ID, o)
	if err != nil {
		return nil, err
	}
	s.endLater(e.program)
	return e, nil
}

// startEdge starts an edge whose files have the name.
func (s *Stage) startEdge(ctx context.Context, name string, o EdgeOptions) (*Edge, error) {
	e := &Edge{ID: o.ID}
	var err error
	e.program, err = s.onFreePorts(ctx, 2, func(ports []string) (*Program, string, error) {
		e.URL, e.Admin = "http://"+ports[0], "http://"+ports[1]
		config, err := s.writeEdgeConfig(name, o, ports[0], ports[1])
		if err != nil {
			return nil, "", err
		}
		p, err := s.start(name, nil, nil, filepath.Join(s.bin, proxyProgram), "run", "--config", config)
		return p, e.Admin + "/readyz", err
	})
	return e, err
}

// Close ends the edge. The error says that it did not end in order.
func (e *Edge) Close() error {
	if code := e.program.Stop(); code != 0 {
		return fmt.Errorf("the edge %s ended with %d; its log is %s", e.ID, code, e.program.log)
	}
	return nil
}
