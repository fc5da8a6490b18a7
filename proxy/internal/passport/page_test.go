package passport

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/emicklei/dot"
)

const (
	page    = "../../../docs/passport.md"
	picture = "../../../docs/passport.svg"
)

// graph draws the table Next. Every node and edge carries an id, which the
// picture keeps: without a dash, which it would spell otherwise.
func graph() string {
	g := dot.NewGraph(dot.Directed)
	g.Attr("rankdir", "TB")
	nodes := map[State]dot.Node{}
	for s := range stateCount {
		n := g.Node(s.String()).Attr("id", s.String()).Attr("shape", "box").Attr("style", "rounded").Attr("fontname", "sans-serif")
		switch {
		case s == Done:
			n.Attr("peripheries", 2)
		case own[s] || s == Responding:
			n.Attr("style", "rounded,filled").Attr("fillcolor", "#dbe9f6")
		}
		nodes[s] = n
	}
	for s := range stateCount {
		for _, next := range Next[s] {
			e := g.Edge(nodes[s], nodes[next]).Attr("id", edgeID(s, next))
			switch {
			case s != Responding && next == Done, s != Waiting && next == Responding:
				e.Attr("style", "dashed").Attr("color", "#999999")
			case next <= s && next != Rerouting, s == Sending && next == Receiving:
				e.Attr("constraint", false) // back: it does not turn the picture upside down
			}
		}
	}
	return g.String()
}

func edgeID(from, to State) string { return from.String() + "_to_" + to.String() }

// drawn returns the parts of the page that the code says, by their names.
func drawn() map[string]string {
	var states, codes, ends strings.Builder
	states.WriteString("| state | meaning | own time | may go to |\n| --- | --- | --- | --- |\n")
	for s := range stateCount {
		words := make([]string, len(Next[s]))
		for i, n := range Next[s] {
			words[i] = n.String()
		}
		whose := map[bool]string{true: "yes"}[own[s]]
		if s == Responding {
			whose = "until the head is written"
		}
		fmt.Fprintf(&states, "| `%s` | %s | %s | %s |\n", s, s.Meaning(), whose, strings.Join(words, ", "))
	}
	for _, table := range []struct {
		title   string
		letters []letter
	}{{"who", whos}, {"where", wheres}} {
		fmt.Fprintf(&codes, "| %s | meaning |\n| --- | --- |\n", table.title)
		for _, l := range table.letters {
			fmt.Fprintf(&codes, "| `%c` | %s |\n", l.letter, l.meaning)
		}
		codes.WriteString("\n")
	}
	for _, end := range Ends() {
		p := &Passport{}
		p.begin(Identifying, 0)
		p.End = end
		fmt.Fprintf(&ends, "| `%s` | `%c` |\n", end, p.code().Who())
	}
	return map[string]string{
		"states": states.String(),
		"graph":  "```dot\n" + strings.TrimSpace(graph()) + "\n```\n",
		"codes":  strings.TrimSpace(codes.String()) + "\n",
		"ends":   "| end | who, when nobody said |\n| --- | --- |\n" + ends.String(),
	}
}

func TestPassportPageShowsWhatTheCodeSays(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for name, part := range drawn() {
		begin, end := "<!-- drawn: "+name+" -->\n", "<!-- end of "+name+" -->\n"
		before, rest, ok := strings.Cut(want, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no place for %s: put %q and %q there", page, name, begin, end)
		}
		want = before + begin + "\n" + part + "\n" + end + after
	}
	if *update {
		write(t, page, []byte(want))
		drawPicture(t)
		return
	}
	if string(text) != want {
		t.Errorf("%s is not what the code says: run go test ./proxy/internal/passport -update", page)
	}
	if !strings.Contains(want, "(passport.svg)") {
		t.Errorf("%s does not show the picture", page)
	}
}

// drawPicture renders the picture where Graphviz is installed.
func drawPicture(t *testing.T) {
	t.Helper()
	program, err := exec.LookPath("dot")
	if err != nil {
		t.Logf("%s is not drawn: install Graphviz", picture)
		return
	}
	cmd := exec.CommandContext(t.Context(), program, "-Tsvg")
	cmd.Stdin = strings.NewReader(graph())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	write(t, picture, out)
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestThePictureNamesEveryStateAndTransition(t *testing.T) {
	text, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	svg := string(text)
	edges := 0
	for s := range stateCount {
		if !strings.Contains(svg, `<g id="`+s.String()+`" class="node">`) {
			t.Errorf("%s is not in %s", s, picture)
		}
		for _, next := range Next[s] {
			edges++
			if !strings.Contains(svg, `<g id="`+edgeID(s, next)+`" class="edge">`) {
				t.Errorf("%s is not in %s", edgeID(s, next), picture)
			}
		}
	}
	if n := strings.Count(svg, `class="edge"`); n != edges {
		t.Errorf("%s has %d transitions, the code has %d: run go test ./proxy/internal/passport -update", picture, n, edges)
	}
	if n := strings.Count(svg, `class="node"`); n != StateCount {
		t.Errorf("%s has %d states, the code has %d", picture, n, StateCount)
	}
}

func TestEveryStateIsReachedHasARowAndAMeaning(t *testing.T) {
	for s := range stateCount {
		if s.String() == "" || s.Meaning() == "" {
			t.Errorf("state %d has no name or no meaning", s)
		}
		reached := s == Identifying // requests begin there
		for _, row := range Next {
			reached = reached || slices.Contains(row, s)
		}
		if !reached {
			t.Errorf("nothing leads to %s", s)
		}
	}
	if len(Next) != StateCount {
		t.Errorf("%d states, %d rows", StateCount, len(Next))
	}
}
