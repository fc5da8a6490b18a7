package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"drover/tools/demo/internal/ledger"
	"drover/tools/demo/internal/stage"
)

// faultRow is what came of one case.
type faultRow struct {
	number   int
	name     string
	hold     time.Duration // from the first fault to the decision, or until it was found
	users    int           // who met the fault
	requests int           // that met it
	moved    int           // users who moved after it
	share    float64       // of all requests of the target
	hidden   bool          // the share is below the objective's
	back     time.Duration // until the wave lives at the source again
	on       time.Duration // until it goes on by itself, once all is well
	why      string
	wrong    []string
}

// not notes what was not as it must be.
func (r *faultRow) not(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// seconds shows a time; nothing when there is none.
func seconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", d.Seconds())
}

func (r *faultRow) String() string {
	if len(r.wrong) != 0 {
		return "NOT AS IT MUST BE: " + strings.Join(r.wrong, "; ")
	}
	line := fmt.Sprintf("after %s s: %s", seconds(r.hold), r.why)
	if r.back != 0 {
		line += fmt.Sprintf("; home after %s s", seconds(r.back))
	}
	if r.on != 0 {
		line += fmt.Sprintf("; it went on %s s after all was well", seconds(r.on))
	}
	return line
}

// judge compares the ledger with the databases, prints the table, and returns an
// errRed that names what was not as it must be.
func (t *trial) judge(ctx context.Context) error {
	if t.blinded != nil {
		t.blinded.end()
	}
	if err := t.pause(ctx); err != nil {
		return err
	}
	figures := t.users.Take()
	books, err := t.stage.Books(ctx)
	if err != nil {
		return err
	}
	audit := t.ledger.Audit(books)
	astray, err := t.stage.Homes(ctx)
	if err != nil {
		return err
	}
	t.table()
	lost, duplicated := audit.Count(ledger.Lost), audit.Count(ledger.Duplicated)
	t.screen.line("\n%s, %s failed as they were made to, %.0f a second. Every acknowledged write was looked for at its user's home: %s; %s lost, %s applied twice, %s.",
		plural(figures.Requests, "request"), thousands(figures.Errors), figures.Rate(), plural(audit.Acknowledged, "write"), thousands(lost), plural(duplicated, "write"), plural(figures.Stale, "stale read"))
	var wrong []string
	for _, r := range t.rows {
		for _, w := range r.wrong {
			wrong = append(wrong, fmt.Sprintf("%d, %s: %s", r.number, r.name, w))
		}
	}
	for i, f := range audit.Sorted() {
		if i < shownMax {
			t.screen.line("   %s: user %s: %s", f.Kind, f.User.ID(), f.What)
		}
	}
	if lost+duplicated != 0 || figures.Stale != 0 {
		wrong = append(wrong, fmt.Sprintf("%d writes lost, %d applied twice, %d stale reads", lost, duplicated, figures.Stale))
	}
	if len(astray) != 0 {
		wrong = append(wrong, strings.Join(astray[:min(len(astray), shownMax)], "; "))
	}
	if len(wrong) != 0 {
		return errors.Join(fmt.Errorf("%w: %s", errRed, strings.Join(wrong, "; ")), t.stage.SaveMetrics(ctx))
	}
	t.screen.line("\nGREEN: every fault was found, nobody went on without knowing, and nobody went back without a reason.")
	return nil
}

// table prints a row for each case.
func (t *trial) table() {
	w := table.NewWriter()
	w.SetOutputMirror(t.screen)
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	w.SetStyle(style)
	var columns []table.ColumnConfig
	for number := 3; number <= 9; number++ {
		columns = append(columns, table.ColumnConfig{Number: number, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	w.SetColumnConfigs(columns)
	w.AppendHeader(table.Row{"", "fault", "found after, s", "users", "requests", "of all in " + string(stage.Target), "moved meanwhile", "home after, s", "goes on after, s", ""})
	for _, r := range t.rows {
		verdict, share := "as it must be", ""
		if len(r.wrong) != 0 {
			verdict = "WRONG"
		}
		if r.requests != 0 {
			share = fmt.Sprintf("%.2f%%", 100*r.share)
		}
		w.AppendRow(table.Row{r.number, r.name, seconds(r.hold), thousands(r.users), thousands(r.requests), share, thousands(r.moved), seconds(r.back), seconds(r.on), verdict})
	}
	t.screen.line("")
	w.Render()
	t.screen.line("Users and requests are those that met the fault until everybody was home. The shortest window is %v, and the campaign looks every %v.",
		t.options.base(), lookEvery)
}
