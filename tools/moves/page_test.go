package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const page = "../../docs/faults.md"

// row is what happened in a case.
type row struct {
	meanwhile, outcome string
	lost, duplicated   int
}

const opening = `# Faults during a move, and what becomes of it

Every row was tried on real servers with the migrator as it ships, under load, by ` + "`tools/moves`" + `, and says what happened;
` + "`make docs-faults`" + ` tries them all and writes this page anew, and ` + "`make soak`" + ` compares it. A row is a fault that comes at a crash point, which
is a place before or after one thing that the migrator does. Then the operator runs ` + "`migrator resume`" + `.

- **until the resume**: what users of the moved buckets meet when the fault is over and nobody has resumed yet: they *write on*, or they
  *wait for the resume*, where the bucket is frozen or past the commit point. All other users write on, but for those of a server
  that is down while it is;
- **after the resume**: the move is *finished*, or *undone* with everything as before;
- **lost** and **duplicated**: of the writes that were acknowledged or of unknown outcome, compared one by one with the rows at both ends.

After each case, too: map, fences and journal agree, no bucket was active at both ends at any time, no write was accepted in an epoch
that was over, and each user's history of writes and reads is that of one register. A row for which that is not so fails the test.

A migrator that is *frozen, replaced, woken* has lost its lock and its open transactions while it did not run, and goes on after
another one has finished its move.
`

func (c faultCase) line(r row) string {
	return fmt.Sprintf("| `%s` | %s | %s | %d | %d |", c.point, r.meanwhile, r.outcome, r.lost, r.duplicated)
}

// render writes the page of all cases that were tried.
func render(cases []faultCase, rows func(faultCase) (row, bool)) string {
	var b strings.Builder
	b.WriteString(opening)
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
	now := render(shared.cases, rows)
	complete := strings.Count(now, "\n| `") == len(shared.cases)
	if *update && complete {
		must(t, os.WriteFile(page, []byte(now), 0o644))
		return
	}
	text, err := os.ReadFile(page)
	must(t, err)
	if everything && complete && string(text) != now {
		t.Errorf("%s does not say what happened; run make docs-faults, and look at the difference", page)
	}
	for _, c := range shared.cases {
		if r, tried := rows(c); tried && !hasLine(string(text), c, r) {
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
