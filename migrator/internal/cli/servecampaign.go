package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"drover/internal/pause"
	"drover/migrator/internal/campaign"
)

const (
	// campaignLookEvery is how often it is seen that there is a campaign, or another
	// one.
	campaignLookEvery = 500 * time.Millisecond
	// campaignTick is after how long a status is read though the journal is as it
	// was: a run that has died writes nothing, and forecasts get old.
	campaignTick = 2 * time.Second
	// campaignStepsMax bounds the steps that are shown: × 500 bytes = 3 MB. Each wave
	// has as many, but waveStepsMax at most and waveStepsMin at least.
	campaignStepsMax           = 6000
	waveStepsMax, waveStepsMin = 200, 6
	// campaignErrorMax bounds what is shown of a step's error, in bytes.
	campaignErrorMax = 300
	// campaignNamesMax bounds the steps that a line of the journal names.
	campaignNamesMax = 20
)

// campaignSource tells how the campaign in a folder is getting on.
type campaignSource struct {
	dir string
	// latest is the status that was told last: nil before the first, and while there
	// is no campaign.
	latest atomic.Pointer[campaign.Status]
}

func (*campaignSource) Topic() string { return "campaign" }

// Watch tells the status of whatever campaign is the folder's.
func (s *campaignSource) Watch(ctx context.Context, told func(any)) error {
	for {
		err := s.follow(ctx, told)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, campaign.ErrNone):
			s.latest.Store(nil)
			told(nil)
		case err != nil:
			return err
		}
		if err := pause.For(ctx, campaignLookEvery); err != nil {
			return err
		}
	}
}

// stamp changes when the journal does, and when the folder has another campaign.
type stamp struct {
	current string
	size    int64
	at      time.Time
}

func (s *campaignSource) stamp(id string) stamp {
	var now stamp
	text, err := os.ReadFile(filepath.Join(s.dir, "current"))
	if err == nil {
		now.current = string(text)
	}
	if info, err := os.Stat(filepath.Join(s.dir, id, "journal.jsonl")); err == nil {
		now.size, now.at = info.Size(), info.ModTime()
	}
	return now
}

// follow tells the status of one campaign, until the folder has another one.
func (s *campaignSource) follow(ctx context.Context, told func(any)) error {
	reader := campaign.NewReader(s.dir)
	first, err := reader.Read(time.Now())
	if err != nil {
		return err
	}
	id := first.Campaign
	ctx, cancel := context.WithCancel(ctx)
	changed, err := campaign.WatchFiles(ctx, filepath.Join(s.dir, id))
	if err != nil {
		cancel()
		return err
	}
	defer func() {
		cancel()
		for range changed { // until its goroutine is over
		}
	}()
	var seen stamp
	var read time.Time
	for {
		// Before it is read: what comes meanwhile is read again.
		if now := s.stamp(id); now != seen || time.Since(read) >= campaignTick {
			began := time.Now()
			status, err := reader.Read(began)
			if err != nil || status.Campaign != id {
				return err
			}
			s.latest.Store(&status)
			told(shownCampaign(status))
			seen, read = now, time.Now()
			// A long plan takes long to tell: half of the time is others'.
			if err := pause.For(ctx, read.Sub(began)); err != nil {
				return err
			}
		}
		select {
		case _, open := <-changed:
			if !open {
				return fmt.Errorf("the watch of %s has ended: is the folder there?", filepath.Join(s.dir, id))
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// now is the status that was told last, or is read where none was told; the zero
// status where there is no campaign.
func (s *campaignSource) now() campaign.Status {
	if status := s.latest.Load(); status != nil {
		return *status
	}
	status, err := campaign.Read(s.dir, time.Now())
	if err != nil {
		return campaign.Status{} // its own panel says why
	}
	return status
}

// consoleCampaign is a status with what is long cut: a plan may have 50,000
// steps, and a line of the journal 64 figures.
type consoleCampaign struct {
	campaign.Status
	Waves   []consoleWave    `json:"waves"`
	Journal []campaign.Entry `json:"journal"`
}

type consoleWave struct {
	campaign.WaveNow
	States map[campaign.StepState]int `json:"states"`
	Steps  []campaign.StepNow         `json:"steps"`
	More   int                        `json:"steps_more,omitempty"`
}

func shownCampaign(status campaign.Status) consoleCampaign {
	shown := consoleCampaign{Status: status, Waves: []consoleWave{}, Journal: []campaign.Entry{}}
	most := max(waveStepsMin, min(waveStepsMax, campaignStepsMax/max(1, len(status.Waves))))
	for _, w := range status.Waves {
		wave := consoleWave{WaveNow: w, States: map[campaign.StepState]int{}}
		for _, t := range w.Steps {
			wave.States[t.State]++
		}
		wave.Steps = shownSteps(w.Steps, most)
		wave.More = len(w.Steps) - len(wave.Steps)
		shown.Waves = append(shown.Waves, wave)
	}
	for _, e := range status.Journal {
		e.Figures = nil
		e.Steps = e.Steps[:min(len(e.Steps), campaignNamesMax)]
		shown.Journal = append(shown.Journal, e)
	}
	return shown
}

// shownSteps are those of which something is to be said, then the first and the
// last, in the plan's order.
func shownSteps(steps []campaign.StepNow, most int) []campaign.StepNow {
	keep, left := make([]bool, len(steps)), most
	take := func(i int) {
		if !keep[i] && left > 0 {
			keep[i], left = true, left-1
		}
	}
	if len(steps) != 0 {
		take(0)
		take(len(steps) - 1)
	}
	// What moves last first: a wave that goes back has thousands.
	for i, t := range slices.Backward(steps) {
		if t.State != campaign.Passed && t.State != campaign.Waiting && t.State != campaign.Skipped {
			take(i)
		}
	}
	for i := range steps {
		take(i)
		take(len(steps) - 1 - i)
	}
	shown := make([]campaign.StepNow, 0, min(len(steps), most))
	for i, t := range steps {
		if keep[i] {
			if len(t.Error) > campaignErrorMax {
				t.Error = strings.ToValidUTF8(t.Error[:campaignErrorMax], "") + "…"
			}
			shown = append(shown, t)
		}
	}
	return shown
}
