package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/migrator/internal/campaign"
	"drover/migrator/internal/slo"
)

// campaignJudge says how the objectives are: by the section slo, or by a file.
// It is safe for concurrent use.
type campaignJudge struct {
	evaluator *slo.Evaluator // nil: the file, or nothing
	file      string
	maps      store
	moves     movedUsers

	mu     sync.Mutex
	to     string                        // the target's datacenter
	moved  map[campaign.StepID]time.Time // whose users are in the target, and since when
	baking map[campaign.StepID]bool      // whose users are looked at
	// populated are the datacenters that somebody lives in, by the last map.
	populated map[string]bool
}

// movedFor is for how long users count as just moved at proxies that do not
// say how long: it is the default of cohort.window.
const movedFor = time.Hour

func (k *campaigns) judge(status campaign.Status, f runFlags) (*campaignJudge, error) {
	j := &campaignJudge{file: f.verdicts, maps: k.store, moves: movedUsers{maps: k.store}}
	j.sees(status)
	if f.verdicts != "" {
		return j, nil
	}
	config, datacenters, err := k.sloConfig()
	if err != nil {
		// Nothing is known, then, and nobody moves; who runs it is told at once.
		k.remark("warning", fmt.Sprintf("no objectives: %v; nobody moves until there are some", err), nil)
		return j, nil
	}
	j.evaluator, err = slo.New(config, slo.Options{Datacenters: datacenters, Expect: j.expect, Moved: j.movedBetween})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return j, nil
}

// every is how often the objectives are asked: as often as their windows need it,
// or oftener.
func (j *campaignJudge) every(wanted time.Duration) time.Duration {
	if j.evaluator == nil {
		return wanted
	}
	return min(wanted, j.evaluator.Interval())
}

// close ends idle connections to the source.
func (j *campaignJudge) close() {
	if j.evaluator != nil {
		j.evaluator.Close()
	}
}

// register shows the evaluator's metrics.
func (j *campaignJudge) register(registry prometheus.Registerer) {
	if j.evaluator != nil {
		registry.MustRegister(j.evaluator)
	}
}

// sees makes the judge know the campaign as it is now; the zero status is none.
func (j *campaignJudge) sees(status campaign.Status) {
	moved, baking := map[campaign.StepID]time.Time{}, map[campaign.StepID]bool{}
	for _, w := range status.Waves {
		for _, s := range w.Steps {
			if s.State == campaign.Baking || s.State == campaign.Passed || s.State == campaign.Returning {
				moved[s.Step] = s.Moved
			}
			if s.State == campaign.Baking {
				baking[s.Step] = true
			}
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.to, j.moved, j.baking = string(status.To), moved, baking
}

// heard notes who was just moved, and who bakes.
func (j *campaignJudge) heard(e campaign.Entry) {
	if e.Kind != campaign.EntryStep {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch e.State {
	case campaign.Baking:
		j.moved[e.Step] = e.At
	case campaign.Returned:
		delete(j.moved, e.Step)
	default:
	}
	if e.State == campaign.Baking {
		j.baking[e.Step] = true
	} else {
		delete(j.baking, e.Step)
	}
}

// expect says whether somebody must be in a group: then too few requests are
// unknown, and not good. While users bake, there must be requests where they are:
// a bake that nobody was seen in is none.
func (j *campaignJudge) expect(datacenter string, cohort slo.Cohort) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if cohort != slo.Moved {
		return j.populated[datacenter] || datacenter == j.to && len(j.baking) != 0
	}
	if datacenter != j.to {
		return false
	}
	window := cmp.Or(j.evaluator.CohortWindow(), movedFor)
	for _, at := range j.moved {
		if time.Since(at) < window {
			return true
		}
	}
	return false
}

// movedBetween says whether users were moved between two moments. Who cannot tell
// says yes: a proxy that knows of nobody before the second moment is not believed
// then.
func (j *campaignJudge) movedBetween(from, to time.Time) bool {
	ctx, cancel := context.WithTimeout(context.Background(), historyMax)
	defer cancel()
	moved, err := j.moves.between(ctx, from, to)
	return moved || err != nil
}

// Evaluate gives the verdict.
func (j *campaignJudge) Evaluate(ctx context.Context) slo.Verdict {
	switch {
	case j.file != "":
		return verdictIn(j.file)
	case j.evaluator == nil:
		return slo.Verdict{Level: slo.Unknown, At: time.Now(),
			Reason: "no objectives are configured: give the section slo, or --verdicts FILE; see docs/slo.md"}
	}
	snap, err := j.maps.Load(ctx)
	if err != nil {
		return slo.Verdict{Level: slo.Unknown, At: time.Now(), Reason: fmt.Sprintf("the map cannot be read, so that nobody knows who must be in the figures: %v", err)}
	}
	populated := populatedBy(snap)
	j.mu.Lock()
	j.populated = populated
	j.mu.Unlock()
	return j.evaluator.Evaluate(ctx)
}

// populatedBy are the datacenters that somebody lives in: those of buckets' homes,
// and the default where some bucket has none. A default that nobody needs is not
// one of them: a campaign may pin it to a target in which nobody lives yet.
func populatedBy(snap *bucketmap.Snapshot) map[string]bool {
	populated, homes := map[string]bool{}, 0
	for _, s := range snap.Shards() {
		if n := int(snap.BucketsOf(s.Name)); n != 0 {
			populated[string(s.Datacenter)] = true
			homes += n
		}
	}
	if homes < int(snap.Buckets()) {
		populated[string(snap.Default().Datacenter)] = true
	}
	return populated
}

// verdictBytesMax bounds a verdict's file: a thousand figures.
const verdictBytesMax = 256 << 10

// verdictIn reads a verdict that something else has written. Whatever is wrong
// with the file makes it unknown.
func verdictIn(path string) slo.Verdict {
	unknown := func(format string, args ...any) slo.Verdict {
		return slo.Verdict{Level: slo.Unknown, At: time.Now(), Reason: fmt.Sprintf(format, args...)}
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return unknown("nobody has written a verdict to %s", path)
	}
	if err == nil && info.Size() > verdictBytesMax {
		return unknown("%s has %d bytes: want %d at most", path, info.Size(), verdictBytesMax)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return unknown("the verdict: %v", err)
	}
	var v slo.Verdict
	if err := json.Unmarshal(text, &v); err != nil {
		return unknown("the verdict in %s: %v", path, err)
	}
	return v
}
