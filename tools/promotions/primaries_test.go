package promotions

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
)

// write is a transaction of the application's account that was acknowledged.
type write struct {
	by           string
	server       bucketmap.Datacenter
	fenced       bool
	began, ended time.Duration   // before its first byte, and after the answer to its COMMIT
	epoch        bucketmap.Epoch // of the shard's row on its own server, as it saw it
	own          bool            // that row was active, for that server
}

func (v write) String() string {
	return fmt.Sprintf("%s on %s in epoch %d (%s to %s)", v.by, v.server, v.epoch, v.began.Round(time.Microsecond), v.ended.Round(time.Microsecond))
}

// judge returns what proves that two servers were writable at once.
//
// A write proves that its server took writes at some instant between its
// beginning and its end, and what it has seen of the shard's row was so at some
// instant between them. Two writes that overlap in time prove nothing together.
// These do:
//
//   - a fenced write whose own server's row was not active for that server;
//   - two writes on two servers that both saw themselves the primary in one
//     epoch: an epoch has one primary, for ever;
//   - a write x on X that began after a write y on Y had ended, where y saw Y the
//     primary in an epoch no lower than the one that x saw. When y ended, Y was
//     the primary of that epoch; X may take writes after that only as the primary
//     of a later one. So it is not needed that a later write on Y succeeds, too,
//     and it makes no difference whether x passed a fence: it may be one that
//     read_only alone should have refused.
//
// What a write between the freeze and read_only proves is no harm: it saw the
// old epoch, and nobody has been the primary of a later one.
func judge(writes []write) (findings []string) {
	primary := map[bucketmap.Epoch]write{}
	byEnd := slices.Clone(writes)
	slices.SortFunc(byEnd, func(a, b write) int { return int(a.ended - b.ended) })
	for _, v := range byEnd {
		if v.fenced && !v.own {
			findings = append(findings, fmt.Sprintf("%s passed the fence of a server that is not the primary", v))
		}
		if !v.own {
			continue
		}
		if first, ok := primary[v.epoch]; !ok {
			primary[v.epoch] = v
		} else if first.server != v.server {
			findings = append(findings, fmt.Sprintf("one epoch, two primaries: %s, and %s", first, v))
		}
	}
	byBeginning := slices.Clone(writes)
	slices.SortFunc(byBeginning, func(a, b write) int { return int(a.began - b.began) })
	newest := map[bucketmap.Datacenter]write{} // by server: the write of the highest epoch that had ended as the primary's
	for _, x := range byBeginning {
		for len(byEnd) != 0 && byEnd[0].ended < x.began {
			y := byEnd[0]
			byEnd = byEnd[1:]
			if have, ok := newest[y.server]; y.own && (!ok || y.epoch >= have.epoch) {
				newest[y.server] = y
			}
		}
		for server, y := range newest {
			if server != x.server && y.epoch >= x.epoch {
				findings = append(findings, fmt.Sprintf("two servers took writes: %s, after %s", x, y))
			}
		}
	}
	return findings
}

func TestWhateverProvesTwoPrimariesIsSeen(t *testing.T) {
	at := func(server bucketmap.Datacenter, epoch bucketmap.Epoch, own bool, began, ended int) write {
		return write{by: "client", server: server, epoch: epoch, own: own, began: time.Duration(began), ended: time.Duration(ended)}
	}
	fenced := func(v write) write { v.fenced = true; return v }
	for name, c := range map[string]struct {
		writes []write
		want   string // the beginning of a finding; empty: none at all
	}{
		"a promotion and the way back": {[]write{at(legacy, 1, true, 1, 2), at(cloud, 2, true, 3, 4), at(legacy, 3, true, 5, 6)}, ""},
		"between freeze and read_only": {[]write{at(cloud, 1, true, 1, 2), at(legacy, 2, true, 3, 4), at(legacy, 2, false, 5, 6)}, ""},
		"writes that overlap":          {[]write{at(legacy, 1, true, 1, 9), at(cloud, 2, true, 3, 4)}, ""},
		"one that ends as another begins, of an old primary": {
			[]write{at(cloud, 2, true, 3, 5), at(legacy, 1, true, 5, 6)}, ""},
		"an old primary that is still writable": {[]write{at(cloud, 2, true, 3, 4), at(legacy, 1, true, 5, 6)}, "two servers took writes"},
		"an old primary without read_only":      {[]write{at(cloud, 2, true, 3, 4), at(legacy, 1, false, 5, 6)}, "two servers took writes"},
		"a replica without read_only":           {[]write{at(legacy, 1, true, 3, 4), at(cloud, 1, false, 5, 6)}, "two servers took writes"},
		"an old primary much later": {[]write{at(cloud, 2, true, 3, 4), at(cloud, 2, true, 7, 8), at(legacy, 1, true, 9, 10)},
			"two servers took writes"},
		"two in one epoch, overlapping":       {[]write{at(legacy, 1, true, 1, 9), at(cloud, 1, true, 3, 4)}, "one epoch, two primaries"},
		"a fence that lets a frozen row pass": {[]write{fenced(at(legacy, 1, false, 1, 2))}, "client on legacy in epoch 1"},
	} {
		findings := judge(c.writes)
		if c.want == "" && len(findings) != 0 || c.want != "" && !slices.ContainsFunc(findings, func(f string) bool { return strings.HasPrefix(f, c.want) }) {
			t.Errorf("%s: found %q, want one that begins with %q", name, findings, c.want)
		}
	}
}

// closed is the longest time from a moment on in which nobody had a fenced
// write acknowledged; the time up to the end of the book counts.
func closed(writes []write, from, to time.Duration) time.Duration {
	last, longest := from, time.Duration(0)
	byEnd := slices.Clone(writes)
	slices.SortFunc(byEnd, func(a, b write) int { return int(a.ended - b.ended) })
	for _, v := range byEnd {
		if v.fenced && v.ended > last && v.ended <= to {
			longest, last = max(longest, v.ended-last), v.ended
		}
	}
	return max(longest, to-last)
}

func TestClosedIsTheLongestTimeWithoutAFencedWrite(t *testing.T) {
	writes := []write{{fenced: true, ended: 5}, {fenced: true, ended: 12}, {ended: 20}, {fenced: true, ended: 30}}
	for _, c := range []struct{ from, to, want time.Duration }{{0, 31, 18}, {6, 13, 6}, {31, 41, 10}, {4, 5, 1}} {
		if got := closed(writes, c.from, c.to); got != c.want {
			t.Errorf("from %d to %d: %d, want %d", c.from, c.to, got, c.want)
		}
	}
}
