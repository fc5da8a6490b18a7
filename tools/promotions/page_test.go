package promotions

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The page, and the comments between which its part about promotions is.
const (
	page  = "../../docs/faults.md"
	begin = "<!-- promotions: written by tools/promotions -->"
	end   = "<!-- end of promotions -->"
)

const opening = `
# Faults during a promotion, and what becomes of it

The same for ` + "`migrator shard promote`" + `, by ` + "`tools/promotions`" + `: a shard with a durable server in each of two datacenters, which start
read-only by their configuration, replicate asynchronously, and are written all the time: through the library in both datacenters, past the
map straight on both servers, by the library's check and by the triggers alone, and to a table without a fence that ` + "`read_only`" + ` alone
protects. After the fault the operator runs ` + "`migrator resume`" + ` until nothing is left to resume.

- **until the resume**: whether the shard has a primary that takes writes when the fault is over and nobody has resumed yet;
- **outcome**: the promotion is *finished*, *undone* with everything as before, or *refused* before anything was changed;
- **lost** and **duplicated**: of all writes that were acknowledged or of unknown outcome, the table without a fence included;
- **nobody wrote for**: the longest time without an acknowledged write, from the fault on. It differs from run to run, and so may the words
  of the migrator; the rest of a row does not.

After each case, too: map, fence, ` + "`read_only`" + `, replication and journal agree on both servers, or ` + "`migrator doctor`" + ` says what to do, and
doing that makes them agree; the replica has the rows of the primary; no two servers took writes at once, by what each write has seen; each
user's history is that of one register; and once the operator is back nobody waits for longer than %s. A row for which that is not so fails
the test.
`

// adversariesTitle is the one table of which the rows say more.
const adversariesTitle = "Adversaries"

func (c faultCase) line(r row) string {
	if c.title == adversariesTitle {
		return fmt.Sprintf("| %s | %s | %d | %d | %.1f s | %s |", c.name, r.outcome, r.lost, r.duplicated, r.closed, r.said)
	}
	return fmt.Sprintf("| %s | %s | %s | %d | %d |", c.name, r.meanwhile, r.outcome, r.lost, r.duplicated)
}

// lasting is the part of a line that does not differ from run to run.
func (c faultCase) lasting(r row) string {
	line := c.line(r)
	if c.title == adversariesTitle {
		line, _, _ = strings.Cut(line, fmt.Sprintf(" | %.1f s | ", r.closed))
	}
	return line
}

func (c faultCase) heading() string { return "## " + c.title + ", in a promotion" }

// lineIn is the line of a case in a part, "" where it has none.
func (c faultCase) lineIn(part string) string {
	_, section, _ := strings.Cut(part, c.heading()+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.SplitSeq(section, "\n") {
		if strings.HasPrefix(line, "| "+c.name+" | ") {
			return line
		}
	}
	return ""
}

// render writes the part anew. A case that was not tried keeps its line.
func render(cases []faultCase, before string) string {
	var b strings.Builder
	b.WriteString(begin + "\n")
	fmt.Fprintf(&b, opening, closedMax)
	title := ""
	for _, c := range cases {
		line := c.lineIn(before)
		if r, tried := shared.rows[c.String()]; tried {
			line = c.line(r)
		}
		if line == "" {
			continue
		}
		if c.title != title {
			title = c.title
			columns := "| at | until the resume | outcome | lost | duplicated |\n| --- | --- | --- | --- | --- |"
			if title == adversariesTitle {
				columns = "| what | outcome | lost | duplicated | nobody wrote for | the migrator said |\n| --- | --- | --- | --- | --- | --- |"
			}
			fmt.Fprintf(&b, "\n%s\n\n%s\n", c.heading(), columns)
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("\n" + end + "\n")
	return b.String()
}

// replacePart puts a new part in the place of the old one, or at the end.
func replacePart(text, part string) string {
	before, rest, found := strings.Cut(text, begin)
	if !found {
		return strings.TrimRight(text, "\n") + "\n\n" + part
	}
	_, after, _ := strings.Cut(rest, end+"\n")
	return before + part + after
}

// comparePage fails where the page says something else than what happened.
func comparePage(t *testing.T, cases []faultCase) {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	text, err := os.ReadFile(page)
	must(t, err)
	_, part, _ := strings.Cut(string(text), begin)
	if *update {
		must(t, os.WriteFile(page, []byte(replacePart(string(text), render(cases, part))), 0o644))
		return
	}
	for _, c := range cases {
		r, tried := shared.rows[c.String()]
		if !tried {
			continue
		}
		if line := c.lineIn(part); line != c.lasting(r) && !strings.HasPrefix(line, c.lasting(r)+" |") {
			t.Errorf("%s does not say this of %s; run make docs-faults:\n%s", page, c, c.line(r))
		}
	}
}

func TestAPartOfThePageIsReplacedAndTheRestStays(t *testing.T) {
	part := begin + "\nnew\n" + end + "\n"
	for _, c := range []struct{ text, want string }{
		{"# moves\n", "# moves\n\n" + part},
		{"# moves\n\n" + begin + "\nold\n" + end + "\nmore\n", "# moves\n\n" + part + "more\n"},
	} {
		if got := replacePart(c.text, part); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
