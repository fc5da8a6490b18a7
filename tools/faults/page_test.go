package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const page = "../../docs/bad-maps.md"

func sections() []section {
	return []section{
		{"Maps in the form for people", "In the place of `map.yaml` of a file store. The bad map is version 4, unless its row says otherwise.", contents()},
		{"Signed maps", "Pushed to the admin address of a proxy with a public key (`map.keys`). A proxy that starts is pushed the same again. `map push` looks at no " +
			"signature: whoever gives it a file answers for it, and what is published carries the operator's own.", signedFaults()},
		{"Consul", "What somebody does to Consul's keys behind Drover's back, and what can become of the server.", consulFaults()},
		{"Folder, disk and cache", "Of a proxy with a file store, and its last good map on its own disk (`map.cache`).", diskFaults()},
	}
}

const opening = `# Bad maps, and what becomes of them

Every row was tried on the real programs by ` + "`tools/faults`" + `, and says what happened; ` + "`make docs-faults`" + ` tries them all and writes this page
anew. Before each fault, version 3 is in force. While it comes, and after each step, users in both datacenters, a whitelisted one and
one without an id must be answered from the datacenter that the map in force says, and once the fault is mended, the next good version
must come into force: a row for which that is not so fails the test, and is not on this page.

- **publishing**: an operator runs ` + "`migrator map push --force-homes`" + `: of the bad map on a good store, or of a good map on the broken
  store;
- **running**: a proxy that runs version 3 when the fault comes;
- **starting**: the proxy is killed, and started in the fault.

A word in ` + "`code`" + ` is the rule by which a map was refused: it is in the proxy's log, in its acknowledgement, in
` + "`drover_proxy_map_refused_total{rule}`" + `, and with its reason and its remedy at ` + "`GET /map`" + ` of the admin server.
`

func render(all []section, rows [][]row) string {
	var b strings.Builder
	b.WriteString(opening)
	for i, s := range all {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| fault | publishing | running | starting |\n| --- | --- | --- | --- |\n", s.title, s.text)
		for j, f := range s.faults {
			if rows[i][j] == (row{}) {
				continue // left out by -run
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.name, rows[i][j].publishing, rows[i][j].running, rows[i][j].starting)
		}
	}
	return b.String()
}

// readPage returns the rows that the page has; those that it has not, and all
// with -update, are empty.
func readPage(t *testing.T, all []section) [][]row {
	t.Helper()
	rows, text := make([][]row, len(all)), ""
	if !*update {
		bytes, err := os.ReadFile(page)
		must(t, err)
		text = string(bytes)
	}
	for i, s := range all {
		rows[i] = make([]row, len(s.faults))
		_, own, _ := strings.Cut(text, "\n## "+s.title+"\n")
		own, _, _ = strings.Cut(own, "\n## ")
		for j, f := range s.faults {
			_, rest, _ := strings.Cut(own, "\n| "+f.name+" | ")
			line, _, _ := strings.Cut(rest, " |\n")
			if cells := strings.Split(line, " | "); len(cells) == 3 {
				rows[i][j] = row{cells[0], cells[1], cells[2]}
			}
		}
	}
	return rows
}

// comparePage fails where the page says something else than what happened.
func comparePage(t *testing.T, all []section, rows [][]row) {
	t.Helper()
	now := render(all, rows)
	if partial := slices.ContainsFunc(rows, func(s []row) bool { return slices.Contains(s, row{}) }); partial {
		t.Logf("not every fault was tried, so the page is not looked at; what happened:\n%s", now)
		return
	}
	if *update {
		must(t, os.WriteFile(page, []byte(now), 0o644))
		return
	}
	text, err := os.ReadFile(page)
	must(t, err)
	if string(text) == now {
		return
	}
	have := map[string]bool{}
	for line := range strings.SplitSeq(string(text), "\n") {
		have[line] = true
	}
	for line := range strings.SplitSeq(now, "\n") {
		if !have[line] {
			t.Errorf("%s does not say what happened; run make docs-faults, and look at the difference:\n%s", page, line)
		}
	}
	if !t.Failed() {
		t.Errorf("%s has lines that no fault has; run make docs-faults", page)
	}
}

func TestThePageIsReadAsItIsWritten(t *testing.T) {
	all := sections()
	known := readPage(t, all)
	text, err := os.ReadFile(page)
	must(t, err)
	if !*update && render(all, known) != string(text) {
		t.Error("what was read is not what the page says")
	}
}
