package main

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"drover/tools/internal/book"
)

// result is what a run found.
type result struct {
	options
	took          time.Duration
	moves         int
	givenUp       int // moves that stepped back for good, and left everything as it was
	counts        map[book.Outcome]int
	singles       []time.Duration // stalls of moves of one bucket
	groups        []time.Duration // of moves of several
	idle          float64         // share of the machine's CPU time
	judged        time.Duration   // what the verdict took
	commands      []commandTimes
	verdict       *book.Verdict
	disagreements []string
	stuck         error // a move that could neither be finished nor undone
}

// green says whether nothing was found.
func (r *result) green() bool {
	return r.verdict.Green() && len(r.disagreements) == 0 && r.stuck == nil
}

// printStalls prints how long a client that wrote without a pause to a bucket
// had no write acknowledged while it changed its home.
func printStalls(out io.Writer, what string, stalls []time.Duration) {
	ms := func(q float64) float64 { return float64(book.Quantile(stalls, q).Microseconds()) / 1000 }
	fmt.Fprintf(out, "write stall of %d %s: p50 %.1f ms, p99 %.1f ms, max %.1f ms\n", len(stalls), what, ms(0.5), ms(0.99), ms(1))
}

// findingsMax bounds what is printed of each run.
const findingsMax = 20

// print writes the figures, and returns errRed unless all is well.
func (r *result) print(out io.Writer) error {
	fmt.Fprintf(out, "%d moves in %s, %d given up, seed %d\n", r.moves, r.took.Round(time.Second), r.givenUp, r.seed)
	fmt.Fprintf(out, "requests: %d acknowledged, %d refused, %d of unknown outcome\n",
		r.counts[book.Acknowledged], r.counts[book.Refused], r.counts[book.Unknown])
	fmt.Fprintf(out, "the machine's %d CPUs were idle for %.0f %% of the time\n", runtime.NumCPU(), 100*r.idle)
	printStalls(out, "moves of one bucket", r.singles)
	printStalls(out, "moves of several buckets", r.groups)
	for _, c := range r.commands {
		s := func(q float64) float64 { return book.Quantile(c.took, q).Seconds() }
		fmt.Fprintf(out, "migrator %s: %d times, p50 %.2f s, p99 %.2f s, max %.2f s\n", c.name, len(c.took), s(0.5), s(0.99), s(1))
	}
	v := r.verdict
	fmt.Fprintf(out, "judged in %s\n", r.judged.Round(100*time.Millisecond))
	fmt.Fprintf(out, "lost %d, duplicated %d, stray %d, dual owner %d, stale epoch %d, not linearizable %d, undecided %d, disagreements %d\n",
		len(v.Lost), len(v.Duplicated), len(v.Stray), len(v.Dual), len(v.Stale), len(v.Wrong), len(v.Undecided), len(r.disagreements))
	findings := append(v.Findings(), r.disagreements...)
	if r.stuck != nil {
		findings = append(findings, r.stuck.Error())
	}
	for i, f := range findings {
		if i == findingsMax {
			fmt.Fprintf(out, "  and %d more\n", len(findings)-i)
			break
		}
		fmt.Fprintf(out, "  %s\n", f)
	}
	if !r.green() {
		return fmt.Errorf("%w: seed %d", errRed, r.seed)
	}
	fmt.Fprintln(out, "GREEN")
	return nil
}
