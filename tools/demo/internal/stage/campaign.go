package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"drover/bucketmap"
)

// Entry is a line of a campaign's journal, with what the demo looks at.
type Entry struct {
	Seq      uint64    `json:"seq"` // the first is 1
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Who      string    `json:"who"`
	Why      string    `json:"why"`
	Command  string    `json:"command"`
	Step     string    `json:"step"`
	State    string    `json:"state"`
	Error    string    `json:"error"`
	Steps    []string  `json:"steps"`
	Level    string    `json:"level"`
	Decision struct {
		Action string `json:"action"`
		Cause  string `json:"cause"`
	} `json:"decision"`
}

// ReadEntry reads a line of a campaign's journal; false: it is none.
func ReadEntry(line []byte) (e Entry, ok bool) {
	err := json.Unmarshal(line, &e)
	return e, err == nil && e.Seq != 0 && e.Kind != ""
}

// entries is the Reader of a journal.
type entries func(Entry)

func (heard entries) Line(text []byte) {
	if e, ok := ReadEntry(text); ok {
		heard(e)
	}
}

func (entries) End() {}

// Campaign is migrator campaign run, as a process of its own.
type Campaign struct {
	program *Program
}

// campaignEvery is how often a campaign looks at the objectives: as often as the
// windows of the demo ask for.
const campaignEvery = "300ms"

// RunCampaign runs the campaign that was applied. heard is told of each line of
// its journal that comes while it runs, one after the other.
func (s *Stage) RunCampaign(heard func(Entry)) (*Campaign, error) {
	args := append(s.MigratorCommand(), "campaign", "run", "--every", campaignEvery, "--output", "json")
	p, err := s.Start("campaign-run", entries(heard), args...)
	if err != nil {
		return nil, err
	}
	return &Campaign{program: p}, nil
}

// Ended is closed once the process has ended and everything that it said was
// heard.
func (c *Campaign) Ended() <-chan struct{} { return c.program.ended }

// Err says how the process ended: nil for a campaign that is done. It is asked
// once Ended is closed.
func (c *Campaign) Err() error {
	if state := c.program.command.ProcessState; !state.Success() {
		return fmt.Errorf("migrator campaign run: %v; its log %s says:\n%s", state, c.program.log, tail(c.program.log))
	}
	return nil
}

// upToDateMax bounds the wait for the edge: it hears of a map within
// milliseconds.
const upToDateMax = 5 * time.Second

// UpToDate waits until the edge has acknowledged the newest map.
func (s *Stage) UpToDate(ctx context.Context) error {
	snap, err := s.Map(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, upToDateMax, fmt.Errorf("the edge has not acknowledged map %d within %v", snap.Version(), upToDateMax))
	defer cancel()
	err = s.store.WatchAcks(ctx, func(acks []bucketmap.Ack) bool {
		for _, a := range acks {
			if a.Version >= snap.Version() {
				return false // there is one edge
			}
		}
		return true
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
