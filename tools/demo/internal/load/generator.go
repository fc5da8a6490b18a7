package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"drover/tools/demo/internal/ledger"
)

const (
	// underWayMax bounds the requests under way: what comes in at 800 a second
	// while a shard that has half of the users is held for a whole second, and
	// as many again. Past it the rate falls, and the waits still count.
	underWayMax = 1024

	// hotShare is how much of the load goes to users whose buckets are moving.
	hotShare = 0.3

	// thinkShare is how many of the writes are slow transactions.
	thinkShare = 0.05

	tryMax   = 10
	tryPause = 100 * time.Millisecond
)

// Options are for New. All must be given.
type Options struct {
	URL     string // of the edge
	Rate    int    // requests a second
	Ledger  *ledger.Ledger
	Problem func(Problem) // is told of each problem; may be called concurrently
}

// Generator is the users.
type Generator struct {
	Options
	client *http.Client
	crowd  crowd
	tally  tally
	ids    atomic.Uint64

	underWay sync.WaitGroup
	places   chan struct{} // a token for each request under way
	pauses   chan chan struct{}
	resumes  chan struct{}
}

// New returns a generator that sends nothing yet. It begins paused.
func New(options Options) *Generator {
	g := &Generator{
		Options: options, client: newHTTP(underWayMax),
		places: make(chan struct{}, underWayMax),
		pauses: make(chan chan struct{}), resumes: make(chan struct{}),
	}
	g.crowd.count, g.crowd.hotShare = options.Ledger.Users(), hotShare
	return g
}

// Heat says whose buckets are moving: a good part of the load goes to them
// from now on. Empty: everybody alike.
func (g *Generator) Heat(users []ledger.User) { g.crowd.heat(users) }

// Take returns what was counted since the last Take.
func (g *Generator) Take() Figures { return g.tally.take() }

// Peek returns what was counted since the last Take, but for the waits.
func (g *Generator) Peek() Figures { return g.tally.peek() }

// Resume lets the load begin.
func (g *Generator) Resume(ctx context.Context) error {
	select {
	case g.resumes <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Pause ends the load and returns once nothing is under way.
func (g *Generator) Pause(ctx context.Context) error {
	paused := make(chan struct{})
	select {
	case g.pauses <- paused:
	case <-ctx.Done():
		return ctx.Err()
	}
	<-paused
	return nil
}

// Run sends requests until ctx ends, and returns once nothing is under way.
func (g *Generator) Run(ctx context.Context) {
	defer g.client.CloseIdleConnections()
	defer g.underWay.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.resumes:
		}
		g.tally.on(true)
		paused := g.keepRate(ctx)
		g.underWay.Wait()
		g.tally.on(false)
		if paused == nil {
			return
		}
		close(paused)
	}
}

// keepRate sends requests until it is paused or ctx ends. Only it starts any.
func (g *Generator) keepRate(ctx context.Context) (paused chan struct{}) {
	every := time.Second / time.Duration(g.Rate)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now(); ; due = due.Add(every) {
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return nil
		case paused = <-g.pauses:
			return paused
		case <-timer.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case g.places <- struct{}{}:
		}
		g.underWay.Go(func() {
			g.one(ctx, due)
			<-g.places
		})
	}
}

// one is one request, a quarter of them writes.
func (g *Generator) one(ctx context.Context, due time.Time) {
	user, day := g.crowd.pick(), pickDay(g.Ledger.Days())
	switch rand.IntN(4) {
	case 0:
		g.readDay(ctx, due, user, day)
	case 1, 2:
		g.readProfile(ctx, due, user)
	default:
		g.write(ctx, due, user, day)
	}
}

// shown is what an answer shows of a user's writes: of a day, or of all.
type shown struct {
	Steps    int64 `json:"steps"`
	Requests int64 `json:"requests"`
	Lifetime int64 `json:"lifetime_steps"`
	Updates  int64 `json:"updates"`
}

func (g *Generator) readDay(ctx context.Context, due time.Time, user ledger.User, day ledger.Day) {
	g.read(ctx, due, user, day, stepsPath+"/"+g.Ledger.Date(day), func(s shown) ledger.Sum { return ledger.Sum{Writes: s.Requests, Steps: s.Steps} })
}

// readProfile reads what the application caches.
func (g *Generator) readProfile(ctx context.Context, due time.Time, user ledger.User) {
	g.read(ctx, due, user, ledger.Lifetime, "/1/user/-/profile", func(s shown) ledger.Sum { return ledger.Sum{Writes: s.Updates, Steps: s.Lifetime} })
}

// read reads, and checks what it is shown.
func (g *Generator) read(ctx context.Context, due time.Time, user ledger.User, day ledger.Day, path string, sum func(shown) ledger.Sum) {
	p := Problem{Method: http.MethodGet, URL: g.URL + path, User: user.ID()}
	floor := g.Ledger.Floor(user, day)
	a := send(ctx, g.client, p.Method, p.URL, p.User, nil)
	ceiling := g.Ledger.Ceiling(user, day)
	if ctx.Err() != nil || !g.answered(a, due, p) {
		return
	}
	var s shown
	if err := a.decode(&s); err != nil {
		g.failed(p, a, due, err.Error())
		return
	}
	g.check(p, a, due, ledger.Check(floor, sum(s), ceiling))
}

// Served is who answered a write.
type Served struct {
	Datacenter, Shard string
}

// Write sends one write of a user's, now, and says who served it. It is
// counted like all others.
func (g *Generator) Write(ctx context.Context, user ledger.User) (Served, bool) {
	return g.write(ctx, time.Now(), user, 0)
}

// write sends a write until it is acknowledged.
func (g *Generator) write(ctx context.Context, due time.Time, user ledger.User, day ledger.Day) (Served, bool) {
	w := &ledger.Write{User: user, Day: day, ID: fmt.Sprintf("user-%x", g.ids.Add(1)), Steps: 1 + rand.Int64N(stepsMax), By: "its user"}
	floor := g.Ledger.Floor(user, day)
	g.Ledger.Ask(w)
	url, body := stepsURL(g.URL, pickThink(thinkShare)), stepsBody(w, g.Ledger.Date(day))
	p := Problem{Method: http.MethodPost, URL: url, User: user.ID(), Request: w.ID}
	for try := range tryMax {
		a := send(ctx, g.client, p.Method, url, p.User, body)
		ceiling := g.Ledger.Ceiling(user, day)
		if ctx.Err() != nil {
			return Served{}, false
		}
		got, fine := g.added(a, due, p, try)
		if fine {
			g.Ledger.Acknowledge(w, got.Instance)
			// Of how many writes the total is, the answer does not say.
			g.check(p, a, due, ledger.Check(ledger.Sum{Steps: floor.Steps + w.Steps}, ledger.Sum{Steps: got.Total}, ledger.Sum{Steps: ceiling.Steps}))
			return Served{Datacenter: got.Datacenter, Shard: got.Shard}, true
		}
		sleep(ctx, tryPause)
	}
	return Served{}, false
}

// added counts one try of a write, and says whether it was acknowledged.
func (g *Generator) added(a answer, due time.Time, p Problem, try int) (got added, fine bool) {
	if try == 0 {
		fine = g.answered(a, due, p)
	} else {
		g.tally.count(func(f *Figures) { f.Retries++ })
		if fine = a.good(); !fine {
			g.failed(p, a, due, "a second try of a write failed")
		}
	}
	if !fine {
		return got, false
	}
	if err := a.decode(&got); err != nil {
		g.failed(p, a, due, err.Error())
		return got, false
	}
	return got, true
}

// Nobody sends a request without a user and returns the datacenter that it
// landed in. It is counted like all others.
func (g *Generator) Nobody(ctx context.Context) (datacenter string, ok bool) {
	due, url := time.Now(), g.URL+"/healthz"
	a := send(ctx, g.client, http.MethodGet, url, "", nil)
	if ctx.Err() != nil || !g.answered(a, due, Problem{Method: http.MethodGet, URL: url}) {
		return "", false
	}
	return a.header.Get("Drover-Datacenter"), true
}

// answered counts a request and says whether its answer is good.
func (g *Generator) answered(a answer, due time.Time, p Problem) bool {
	wait := time.Since(due)
	g.tally.count(func(f *Figures) {
		f.Requests++
		f.Waits = append(f.Waits, wait)
	})
	if !a.good() {
		g.failed(p, a, due, "a request failed")
	}
	return a.good()
}

func (g *Generator) failed(p Problem, a answer, due time.Time, what string) {
	g.tally.count(func(f *Figures) { f.Errors++ })
	g.tell(p, a, due, what)
}

// check counts what a check found.
func (g *Generator) check(p Problem, a answer, due time.Time, problem string) {
	if problem != "" {
		g.tally.count(func(f *Figures) { f.Stale++ })
		g.tell(p, a, due, problem)
	}
}

func (g *Generator) tell(p Problem, a answer, due time.Time, what string) {
	p.Time, p.What, p.Status, p.Body = time.Now(), what, a.status, string(a.body)
	p.WaitMS = time.Since(due).Milliseconds()
	if a.err != nil {
		p.Error = a.err.Error()
	}
	p.Datacenter, p.Route, p.Version = a.header.Get("Drover-Datacenter"), a.header.Get("Drover-Route"), a.header.Get("Drover-Map-Version")
	g.Problem(p)
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}
