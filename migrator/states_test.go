package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"drover/migrator/internal/move"
	"drover/migrator/internal/promote"
)

var update = flag.Bool("update", false, "write docs/states.md anew")

const statesPage = "../docs/states.md"

func TestStatesPageShowsTheStateMachines(t *testing.T) {
	var page strings.Builder
	page.WriteString("# States\n\nDrawn by a test from the tables in the code: `make docs` draws it anew.\n")
	draw(&page, "A move", "migrator/internal/move/states.go", move.States(), move.Next)
	draw(&page, "A promotion", "migrator/internal/promote/states.go", promote.States(), promote.Next)
	if *update {
		if err := os.WriteFile(statesPage, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(statesPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != page.String() {
		t.Errorf("%s is not what the code says: run make docs", statesPage)
	}
}

// draw writes one state machine as a picture and as a table.
func draw[S ~string](page *strings.Builder, title, file string, states []S, next map[S][]S) {
	fmt.Fprintf(page, "\n## %s\n\nFrom `%s`.\n\n```mermaid\nstateDiagram-v2\n    [*] --> %s\n", title, file, states[0])
	for _, s := range states {
		for _, n := range next[s] {
			fmt.Fprintf(page, "    %s --> %s\n", s, n)
		}
		if len(next[s]) == 0 {
			fmt.Fprintf(page, "    %s --> [*]\n", s)
		}
	}
	page.WriteString("```\n\n| state | may go to |\n| --- | --- |\n")
	for _, s := range states {
		words := make([]string, len(next[s]))
		for i, n := range next[s] {
			words[i] = string(n)
		}
		fmt.Fprintf(page, "| %s | %s |\n", s, strings.Join(words, ", "))
	}
}

func TestEveryStateIsInItsTable(t *testing.T) {
	check(t, move.States(), move.Next)
	check(t, promote.States(), promote.Next)
}

// check wants every state in the table, and every state but the first reached.
func check[S ~string](t *testing.T, states []S, next map[S][]S) {
	t.Helper()
	if len(next) != len(states) {
		t.Errorf("%d states, %d rows in the table", len(states), len(next))
	}
	for i, s := range states {
		if _, ok := next[s]; !ok {
			t.Errorf("%s is not in the table", s)
		}
		reached := i == 0
		for _, to := range next {
			reached = reached || slices.Contains(to, s)
		}
		if !reached {
			t.Errorf("nothing leads to %s", s)
		}
	}
}
