package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"drover/bucketmap"
	"drover/tools/demo/internal/stage"
)

// plan is the campaign's plan, as in its file: docs/campaign.md.
type plan struct {
	Format  int           `yaml:"format"`
	To      string        `yaml:"to"`
	Map     yaml.MapSlice `yaml:"map"`
	Default string        `yaml:"default"`
	Burning string        `yaml:"burning"`
	Return  string        `yaml:"return"`
	Pace    yaml.MapSlice `yaml:"pace"`
	Waves   []wave        `yaml:"waves"`
}

type wave struct {
	Name  string     `yaml:"name"`
	Kind  string     `yaml:"kind"`
	Gate  gate       `yaml:"gate"`
	Steps []planStep `yaml:"steps"`
}

type gate struct {
	Bake       time.Duration `yaml:"bake"`
	Objectives []string      `yaml:"objectives,omitempty"`
}

type planStep struct {
	IDs        []string      `yaml:"ids,omitempty"`
	Buckets    string        `yaml:"buckets,omitempty"`
	From       string        `yaml:"from,omitempty"`
	To         string        `yaml:"to,omitempty"`
	Shard      string        `yaml:"shard,omitempty"`
	Datacenter string        `yaml:"datacenter,omitempty"`
	Takes      time.Duration `yaml:"takes"`
	Users      int           `yaml:"users"`

	buckets []bucketmap.BucketID
}

// id is the campaign's name for a step.
func (w *wave) id(i int) string { return fmt.Sprintf("%s/%d", w.Name, i+1) }

// The names of the waves, and so of the acts.
const (
	waveWhitelist = "whitelist"
	waveSingles   = "singles"
	waveBatches   = "batches"
	waveShards    = "shards-1"
)

func (p *plan) wave(name string) *wave {
	i := slices.IndexFunc(p.Waves, func(w wave) bool { return w.Name == name })
	if i < 0 {
		return &wave{Name: name}
	}
	return &p.Waves[i]
}

// anyPace is users an hour that no step waits for: 20,000 in a tenth of a second.
const anyPace = "1000000000"

// makePlan has the migrator write a plan, and edits it as a person would: single
// buckets from all over the shard, and few batches in the place of many that
// double.
func (s *show) makePlan(ctx context.Context, stepTime time.Duration) (*plan, string, error) {
	path := filepath.Join(s.stage.Dir, "plan.yaml")
	args := []string{"campaign", "plan", "--to", string(stage.Target), "--singles", fmt.Sprint(s.options.trickle),
		"--bake", s.options.bake.String(), "--rate", anyPace, "--rate-min", anyPace, "--rate-max", anyPace,
		"--step-time", stepTime.String(), "--promotion-time", s.options.promotion.String(), "--out", path}
	for _, user := range s.chooseEmployees() {
		args = append(args, "--user", user.ID())
	}
	if _, err := s.stage.Migrator(ctx, args...); err != nil {
		return nil, "", err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	p := &plan{}
	if err := yaml.Unmarshal(text, p); err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	alpha, err := s.homes(ctx, stage.Alpha)
	if err != nil {
		return nil, "", err
	}
	s.edit(p, alpha, stepTime)
	if text, err = yaml.Marshal(p); err != nil {
		return nil, "", err
	}
	return p, path, os.WriteFile(path, text, 0o600)
}

// edit makes the waves the acts.
func (s *show) edit(p *plan, alpha []bucketmap.BucketID, stepTime time.Duration) {
	var waves []wave
	var copying time.Duration // of all buckets, by the plan
	users := 0
	for _, w := range p.Waves {
		if w.Kind != "buckets" {
			waves = append(waves, w)
			continue
		}
		for _, t := range w.Steps {
			copying, users = copying+t.Takes-stepTime, users+t.Users
		}
	}
	add := func(w *wave, buckets []bucketmap.BucketID) {
		n := s.usersIn(buckets)
		w.Steps = append(w.Steps, planStep{Buckets: ranges(buckets), From: string(stage.Alpha), To: string(stage.Gamma), buckets: buckets,
			Users: n, Takes: (stepTime + copying*time.Duration(n)/time.Duration(max(1, users))).Round(time.Millisecond)})
	}
	singles := wave{Name: waveSingles, Kind: "buckets", Gate: gate{Bake: s.options.bake}}
	var rest []bucketmap.BucketID
	for i, b := range alpha {
		if n := len(singles.Steps); n < s.options.trickle && i >= n*len(alpha)/s.options.trickle {
			add(&singles, []bucketmap.BucketID{b})
		} else {
			rest = append(rest, b)
		}
	}
	batches := wave{Name: waveBatches, Kind: "buckets", Gate: gate{Bake: s.options.bake}}
	for i := range s.options.batches {
		if batch := rest[i*len(rest)/s.options.batches : (i+1)*len(rest)/s.options.batches]; len(batch) != 0 {
			add(&batches, batch)
		}
	}
	// The whitelist first, shards at the end.
	p.Waves = slices.Insert(waves, 1, singles, batches)
	// While a shard is held, all of its users wait: that is no objection to it.
	p.wave(waveShards).Gate.Objectives = []string{"availability"}
}

// forecast asks the campaign's own simulation how long a plan takes when nothing
// goes wrong.
func (s *show) forecast(ctx context.Context, path string) (time.Duration, error) {
	model := filepath.Join(s.stage.Dir, "model.yaml")
	if err := os.WriteFile(model, []byte("burns_after_step: 0\nunhealthy_after_step: 0\nstep_fails: 0\nblind_a_day: 0\n"), 0o600); err != nil {
		return 0, err
	}
	text, err := s.stage.Migrator(ctx, "campaign", "simulate", path, "--model", model, "--output", "json")
	if err != nil {
		return 0, err
	}
	var result struct {
		Took time.Duration `json:"took_median"`
	}
	if err := json.Unmarshal(text, &result); err != nil {
		return 0, fmt.Errorf("migrator campaign simulate: %w", err)
	}
	return result.Took, nil
}
