package suite

import (
	"fmt"
	"io"
	"text/tabwriter"

	"drover/tools/conformance/internal/peer"
)

// Score is how many cases passed, by group.
type Score map[string]Count

// Count is of one group.
type Count struct{ Passed, All int }

// Total is the name under which Score has the sum.
const Total = "total"

// NewScore counts outcomes.
func NewScore(outcomes []Outcome) Score {
	s := Score{}
	for _, o := range outcomes {
		for _, group := range []string{o.Case.Group, Total} {
			count := s[group]
			count.All++
			if o.Err == nil {
				count.Passed++
			}
			s[group] = count
		}
	}
	return s
}

// PrintScores prints scores side by side.
func PrintScores(out io.Writer, groups []string, kinds []peer.Kind, scores map[peer.Kind]Score) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, kind := range kinds {
		fmt.Fprintf(w, "%s\t", kind)
	}
	fmt.Fprintf(w, " \n")
	for _, group := range append(groups, Total) {
		if scores[kinds[0]][group].All == 0 {
			continue
		}
		for _, kind := range kinds {
			count := scores[kind][group]
			fmt.Fprintf(w, "%d of %d\t", count.Passed, count.All)
		}
		fmt.Fprintf(w, " %s\n", group)
	}
	return w.Flush()
}
