package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/tools/demo/internal/ledger"
	"drover/tools/demo/internal/stage"
)

// still is a process that runs until it is closed.
type still chan struct{}

func (s still) Ended() <-chan struct{} { return s }
func (still) Err() error               { return errors.New("exit status 1") }

func followed(entries ...stage.Entry) (*campaign, still) {
	c, run := newCampaign(nil, &plan{}), make(still)
	c.run = run
	for _, e := range entries {
		c.heard(e)
	}
	return c, run
}

func stepLine(id, state, err string) stage.Entry {
	return stage.Entry{Kind: "step", Step: id, State: state, Error: err, At: time.Now()}
}

func TestAStepThatFailedIsToldFromOneThatMoved(t *testing.T) {
	c, _ := followed(stepLine("singles/1", "running", ""), stepLine("singles/1", baking, ""), stepLine("singles/2", failed, "a lock"), stepLine("singles/3", passed, ""))
	for id, want := range map[string]error{"singles/1": nil, "singles/2": errStep, "singles/3": nil} {
		if err := c.moved(t.Context(), id); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v; want %v", id, err, want)
		}
	}
	if open := strings.Join(c.open(), ", "); open != "singles/1 baking, singles/2 failed" {
		t.Error(open)
	}
}

func TestACampaignThatTurnsBackEndsEveryWait(t *testing.T) {
	burning := stage.Entry{Kind: "returning", Who: pacer, Why: "burning: too slow", Steps: []string{"singles/1"}}
	stops := stage.Entry{Kind: "decision", Why: "burning: too slow"}
	stops.Decision.Action = "stop"
	for _, e := range []stage.Entry{burning, stops} {
		c, _ := followed(e)
		if err := c.moved(t.Context(), "singles/1"); err == nil || !strings.Contains(err.Error(), "too slow") {
			t.Errorf("%s: %v", e.Kind, err)
		}
		if c.turned() == nil {
			t.Errorf("%s: it has not turned", e.Kind)
		}
	}
	operators, _ := followed(stage.Entry{Kind: "returning", Who: "ann"})
	if err := operators.turned(); err != nil {
		t.Error(err)
	}
}

func TestAWaitEndsWithTheRunAndHearsItsLastWords(t *testing.T) {
	c, run := followed(stepLine("singles/1", "running", ""))
	waits := make(chan error, 2)
	for _, id := range []string{"singles/1", "singles/2"} {
		go func() { waits <- c.moved(t.Context(), id) }()
	}
	c.heard(stepLine("singles/1", baking, ""))
	close(run)
	first, second := <-waits, <-waits
	if (first == nil) == (second == nil) {
		t.Errorf("%v, %v; want one that has moved, and one that will not", first, second)
	}
}

func TestUsersAreHomeOnceTheReturnIsOver(t *testing.T) {
	c, _ := followed(stepLine("singles/1", returning, ""), stepLine("singles/1", returned, ""))
	home := make(chan error, 1)
	go func() { home <- c.home(t.Context(), "singles/1") }()
	c.heard(stage.Entry{Kind: "returning", Who: "ann"})
	if err := <-home; err != nil {
		t.Error(err)
	}
	c, _ = followed(stepLine("singles/1", returning, "no way"))
	if err := c.home(t.Context(), "singles/1"); !errors.Is(err, errStep) {
		t.Error(err)
	}
}

func TestTheEditedPlanHasEveryBucketOnceAndAsMuchTime(t *testing.T) {
	o := defaults()
	o.trickle, o.batches = 4, 3
	s := &show{options: o, usersOf: map[bucketmap.BucketID][]ledger.User{}}
	var alpha []bucketmap.BucketID
	for b := range bucketmap.BucketID(50) {
		alpha = append(alpha, b)
		s.usersOf[b] = make([]ledger.User, 1+b%3)
	}
	const stepTime = time.Second
	users := s.usersIn(alpha)
	p := &plan{Waves: []wave{{Name: waveWhitelist, Kind: "whitelist"},
		{Name: "singles", Kind: "buckets", Steps: []planStep{{Users: 10, Takes: stepTime + 100*time.Millisecond}}},
		{Name: "batches-2", Kind: "buckets", Steps: []planStep{{Users: users - 10, Takes: stepTime + time.Duration(users-10)*10*time.Millisecond}}},
		{Name: waveShards, Kind: "shards"}}}
	s.edit(p, alpha, stepTime)
	var names []string
	seen, steps, takes := map[bucketmap.BucketID]bool{}, 0, time.Duration(0)
	for _, w := range p.Waves {
		names = append(names, w.Name)
		for _, one := range w.Steps {
			steps, takes = steps+1, takes+one.Takes
			if one.Users != s.usersIn(one.buckets) || one.Buckets != ranges(one.buckets) {
				t.Errorf("%+v", one)
			}
			for _, b := range one.buckets {
				if seen[b] {
					t.Errorf("bucket %d is there twice", b)
				}
				seen[b] = true
			}
		}
	}
	if got := strings.Join(names, " "); got != "whitelist singles batches shards-1" {
		t.Error(got)
	}
	if len(seen) != len(alpha) || steps != o.trickle+o.batches || len(p.wave(waveSingles).Steps) != o.trickle {
		t.Errorf("%d buckets in %d steps: %+v", len(seen), steps, p.Waves)
	}
	if want := time.Duration(steps)*stepTime + time.Duration(users)*10*time.Millisecond; (takes - want).Abs() > 10*time.Millisecond {
		t.Errorf("%v; want %v", takes, want)
	}
	if got := p.wave(waveShards).Gate.Objectives; len(got) != 1 || got[0] != "availability" {
		t.Error(got)
	}
}
