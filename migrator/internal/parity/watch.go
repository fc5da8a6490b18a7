package parity

import (
	"fmt"
	"maps"
	"time"

	"drover/internal/parity"
)

// lately is how long a good past may hide a bad present: what was compared within
// once to twice as long is judged by itself, too.
const lately = 5 * time.Minute

// Watch judges what was compared since its first look, and lately. Its zero value
// has not looked yet. It is used by one goroutine at a time.
//
// Whatever a proxy had counted when it was first seen is of before, also of one
// that gave no report at first. A proxy that began anew meanwhile counts with all
// that it has.
type Watch struct {
	began  time.Time
	base   map[string]parity.Report // by the proxy's address, as it was first seen
	mark   map[string]parity.Report // as it was at markAt
	markAt time.Time
	recent map[string]parity.Report // as it was lately or longer ago; nil: not known yet
}

// Judge takes another look. What certainly differs, since the first look or
// lately, fails; nothing passes that was not compared lately.
func (w *Watch) Judge(g Gate, now Collected, at time.Time) Judgement {
	if w.base == nil {
		w.began, w.base = at, map[string]parity.Report{}
		w.mark, w.markAt = w.base, at
	}
	for proxy, r := range now.Proxies {
		if _, known := w.base[proxy]; !known {
			r.Examples = nil // nobody asks a base for them
			w.base[proxy] = r
		}
	}
	j := g.Judge(now.After(Collected{Proxies: w.base}))
	if j.Level != Failed && w.recent != nil {
		switch since := now.After(Collected{Proxies: w.known(w.recent)}); {
		case j.Level == Passed && since.Report.Differing.Compared == 0:
			j = Judgement{Unknown, fmt.Sprintf("nothing was compared for %s", lately)}
		default:
			if late := g.Judge(since); late.Level == Failed {
				j = Judgement{Failed, "lately, " + late.Reason}
			}
		}
	}
	if at.Sub(w.markAt) >= lately {
		w.recent, w.mark, w.markAt = w.mark, map[string]parity.Report{}, at
		for proxy, r := range now.Proxies {
			r.Examples = nil
			w.mark[proxy] = r
		}
		w.mark = w.known(w.mark)
	}
	j.Reason += "; since " + w.began.UTC().Format(time.TimeOnly) + " UTC"
	return j
}

// known adds the base of proxies that a mark has nothing of.
func (w *Watch) known(mark map[string]parity.Report) map[string]parity.Report {
	all := maps.Clone(w.base)
	maps.Copy(all, mark)
	return all
}
