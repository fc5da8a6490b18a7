package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/move"
)

// Verdict is what came of a check.
type Verdict string

// The verdicts, the worst last.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // it works, and somebody should know
	Error   Verdict = "error"   // refuses
)

// Result is what one check found on one server. A check that found several
// things has a result for each.
type Result struct {
	// Name is the check's, in kebab-case. It never changes its meaning: scripts
	// and runbooks go by it.
	Name    string              `json:"name"`
	Verdict Verdict             `json:"verdict"`
	Shard   bucketmap.ShardName `json:"shard"`
	Server  string              `json:"server"` // host:port
	// Reason says what was found; it may be empty when the verdict is ok.
	Reason string `json:"reason,omitempty"`
	// Remedy says what to do. It is empty when the verdict is ok.
	Remedy string `json:"remedy,omitempty"`
}

func (r Result) String() string {
	return fmt.Sprintf("%s on %s (%s): %s; %s", r.Name, r.Shard, r.Server, r.Reason, r.Remedy)
}

// Errors returns the results that refuse.
func Errors(results []Result) []Result { return with(results, Error) }

// Warnings returns the results that warn.
func Warnings(results []Result) []Result { return with(results, Warning) }

func with(results []Result, v Verdict) []Result {
	var found []Result
	for _, r := range results {
		if r.Verdict == v {
			found = append(found, r)
		}
	}
	return found
}

// finding is what a check has against a server.
type finding struct {
	verdict        Verdict
	reason, remedy string
}

func refuse(remedy, format string, args ...any) finding {
	return finding{Error, fmt.Sprintf(format, args...), remedy}
}

func warn(remedy, format string, args ...any) finding {
	return finding{Warning, fmt.Sprintf(format, args...), remedy}
}

// note is for what passes but should not pass in silence.
func note(format string, args ...any) finding {
	return finding{OK, fmt.Sprintf(format, args...), ""}
}

// findings collects; its methods may be called concurrently.
type findings struct {
	mu      sync.Mutex
	results []Result
}

// check enters what a check found: nothing is ok.
func (f *findings) check(server *database.Server, name string, found ...finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(found) == 0 {
		found = []finding{{verdict: OK}}
	}
	for _, g := range found {
		f.results = append(f.results, Result{Name: name, Verdict: g.verdict, Shard: server.Shard,
			Server: server.Addr, Reason: g.reason, Remedy: g.remedy})
	}
}

// sorted gives the results by shard, in the order in which each shard's were
// entered.
func (f *findings) sorted() []Result {
	slices.SortStableFunc(f.results, func(a, b Result) int { return cmp.Compare(a.Shard, b.Shard) })
	return f.results
}

// bucketWords bounds the ranges of buckets in a reason.
const bucketWords = 8

// rangesOf names buckets: "buckets 1-4,9", and "and more" past bucketWords
// ranges.
func rangesOf(buckets []bucketmap.BucketID) string {
	buckets = slices.Compact(slices.Sorted(slices.Values(buckets)))
	word := "buckets "
	if len(buckets) == 1 {
		word = "bucket "
	}
	parts := strings.Split(move.Buckets(buckets).String(), ",")
	if len(parts) > bucketWords {
		return fmt.Sprintf("%s%s and more, %d in all", word, strings.Join(parts[:bucketWords], ","), len(buckets))
	}
	return word + strings.Join(parts, ",")
}
