package cli

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"drover/migrator/internal/campaign"
	"drover/migrator/internal/console"
	"drover/migrator/internal/slo"
)

const (
	// sloPointsMax bounds the looks at the objectives that are remembered: an hour of
	// one every 5 seconds, and longer with every second point gone.
	sloPointsMax = 720
	// sloValuesMax bounds their figures, points × series: × 250 bytes = 3.6 MB at
	// worst, which one event may have. 2 objectives × 2 datacenters × 3 cohorts × 720
	// points are 8,640.
	sloValuesMax = 15_000
	// sloFiguresMax bounds the figures of a verdict that are shown, those that
	// decided first: × 400 bytes = 80 KB.
	sloFiguresMax = 200
)

// off is what a topic carries that there is nothing to tell of.
type off struct {
	Off string `json:"off"`
}

func offBecause(err error) off {
	return off{strings.TrimPrefix(err.Error(), errUsage.Error()+": ")}
}

// sloSource looks at the objectives, and remembers what it saw.
type sloSource struct {
	app      *app
	campaign *campaignSource
	history  sloHistory
}

func (*sloSource) Topic() string { return "slo" }

// Watch looks at the objectives until ctx ends, as a run of the campaign does.
func (s *sloSource) Watch(ctx context.Context, told func(any)) error {
	config, _, err := s.app.sloConfig()
	if err != nil {
		told(offBecause(err))
		<-ctx.Done()
		return ctx.Err()
	}
	judge, err := (&campaigns{app: s.app}).judge(campaign.Status{}, runFlags{})
	if err != nil {
		return err
	}
	defer judge.close()
	ticker := time.NewTicker(judge.evaluator.Interval())
	defer ticker.Stop()
	for {
		judge.sees(s.campaign.now())
		verdict := judge.Evaluate(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p := pointOf(verdict, judge.evaluator.Base())
		s.history.add(p)
		whole := sloValueOf(config, judge.evaluator, verdict)
		change := whole
		whole.History, change.Point = slices.Clone(s.history.points), &p // they go on
		told(console.Growing{Whole: whole, Change: change})
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sloValue is what the topic slo carries.
type sloValue struct {
	Verdict    slo.Verdict    `json:"verdict"`
	Objectives []sloObjective `json:"objectives"`
	PageBurn   float64        `json:"page_burn"`
	Windows    []sloWindow    `json:"windows"`
	Interval   time.Duration  `json:"interval"`
	Window     time.Duration  `json:"window"` // the shortest of a page: the points'
	History    []sloPoint     `json:"history,omitempty"`
	Point      *sloPoint      `json:"point,omitempty"`
}

type sloObjective struct {
	Name      string            `json:"name"`
	Kind      slo.ObjectiveKind `json:"kind"`
	Target    float64           `json:"target"`
	Threshold float64           `json:"threshold_ms,omitempty"`
}

type sloWindow struct {
	Severity slo.Severity  `json:"severity"`
	Burn     float64       `json:"burn"`
	Long     time.Duration `json:"long"`
	Short    time.Duration `json:"short"`
}

// sloPoint is one look.
type sloPoint struct {
	At     time.Time   `json:"at"`
	Level  slo.Level   `json:"level"`
	Series []sloFigure `json:"series"`
}

// sloFigure is a group's figure over the shortest window of a page. What is not
// known is not there.
type sloFigure struct {
	Objective  string   `json:"objective"`
	Datacenter string   `json:"datacenter"`
	Cohort     string   `json:"cohort"`
	Ratio      *float64 `json:"ratio,omitempty"`
	Burn       *float64 `json:"burn,omitempty"`
	Events     float64  `json:"events"`
}

func sloValueOf(config slo.Config, e *slo.Evaluator, v slo.Verdict) sloValue {
	value := sloValue{Verdict: v, Interval: e.Interval(), Window: e.Base()}
	value.Verdict.Figures = nil
	for _, f := range v.Figures[:min(len(v.Figures), sloFiguresMax)] {
		f.Events, f.Ratio, f.Burn = number(f.Events), number(f.Ratio), number(f.Burn)
		value.Verdict.Figures = append(value.Verdict.Figures, f)
	}
	for _, o := range config.Objectives {
		value.Objectives = append(value.Objectives, sloObjective{o.Name, o.Kind, o.Target, float64(o.Threshold) / float64(time.Millisecond)})
	}
	scale := func(d time.Duration) time.Duration {
		return time.Duration(float64(d) * config.Windows.Scale).Round(time.Millisecond)
	}
	for _, severity := range []slo.Severity{slo.Page, slo.Ticket} {
		pairs := config.Windows.Page
		if severity == slo.Ticket {
			pairs = config.Windows.Ticket
		}
		for _, p := range pairs {
			w := sloWindow{severity, p.Burn, scale(p.Long), scale(p.Short)}
			value.Windows = append(value.Windows, w)
			if severity == slo.Page && w.Short == value.Window {
				value.PageBurn = w.Burn
			}
		}
	}
	return value
}

// number is 0 for what no JSON can say: its figure is unknown, and says why.
func number(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// pointOf takes the figures of one window from a verdict.
func pointOf(v slo.Verdict, window time.Duration) sloPoint {
	p := sloPoint{At: v.At, Level: v.Level, Series: []sloFigure{}}
	for _, f := range v.Figures {
		if f.Severity != slo.Page || f.Window != window {
			continue
		}
		one := sloFigure{Objective: f.Objective, Datacenter: f.Datacenter, Cohort: f.Cohort, Events: number(f.Events)}
		if one.Cohort == "" {
			one.Cohort = string(slo.All)
		}
		same := func(o sloFigure) bool {
			return o.Objective == one.Objective && o.Datacenter == one.Datacenter && o.Cohort == one.Cohort
		}
		if slices.ContainsFunc(p.Series, same) { // another pair with that window
			continue
		}
		if f.Level != slo.Unknown {
			ratio, burn := number(f.Ratio), number(f.Burn)
			one.Ratio, one.Burn = &ratio, &burn
		}
		p.Series = append(p.Series, one)
	}
	// The verdict has those first that decided: here each has its place.
	slices.SortFunc(p.Series, func(a, b sloFigure) int {
		return strings.Compare(a.Objective+"\x00"+a.Datacenter+"\x00"+a.Cohort, b.Objective+"\x00"+b.Datacenter+"\x00"+b.Cohort)
	})
	return p
}

// sloHistory are looks, the oldest first.
type sloHistory struct{ points []sloPoint }

// add adds a look. Where there are too many every second one goes, but for the
// newest: what is long ago is known less finely.
func (h *sloHistory) add(p sloPoint) {
	h.points = append(h.points, p)
	values := 0
	for _, p := range h.points {
		values += len(p.Series)
	}
	for n := len(h.points); n > 1 && (n > sloPointsMax || values > sloValuesMax); n = len(h.points) {
		kept := []sloPoint{}
		values = 0
		for i, p := range h.points {
			if i == n-1 || (n-1-i)%2 == 0 {
				kept = append(kept, p)
				values += len(p.Series)
			}
		}
		h.points = kept
	}
}
