package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const page = "../../docs/faults.md"

// row is what happened in a case.
type row struct {
	meanwhile, outcome string
	lost, duplicated   int

	acknowledged, unknown int           // requests
	closed                time.Duration // the longest without a writable home, from the first resume on
}

const opening = `# Faults during a move, and what becomes of it

Every row was tried on real servers with the migrator as it ships, under load, by ` + "`tools/moves`" + `, and says what happened;
` + "`make docs-faults`" + ` tries them all and writes this page anew, and ` + "`make soak`" + ` compares it. A row is a fault that comes at a crash point, which
is a place before or after one thing that the migrator does. Then the operator runs ` + "`migrator resume`" + `.

- **until the resume**: what users of the moved buckets meet when the fault is over and nobody has resumed yet: they *write on*, or they
  *wait for the resume*, where the bucket is frozen or past the commit point. All other users write on, but for those of a server
  that is down while it is. Where the journal is written beside the activation, either may come first;
- **after the resume**: the move is *finished*, or *undone* with everything as before;
- **lost** and **duplicated**: of the writes that were acknowledged or of unknown outcome, compared one by one with the rows at both ends.

After each case, too: map, fences and journal agree, no bucket was active at both ends at any time, no write was accepted in an epoch
that was over, and each user's history of writes and reads is that of one register. A row for which that is not so fails the test.

A migrator that is *frozen, replaced, woken* has lost its lock while it did not run, but none of its open transactions, and goes on after
another one has finished its move. The other one waits for those transactions, which the server ends after 5 s, where users do not: at
the target, once the bucket is writable at its source.

Each ` + "`make test`" + ` tries a share of the rows: a sixth here, drawn anew each time, and of the points at which the migrator is killed one
of each kind in ` + "`migrator/internal/move`" + `, on the engine alone. ` + "`make soak`" + ` (` + "`DROVER_SOAK=1`" + `) tries all of them in both.
`

// totalsTitle begins the part of the page that no two runs have in common.
const totalsTitle = "\n## In figures\n"

// totals is a table of what was measured, by fault.
func totals(cases []faultCase, rows func(faultCase) (row, bool)) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nMeasured in the run that wrote this page, %d cases at a time. *Closed* is the longest that a bucket had no writable home at a "+
		"stretch, from the\nfirst `migrator resume` on; more than %s fails the test.\n\n"+
		"| fault | cases | acknowledged | unknown | lost | duplicated | closed |\n| --- | --- | --- | --- | --- | --- | --- |\n",
		totalsTitle, lanes, closedMax)
	for i, c := range cases {
		if i > 0 && cases[i-1].fault == c.fault {
			continue
		}
		var sum row
		n := 0
		for _, other := range cases {
			if r, tried := rows(other); tried && other.fault == c.fault {
				n++
				sum.acknowledged, sum.unknown = sum.acknowledged+r.acknowledged, sum.unknown+r.unknown
				sum.lost, sum.duplicated, sum.closed = sum.lost+r.lost, sum.duplicated+r.duplicated, max(sum.closed, r.closed)
			}
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %.1f s |\n",
			c.fault, n, sum.acknowledged, sum.unknown, sum.lost, sum.duplicated, sum.closed.Seconds())
	}
	return b.String()
}

// lasting is a page without what no two runs have in common: the figures, and
// the order of the points of a table, of which some are passed side by side.
func lasting(page string) string {
	before, after, ok := strings.Cut(page, totalsTitle)
	if !ok {
		return page
	}
	_, after, _ = strings.Cut(after, "\n## ")
	sections := strings.Split(after, "\n## ")
	for i, section := range sections {
		lines := strings.Split(strings.TrimRight(section, "\n"), "\n")
		slices.Sort(lines[min(1, len(lines)):])
		sections[i] = strings.Join(lines, "\n")
	}
	return before + "\n## " + strings.Join(sections, "\n## ")
}

func (c faultCase) line(r row) string {
	return fmt.Sprintf("| `%s` | %s | %s | %d | %d |", c.point, r.meanwhile, r.outcome, r.lost, r.duplicated)
}

// render writes the page of all cases that were tried.
func render(cases []faultCase, rows func(faultCase) (row, bool)) string {
	var b strings.Builder
	b.WriteString(opening)
	b.WriteString(totals(cases, rows))
	title := ""
	for _, c := range cases {
		r, tried := rows(c)
		if !tried {
			continue
		}
		if t := c.title(); t != title {
			title = t
			fmt.Fprintf(&b, "\n%s\n\n| at | until the resume | after the resume | lost | duplicated |\n| --- | --- | --- | --- | --- |\n", title)
		}
		b.WriteString(c.line(r) + "\n")
	}
	return b.String()
}

func (c faultCase) title() string {
	return "## " + strings.ToUpper(string(c.fault[:1])) + string(c.fault[1:]) + ", `" + c.command + "`"
}

// promotionsBegin begins the part of the page that tools/promotions writes.
const promotionsBegin = "\n<!-- promotions:"

// parts cuts the page into what is written here and what is not.
func parts(page string) (ours, promotions string) {
	ours, promotions, found := strings.Cut(page, promotionsBegin)
	if found {
		promotions = promotionsBegin + promotions
	}
	return ours, promotions
}

// comparePage fails where the page says something else than what happened.
func comparePage(t *testing.T, everything bool) {
	t.Helper()
	rows := func(c faultCase) (row, bool) {
		r, ok := shared.rows.Load(c)
		if !ok {
			return row{}, false
		}
		return r.(row), true
	}
	if t.Failed() {
		return // what failed is not on the page
	}
	whole, err := os.ReadFile(page)
	must(t, err)
	text, promotions := parts(string(whole))
	now := render(shared.cases, rows)
	complete := strings.Count(now, "\n| `") == len(shared.cases)
	if *update && complete {
		must(t, os.WriteFile(page, []byte(now+promotions), 0o644))
		return
	}
	if everything && complete && lasting(text) != lasting(now) {
		t.Errorf("%s does not say what happened; run make docs-faults, and look at the difference", page)
	}
	for _, c := range shared.cases {
		if r, tried := rows(c); tried && !hasLine(text, c, r) {
			t.Errorf("%s does not say this of %s; run make docs-faults:\n%s", page, c, c.line(r))
		}
	}
}

// hasLine looks for a case's line below its title.
func hasLine(text string, c faultCase, r row) bool {
	_, section, ok := strings.Cut(text, c.title()+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	return ok && strings.Contains(section, c.line(r)+"\n")
}
