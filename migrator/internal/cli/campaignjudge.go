package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/migrator/internal/campaign"
	"drover/migrator/internal/parity"
	"drover/migrator/internal/slo"
)

// campaignJudge says how the objectives are: by the section slo, or by a file.
// It is safe for concurrent use.
type campaignJudge struct {
	evaluator *slo.Evaluator // nil: the file, or nothing
	file      string
	maps      store
	to        string
	entries   entries
	// populated are the datacenters that somebody lives in, by the last map.
	populated map[string]bool
}

// movedFor is how long users count as just moved, as the proxies do by default.
const movedFor = time.Hour

func (k *campaigns) judge(status campaign.Status, f runFlags) (*campaignJudge, error) {
	j := &campaignJudge{file: f.verdicts, maps: k.store, to: string(status.To)}
	j.entries.moved = map[campaign.StepID]time.Time{}
	for _, w := range status.Waves {
		for _, s := range w.Steps {
			if s.State == campaign.Baking || s.State == campaign.Passed {
				j.entries.moved[s.Step] = s.Moved
			}
		}
	}
	if f.verdicts != "" {
		return j, nil
	}
	config, datacenters, err := k.sloConfig()
	if err != nil {
		// Nothing is known, then, and nobody moves; who runs it is told at once.
		k.remark("warning", fmt.Sprintf("no objectives: %v; nobody moves until there are some", err), nil)
		return j, nil
	}
	j.evaluator, err = slo.New(config, slo.Options{Datacenters: datacenters, Expect: j.expect})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return j, nil
}

// register shows the evaluator's metrics.
func (j *campaignJudge) register(registry prometheus.Registerer) {
	if j.evaluator != nil {
		registry.MustRegister(j.evaluator)
	}
}

// heard notes who was just moved.
func (j *campaignJudge) heard(e campaign.Entry) {
	if e.Kind != campaign.EntryStep {
		return
	}
	j.entries.Lock()
	defer j.entries.Unlock()
	switch e.State {
	case campaign.Baking:
		j.entries.moved[e.Step] = e.At
	case campaign.Returned:
		delete(j.entries.moved, e.Step)
	default:
	}
}

// expect says whether somebody must be in a group: then too few requests are
// unknown, and not good.
func (j *campaignJudge) expect(datacenter string, cohort slo.Cohort) bool {
	j.entries.Lock()
	defer j.entries.Unlock()
	if cohort != slo.Moved {
		return j.populated[datacenter]
	}
	if datacenter != j.to {
		return false
	}
	for _, at := range j.entries.moved {
		if time.Since(at) < movedFor {
			return true
		}
	}
	return false
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
	populated := map[string]bool{string(snap.Default().Datacenter): true}
	for _, s := range snap.Shards() {
		if snap.BucketsOf(s.Name) != 0 {
			populated[string(s.Datacenter)] = true
		}
	}
	j.entries.Lock()
	j.populated = populated
	j.entries.Unlock()
	return j.evaluator.Evaluate(ctx)
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

// parityOf asks the proxies how mirrored answers compare.
type parityOf struct {
	client *parity.Client
	bases  []string
}

// gateParity asks the proxies, or is nil where none are known: a gate that asks
// for parity is unknown then.
func (k *campaigns) gateParity(proxies []string) campaign.Parity {
	client, bases, err := k.openParity(proxies)
	if err != nil {
		return nil
	}
	return &parityOf{client, bases}
}

// Parity judges by the proxies' reports.
func (p *parityOf) Parity(ctx context.Context, most float64) slo.Verdict {
	j := parity.Gate{DifferentMax: most}.Judge(p.client.Collect(ctx, p.bases))
	v := slo.Verdict{Level: slo.Unknown, Reason: j.Reason, At: time.Now()}
	switch j.Level {
	case parity.Passed:
		v.Level = slo.Healthy
	case parity.Failed:
		v.Level = slo.Burning
	default:
	}
	return v
}
