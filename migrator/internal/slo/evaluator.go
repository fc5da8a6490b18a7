package slo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Options are for New.
type Options struct {
	// Datacenters are those of the map: each must be in the figures. Without them
	// those count that the figures have, and that an objective names.
	Datacenters []string
	// Expect says whether the map has somebody in a group, so that too few of its
	// requests are Unknown: All of a datacenter that is some bucket's home, or the
	// default of one without, Moved of one that users were moved to within the cohort's window.
	// Where it says no, too few requests have no say. Nil: somebody everywhere,
	// and somebody was moved somewhere, so that before the first move it is
	// Unknown.
	Expect func(datacenter string, cohort Cohort) bool
	// Moved says whether users were moved between two moments. A proxy that does not
	// know of them, because it was started since, makes the cohorts Unknown. Nil:
	// nobody was.
	Moved func(from, to time.Time) bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Evaluator judges by the objectives. All methods may be called concurrently.
type Evaluator struct {
	config  Config
	options Options
	source  source
	client  *http.Client

	look sync.Mutex // one look at the source at a time

	mu struct {
		sync.Mutex
		last   Verdict
		looks  map[Level]int // how many verdicts were so
		cohort time.Duration
	}
}

// New makes an evaluator. It asks nothing of the source yet.
func New(config Config, options Options) (*Evaluator, error) {
	config.Objectives = slices.Clone(config.Objectives)
	for i := range config.Objectives {
		config.Objectives[i].standard()
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.Empty() {
		return nil, errors.New("there are no objectives: give the section slo a source and objectives")
	}
	client, err := config.Source.client()
	if err != nil {
		return nil, err
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	e := &Evaluator{config: config, options: options, client: client}
	e.mu.last = Verdict{Level: Unknown, Reason: "unknown: the source was not looked at yet"}
	e.mu.looks = map[Level]int{}
	switch config.Source.Kind {
	case KindPrometheus:
		e.source, err = newPrometheus(&e.config, client, &options)
	case KindProxies:
		e.source = newProxies(&e.config, client, &options)
	default:
		err = fmt.Errorf("source.kind: %q", config.Source.Kind)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Interval is how often Run looks.
func (e *Evaluator) Interval() time.Duration { return e.config.interval() }

// Base is the shortest window of a page: so long the source must be watched
// before anything but Unknown can be said.
func (e *Evaluator) Base() time.Duration { return e.config.Windows.base() }

// Evaluate looks at the source now and judges. It always gives a verdict: what
// cannot be known is Unknown, with the reason. It takes source.timeout at most,
// and as long again for each caller that came before.
func (e *Evaluator) Evaluate(ctx context.Context) Verdict {
	e.look.Lock()
	defer e.look.Unlock()
	at := e.options.Now()
	v := Verdict{Level: Unknown, At: at}
	r, err := e.source.read(ctx, at)
	e.noteCohort()
	if err != nil {
		v.Reason = fmt.Sprintf("unknown: %s: %v", e.config.Source.Kind, err)
	} else {
		j := judge{config: &e.config, datacenters: e.options.Datacenters, expect: e.options.Expect}
		v = j.verdict(at, r, e.config.wanted(e.options.Datacenters))
		v.Old = e.source.old()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.last = v
	e.mu.looks[v.Level]++
	return v
}

// Close ends idle connections to the source.
func (e *Evaluator) Close() { e.client.CloseIdleConnections() }

// Last returns the verdict of the last look, without another one.
func (e *Evaluator) Last() Verdict {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mu.last
}

// noteCohort keeps the cohort's window for Expect, which the judge asks next.
func (e *Evaluator) noteCohort() {
	if w := e.source.cohortWindow(); w > 0 {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.mu.cohort = w
	}
}

// CohortWindow is for how long a user who was moved counts as moved: the longest
// cohort.window that the proxies have told in the last look that told of one. 0:
// none has yet.
func (e *Evaluator) CohortWindow() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mu.cohort
}

// Run looks every interval until ctx ends. With the source proxies somebody must
// look so often, here or by Evaluate: windows are made of regular looks.
func (e *Evaluator) Run(ctx context.Context) {
	ticker := time.NewTicker(e.Interval())
	defer ticker.Stop()
	for {
		e.Evaluate(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
