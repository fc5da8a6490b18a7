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
	// jobHotShare is higher than the users': the job works where things move.
	jobHotShare = 0.7
	// jobThinkShare: a job's transactions are longer than a user's.
	jobThinkShare = 0.15

	// A refused write is tried again, first in another datacenter, then a
	// little later, for longer than any move keeps a bucket from being
	// written.
	jobTryMax      = 200
	jobTryPauseMax = 50 * time.Millisecond // × 200 = 10 s
)

// JobOptions are for NewJob. All must be given.
type JobOptions struct {
	Applications [][]string // addresses, host:port, a list for each datacenter
	Writers      int        // in each datacenter
	Rate         int        // writes a second, of all writers together
	Ledger       *ledger.Ledger
	Problem      func(Problem)
}

// JobFigures are what a job counted.
type JobFigures struct {
	Writes int
	// Refused are answers of 421: the job was in the wrong place or too early,
	// and came again.
	Refused int
	// Failed are writes that were given up.
	Failed int
}

// Job is a few writers that know nothing of the edge.
type Job struct {
	JobOptions
	client *http.Client
	crowd  crowd
	ids    atomic.Uint64
	gate   sync.RWMutex // read: a write is under way; write: it is paused

	writes, refused, failed atomic.Int64
}

// NewJob returns a job that writes nothing yet. It begins paused.
func NewJob(options JobOptions) *Job {
	j := &Job{JobOptions: options, client: newHTTP(options.Writers * len(options.Applications))}
	j.crowd.count, j.crowd.hotShare = options.Ledger.Users(), jobHotShare
	j.gate.Lock()
	return j
}

// Heat says whose buckets are moving.
func (j *Job) Heat(users []ledger.User) { j.crowd.heat(users) }

// Resume lets the writers go on.
func (j *Job) Resume() { j.gate.Unlock() }

// Pause stops the writers and returns once nothing is under way.
func (j *Job) Pause() { j.gate.Lock() }

// Figures returns what was counted so far.
func (j *Job) Figures() JobFigures {
	return JobFigures{Writes: int(j.writes.Load()), Refused: int(j.refused.Load()), Failed: int(j.failed.Load())}
}

// Run writes until ctx ends, and returns once nothing is under way. It must
// not be paused at the end.
func (j *Job) Run(ctx context.Context) {
	defer j.client.CloseIdleConnections()
	every := time.Duration(j.Writers*len(j.Applications)) * time.Second / time.Duration(j.Rate)
	var writers sync.WaitGroup
	for datacenter := range j.Applications {
		for range j.Writers {
			writers.Go(func() {
				for ctx.Err() == nil {
					j.gate.RLock()
					if ctx.Err() == nil {
						j.write(ctx, datacenter)
					}
					j.gate.RUnlock()
					sleep(ctx, every/2+rand.N(every))
				}
			})
		}
	}
	writers.Wait()
}

// write sends one write until it is acknowledged.
func (j *Job) write(ctx context.Context, datacenter int) {
	user, day := j.crowd.pick(), pickDay(j.Ledger.Days())
	w := &ledger.Write{User: user, Day: day, ID: fmt.Sprintf("job-%x", j.ids.Add(1)), Steps: 1 + rand.Int64N(stepsMax), By: "the nightly job"}
	j.Ledger.Ask(w)
	body, think := stepsBody(w, j.Ledger.Date(day)), pickThink(jobThinkShare)
	var url string
	var a answer
	for range jobTryMax {
		applications := j.Applications[datacenter]
		url = stepsURL("http://"+applications[rand.IntN(len(applications))], think)
		a = send(ctx, j.client, http.MethodPost, url, user.ID(), body)
		if ctx.Err() != nil {
			return
		}
		var got added
		if a.good() && a.decode(&got) == nil {
			j.writes.Add(1)
			j.Ledger.Acknowledge(w, got.Instance)
			return
		}
		if a.status == http.StatusMisdirectedRequest {
			j.refused.Add(1)
		}
		datacenter = (datacenter + 1) % len(j.Applications)
		sleep(ctx, rand.N(jobTryPauseMax))
	}
	j.failed.Add(1)
	p := Problem{Time: time.Now(), What: "the nightly job gave a write up", Method: http.MethodPost, URL: url, User: user.ID(),
		Request: w.ID, Status: a.status, Body: string(a.body)}
	if a.err != nil {
		p.Error = a.err.Error()
	}
	j.Problem(p)
}
