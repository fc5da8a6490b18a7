package campaign

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"drover/migrator/internal/slo"
)

// Judge says how the objectives are.
type Judge interface {
	Evaluate(ctx context.Context) slo.Verdict
}

// Parity says whether few enough mirrored answers differ, of those that were
// compared since the first look with the same since: Healthy when at most the share
// most does, Burning when certainly more do, else Unknown.
type Parity interface {
	Parity(ctx context.Context, most float64, since Since) slo.Verdict
}

// Since names what mirrored answers are judged from: the last line of the journal by
// which users of the wave came to the target or home, an operator said resume, or a
// run began. What was compared before tells of others, or of a fault that is mended.
type Since struct {
	Wave string
	Line uint64 // and not its time: a clock that was set back gives many lines one
}

// verdict is what the gate of a wave makes of a verdict.
type verdict struct {
	level   slo.Level
	reason  string
	cause   Cause // CauseParity, or empty
	figures []slo.Figure
	old     string    // see slo.Verdict
	at      time.Time // when it was asked for
}

// gated is a verdict as a gate takes it. asked is when it was asked for, and now
// when the answer came; a verdict of before maxAge is none.
func gated(g Gate, v slo.Verdict, asked, now time.Time, maxAge time.Duration) verdict {
	out := verdict{level: v.Level, reason: v.Reason, old: v.Old, at: asked}
	out.figures, v.Figures = clean(v.Figures)
	switch v.Level {
	case slo.Healthy, slo.Unhealthy, slo.Burning, slo.Unknown:
	default:
		return out.unknown("the judge says %q, which is no level", v.Level)
	}
	switch {
	case v.At.IsZero() || v.At.Before(now.Add(-maxAge)):
		return out.unknown("the verdict is of %s, older than %s", v.At.UTC().Format(time.RFC3339), maxAge)
	case v.At.After(now.Add(maxAge)):
		return out.unknown("the verdict is of %s, which is to come: look at the clocks", v.At.UTC().Format(time.RFC3339))
	}
	if v.Level == slo.Healthy {
		for _, f := range out.figures {
			if f.Level == slo.Unknown && f.Why == notANumber {
				return out.unknown("the figures of %s in %s are no numbers", f.Objective, f.Datacenter)
			}
		}
	}
	if len(g.Objectives) != 0 {
		out.choose(g.Objectives)
	}
	if out.reason == "" {
		out.reason = "the objectives are " + string(out.level)
	}
	return out
}

const notANumber = "not a number"

// clean makes figures fit for JSON, which has no word for what is no number, and
// bounds their number.
func clean(figures []slo.Figure) (few, all []slo.Figure) {
	all = slices.Clone(figures)
	for i := range all {
		f := &all[i]
		for _, n := range []*float64{&f.Events, &f.Ratio, &f.Burn} {
			if math.IsNaN(*n) || math.IsInf(*n, 0) {
				*n, f.Level, f.Why = 0, slo.Unknown, notANumber
			}
		}
	}
	return all[:min(len(all), figuresMax)], all
}

func (v verdict) unknown(format string, args ...any) verdict {
	v.level = slo.Unknown
	v.reason = fmt.Sprintf(format, args...)
	return v
}

// badness orders levels for choose alone; a level that has none is unknown.
var badness = map[slo.Level]int{slo.Healthy: 1, slo.Unhealthy: 2, slo.Burning: 3}

// choose takes the figures of the named objectives alone: the worst of them is
// the level, but none worse than what the judge, who knows how windows belong
// together, made of all. One with no figures, or an unknown one, is unknown
// unless another burns.
func (v *verdict) choose(names []string) {
	worst, missing := slo.Healthy, ""
	for _, name := range names {
		found := false
		for _, f := range v.figures {
			if f.Objective != name {
				continue
			}
			if found = true; f.LeftOut {
				continue
			}
			if badness[f.Level] == 0 {
				missing = fmt.Sprintf("%s in %s is unknown: %s", name, f.Datacenter, f.Why)
			} else if badness[f.Level] > badness[worst] {
				worst = f.Level
			}
		}
		if !found {
			missing = fmt.Sprintf("the judge has no figures of %s, which the gate asks for", name)
		}
	}
	if n := badness[v.level]; n != 0 && n < badness[worst] {
		worst = v.level
	}
	switch {
	case missing != "" && worst != slo.Burning:
		v.level, v.reason = slo.Unknown, missing
	case worst != v.level:
		v.reason = fmt.Sprintf("of %v: %s; of all: %s", names, worst, v.reason)
		v.level = worst
	}
}

// ask asks the judge, and the parity where the gate has one. It always comes
// back with a verdict: what takes too long is unknown.
func ask(ctx context.Context, g Gate, judge Judge, parity Parity, since Since, maxAge time.Duration) verdict {
	asked := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, askMax, fmt.Errorf("no answer within %s", askMax))
	defer cancel()
	v := gated(g, judge.Evaluate(ctx), asked, time.Now(), maxAge)
	if g.Parity == nil || v.level == slo.Burning {
		return v
	}
	if v.level != slo.Unknown {
		v.cause = CauseParity
	}
	if parity == nil && v.level == slo.Unknown {
		return v
	}
	if parity == nil {
		return v.unknown("the gate asks for parity, and nobody compares answers: set mirror at the proxies, or leave gate.parity out")
	}
	p := gated(Gate{}, parity.Parity(ctx, *g.Parity, since), asked, time.Now(), maxAge)
	v.cause = CauseParity
	if p.level == slo.Healthy || p.level == slo.Unhealthy || v.level == slo.Unknown && p.level != slo.Burning {
		v.cause = "" // the objectives decide
		return v
	}
	v.level, v.reason = p.level, "parity: "+p.reason
	return v
}

// askMax bounds one look at the objectives; controls do not wait for it.
const askMax = 10 * time.Second
