package campaign

import (
	"fmt"
	"time"

	"github.com/goccy/go-yaml"

	"drover/internal/config"
)

// PlanBytesMax bounds a plan: 1,048,576 buckets in ranges of one are 8 MB, and
// 100,000 ids of the whitelist 25 MB.
const PlanBytesMax = 64 << 20

// DecodePlan reads a plan strictly: a key that it does not know, or one that is
// there twice, is an error with its line.
func DecodePlan(text []byte) (*Plan, error) {
	p := &Plan{}
	if err := config.DecodeMax(text, PlanBytesMax, p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	return p, nil
}

// EncodePlan writes a plan with comments for whoever edits it.
func EncodePlan(p *Plan) ([]byte, error) {
	text, err := yaml.MarshalWithOptions(p, yaml.WithComment(comments(p)), yaml.IndentSequence(false))
	if err != nil {
		return nil, fmt.Errorf("campaign's plan: %w", err)
	}
	return text, nil
}

// comments are what the file says beside its keys.
func comments(p *Plan) yaml.CommentMap {
	var takes time.Duration
	for _, w := range p.Waves {
		takes += w.Takes
	}
	m := yaml.CommentMap{
		"$.format": {yaml.HeadComment(
			" The plan of a campaign: edit it, then: migrator campaign apply FILE",
			fmt.Sprintf(" %d users in %d waves; what moves takes %s, and the bakes and the pace come on top:", p.Users(), len(p.Waves), takes.Round(time.Second)),
			" migrator campaign simulate FILE says when it will end.")},
		"$.map":     {yaml.HeadComment(" The map that this plan was made for. Apply refuses it for another one.")},
		"$.default": {yaml.HeadComment(" auto: the default becomes the target once more than half of the users live there. Or the datacenter to pin it to.")},
		"$.burning": {yaml.HeadComment(" What follows when the objectives burn while users bake: hold, stop or return.")},
		"$.return":  {yaml.HeadComment(" How users go back: at_once, those who were just moved; or stepwise, the newest step first, on through the wave until nothing burns.")},
		"$.pace": {yaml.HeadComment(
			" start, add, min and max are users an hour. Each healthy bake adds; an unhealthy one halves, once a step.",
			" users_an_hour_max bounds any 60 minutes, and no step may have more; parallel is steps at a time.")},
		"$.waves": {yaml.HeadComment(
			" One wave after the other; a step's bake is passed before the next one begins (parallel: that many at a time).",
			" gate.objectives: those that are asked, all when left out. gate.parity: the share of answers that may differ.",
			" users, buckets and takes are counted again when the plan is applied.")},
	}
	if !p.Quiet.IsZero() {
		m["$.quiet"] = []*yaml.Comment{yaml.HeadComment(" When no step begins, such as 22:00-06:00 or sat,sun 00:00-24:00, by the clock of the zone.")}
	}
	return m
}
