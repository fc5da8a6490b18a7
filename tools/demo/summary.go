package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"drover/bucketmap"
	"drover/tools/demo/internal/ledger"
	"drover/tools/demo/internal/load"
	"drover/tools/demo/internal/stage"
)

// errRed says that the show went wrong.
var errRed = errors.New("RED")

// shownMax bounds what is listed of each kind of finding.
const shownMax = 10

// judge prints the summary, and returns an errRed that names everything that
// was not as it should be. failure is what ended the show early, or nil.
func (s *show) judge(ctx context.Context, failure error) error {
	total := s.table()
	snap, err := s.stage.Map(ctx)
	if err != nil {
		return errors.Join(failure, err)
	}
	after := stage.Population(snap, s.options.users)
	s.populations(after)
	job := s.job.Figures()
	s.screen.line("\nThe nightly job made %s around the edge. %s went to the wrong place or came too early; each was sent again.",
		plural(job.Writes, "write"), thousands(job.Refused))
	s.screen.line("Every acknowledged write was looked for at its user's home: %s.", plural(s.audit.Acknowledged, "write"))
	s.findings(snap)
	off, known := s.compare()

	var wrong []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	lost, duplicated := s.audit.Count(ledger.Lost), s.audit.Count(ledger.Duplicated)
	lost, duplicated = max(lost, s.sum(ledger.Lost)), max(duplicated, s.sum(ledger.Duplicated))
	add(lost > 0, "%s lost", plural(lost, "write"))
	add(duplicated > 0, "%s applied more often than asked for", plural(duplicated, "write"))
	add(total.Stale > 0, "%s", plural(total.Stale, "stale read"))
	add(total.Errors > 0, "%s failed", plural(total.Errors, "request"))
	add(job.Failed > 0, "the nightly job gave up %s", plural(job.Failed, "write"))
	add(total.Rate() < float64(s.options.rateMin), "%.0f requests a second, want %d or more", total.Rate(), s.options.rateMin)
	for _, p := range s.acts {
		add(len(p.astray) > 0, "in %q: %s", p.short, strings.Join(p.astray[:min(len(p.astray), shownMax)], "; "))
	}
	if failure == nil && s.options.fence != stage.FenceOff {
		add(!s.flipped(), "the default did not change once from %s to %s", stage.Source, stage.Target)
		add(!known, "what the campaign took is not known")
		add(s.options.offMax != 0 && math.Abs(off) > s.options.offMax, "the forecast is off by %+.0f %%, want %.0f at most", 100*off, 100*s.options.offMax)
		add(len(s.campaign.open()) != 0, "steps of the campaign are not passed: %s", strings.Join(s.campaign.open(), ", "))
		add(after[stage.Target] != s.options.users, "%s are still in %s", plural(after[stage.Source], "user"), stage.Source)
	}
	if failure == nil && len(wrong) == 0 {
		s.screen.line("\nGREEN: %s users moved under %.0f requests a second; no request failed, no write was lost.", thousands(s.options.users), total.Rate())
		return nil
	}
	if len(wrong) != 0 {
		failure = errors.Join(failure, fmt.Errorf("%w: %s", errRed, strings.Join(wrong, "; ")))
	}
	return errors.Join(failure, s.stage.SaveMetrics(ctx))
}

// compare prints the forecast beside what the campaign took, and returns by how
// much more that was, as a share of what it took; known says whether it came so
// far.
func (s *show) compare() (off float64, known bool) {
	if s.campaign == nil || s.campaign.took == 0 {
		return 0, false
	}
	took := s.campaign.took
	off = (s.forecasted - took).Seconds() / took.Seconds()
	s.screen.line("The campaign took %.1f s, its simulation had said %.1f s: %+.0f %%. (Four waves, each from the word to go on to the end of its",
		took.Seconds(), s.forecasted.Seconds(), 100*off)
	s.screen.line("last bake. The plan's times are of the rehearsal; the breaks between acts, and the way there and back, are in neither.)")
	return off, true
}

// sum adds what was new in each act: what was lost once counts, even if it was
// found again.
func (s *show) sum(kind ledger.Kind) (n int64) {
	for _, p := range s.acts {
		n += p.audit.Count(kind)
	}
	return n
}

// table prints the acts and returns their total.
func (s *show) table() (total load.Figures) {
	t := table.NewWriter()
	t.SetOutputMirror(s.screen)
	style := table.StyleLight
	style.Format.Header, style.Format.Footer = text.FormatDefault, text.FormatDefault
	t.SetStyle(style)
	var columns []table.ColumnConfig
	for number := 3; number <= 10; number++ {
		columns = append(columns, table.ColumnConfig{Number: number, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	t.AppendHeader(table.Row{"", "act", "seconds", "requests", "errors", "lost", "duplicated", "stale reads", "longest wait, ms", "p99, ms"})
	seconds := 0.0
	for i, p := range s.acts {
		f := p.figures
		t.AppendRow(table.Row{i, p.short, fmt.Sprintf("%.1f", p.took.Seconds()), thousands(f.Requests), f.Errors,
			p.audit.Count(ledger.Lost), p.audit.Count(ledger.Duplicated), f.Stale, f.Longest().Milliseconds(), f.Percentile(0.99).Milliseconds()})
		total.Add(f)
		seconds += p.took.Seconds()
	}
	t.AppendFooter(table.Row{"", "all", fmt.Sprintf("%.1f", seconds), thousands(total.Requests), total.Errors, s.sum(ledger.Lost), s.sum(ledger.Duplicated),
		total.Stale, total.Longest().Milliseconds(), total.Percentile(0.99).Milliseconds()})
	s.screen.line("")
	t.Render()
	return total
}

func (s *show) populations(after map[bucketmap.Datacenter]int) {
	s.screen.line("\nusers      before    after")
	for _, datacenter := range []bucketmap.Datacenter{stage.Source, stage.Target} {
		s.screen.line("%-8s %8s %8s", datacenter, thousands(s.before[datacenter]), thousands(after[datacenter]))
	}
}

// findings lists what is wrong with writes.
func (s *show) findings(snap *bucketmap.Snapshot) {
	shown := map[ledger.Kind]int{}
	for _, f := range s.audit.Sorted() {
		if shown[f.Kind]++; shown[f.Kind] > shownMax {
			continue
		}
		b := bucketmap.Bucket([]byte(f.User.ID()), snap.Buckets())
		home, _ := snap.Home(b)
		s.screen.line("   %s: user %s, bucket %d, home %s: %s", f.Kind, f.User.ID(), b, home.Name, f.What)
	}
	for _, kind := range []ledger.Kind{ledger.Lost, ledger.Duplicated} {
		if more := shown[kind] - shownMax; more > 0 {
			s.screen.line("   %s: and %d more like these", kind, more)
		}
	}
}
