package book

import (
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
)

// script is a book of given entries, with ids from 1.
func script(entries ...Entry) *Book {
	b := Open()
	for i := range entries {
		entries[i].ID = ID(i + 1)
		if entries[i].Kind == "" {
			entries[i].Kind = Write
		}
		if entries[i].User == "" {
			entries[i].User = "ann"
		}
	}
	b.mu.entries = entries
	b.opened = b.opened.Add(-time.Hour) // before what the entries tell of
	return b
}

// acked is an acknowledged write that saw a value, between two milliseconds.
func acked(shard bucketmap.ShardName, epoch bucketmap.Epoch, saw ID, began, ended int) Entry {
	return Entry{Outcome: Acknowledged, Shard: shard, Epoch: epoch, Saw: saw,
		Began: time.Duration(began) * time.Millisecond, Ended: time.Duration(ended) * time.Millisecond}
}

func rowsOf(writes int, last ID, ids ...ID) *Rows {
	return &Rows{Entries: map[string][]ID{"ann": ids}, Last: map[string]ID{"ann": last}, Writes: map[string]int{"ann": writes}, Tally: map[string]int{"ann": writes}}
}

func noRows() *Rows { return rowsOf(0, 0) }

func audit(b *Book, source, target *Rows) *Verdict {
	return b.Audit(map[bucketmap.ShardName]*Rows{"alpha": source, "gamma": target},
		func(string) bucketmap.ShardName { return "gamma" }, func(string) bool { return false })
}

func TestEveryKindOfHarmIsFound(t *testing.T) {
	refused := Entry{Outcome: Refused, Began: 25 * time.Millisecond, Ended: 26 * time.Millisecond}
	unknown := Entry{Outcome: Unknown, Began: 25 * time.Millisecond, Ended: 26 * time.Millisecond}
	first, second := acked("alpha", 1, 0, 10, 20), acked("gamma", 2, 1, 30, 40)
	for name, c := range map[string]struct {
		book           *Book
		source, target *Rows
		want           string // the beginning of a finding; empty: none at all
	}{
		"nothing":                      {script(first, second), noRows(), rowsOf(2, 2, 1, 2), ""},
		"a refused write, not there":   {script(first, second, refused), noRows(), rowsOf(2, 2, 1, 2), ""},
		"an unknown one, not there":    {script(first, second, unknown), noRows(), rowsOf(2, 2, 1, 2), ""},
		"an unknown one, there":        {script(first, acked("gamma", 2, 3, 30, 40), unknown), noRows(), rowsOf(3, 2, 1, 2, 3), ""},
		"an acknowledged one missing":  {script(first, second), noRows(), rowsOf(1, 2, 2), "lost: user ann: write 1"},
		"a register that lost a write": {script(first, second), noRows(), rowsOf(1, 2, 1, 2), "lost: user ann: 2 entries"},
		"a write applied twice":        {script(first, second), noRows(), rowsOf(3, 2, 1, 2), "duplicated: user ann: 2 entries"},
		"a refused one, there":         {script(first, second, refused), noRows(), rowsOf(3, 3, 1, 2, 3), "duplicated: user ann: write 3"},
		"one that is nobody's":         {script(first, second), noRows(), rowsOf(3, 2, 1, 2, 77), "duplicated: user ann: write 77"},
		"rows left at the old home":    {script(first, second), rowsOf(1, 1, 1), rowsOf(2, 2, 1, 2), "stray: user ann"},
		"two owners in one epoch":      {script(first, acked("gamma", 1, 1, 30, 40)), noRows(), rowsOf(2, 2, 1, 2), "dual owner: bucket 0, epoch 1"},
		"an epoch that was over":       {script(acked("gamma", 2, 0, 10, 20), acked("alpha", 1, 1, 30, 40)), noRows(), rowsOf(2, 2, 1, 2), "stale epoch: bucket 0"},
		"epochs that only overlap":     {script(acked("alpha", 1, 0, 10, 35), second), noRows(), rowsOf(2, 2, 1, 2), ""},
		"a write that was overwritten unseen": {script(first, acked("gamma", 2, 0, 30, 40)), noRows(), rowsOf(2, 2, 1, 2),
			"not linearizable: user ann"},
		"a stale read": {script(first, second, Entry{Kind: Read, Outcome: Acknowledged, Saw: 1, Began: 50 * time.Millisecond, Ended: 51 * time.Millisecond}),
			noRows(), rowsOf(2, 2, 1, 2), "not linearizable: user ann"},
		"an old value at the end": {script(first, second), noRows(), rowsOf(2, 1, 1, 2), "not linearizable: user ann"},
	} {
		t.Run(name, func(t *testing.T) {
			findings := audit(c.book, c.source, c.target).Findings()
			if c.want == "" {
				if len(findings) != 0 {
					t.Errorf("found %q, and nothing is wrong", findings)
				}
				return
			}
			for _, f := range findings {
				if strings.HasPrefix(f, c.want) {
					return
				}
			}
			t.Errorf("found %q, want one that begins with %q", findings, c.want)
		})
	}
}

func TestAStallIsFromTheLastAcknowledgementToTheFirstOfTheNextEpoch(t *testing.T) {
	b := script(acked("alpha", 1, 0, 10, 20), acked("alpha", 1, 1, 20, 25), acked("gamma", 2, 2, 30, 40), acked("gamma", 2, 3, 41, 50))
	stalls := b.Stalls()
	if len(stalls) != 1 || stalls[Change{0, 2}] != 15*time.Millisecond {
		t.Errorf("stalls %v, want one of 15ms, at the beginning of epoch 2", stalls)
	}
	if max := Quantile([]int{1, 2, 3}, 1); max != 3 {
		t.Errorf("the largest of 1, 2 and 3 is %d", max)
	}
}

func TestABookCountsWhatClientsWereTold(t *testing.T) {
	b := Open()
	for _, outcome := range []Outcome{Acknowledged, Acknowledged, Refused, Unknown} {
		id, ok := b.Begin(Write, "client", "ann", 3)
		if !ok {
			t.Fatal("an empty book is full")
		}
		b.End(id, outcome, Seen{Shard: "alpha", Epoch: 1, Value: id - 1}, nil)
	}
	if counts := b.Counts(); counts[Acknowledged] != 2 || counts[Refused] != 1 || counts[Unknown] != 1 {
		t.Errorf("counts %v", counts)
	}
	if b.Acked("ann") != 2 || b.Writes() != 2 {
		t.Errorf("%d of ann and %d in all acknowledged, want 2 and 2", b.Acked("ann"), b.Writes())
	}
}
